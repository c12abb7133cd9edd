"""The tutorial of the quickstart as a notebook, from the page.

    python tools/notebook.py --write         # makes examples/quickstart.ipynb anew
    python tools/notebook.py --check         # exit status 1 if it is not what the page says

Blocks of Python become cells with code, everything else becomes text.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from documentation import ROOT, linked_from

PAGE, NOTEBOOK = Path("docs/tutorial-quickstart.md"), Path("examples/quickstart.ipynb")
_CODE = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def cells(text: str) -> list[dict]:
    """The cells of a page, in order."""
    found, last = [], 0
    for match in _CODE.finditer(text):
        found += [_cell("markdown", text[last : match.start()]), _cell("code", match[1])]
        last = match.end()
    found.append(_cell("markdown", text[last:]))
    filled = [cell for cell in found if cell["source"]]
    return [{"id": f"cell-{number}", **cell} for number, cell in enumerate(filled)]


def _cell(kind: str, text: str) -> dict:
    cell = {"cell_type": kind, "metadata": {}, "source": text.strip().splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def notebook(root: Path = ROOT) -> str:
    """The text of the notebook; its links lead from its own folder."""
    text = linked_from(PAGE, NOTEBOOK, (root / PAGE).read_text(encoding="utf-8"), root)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": cells(text),
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    options = parser.parse_args()
    place = ROOT / NOTEBOOK
    if options.write:
        place.touch()  # the page links to it
        place.write_text(notebook(), encoding="utf-8")
        return 0
    if not place.exists() or place.read_text(encoding="utf-8") != notebook():
        print(f"{NOTEBOOK} is not what {PAGE} says: python tools/notebook.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
