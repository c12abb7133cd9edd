"""Tables and numbers of README.md and docs/*.md, made from the CSVs of docs/results.

    python tools/results.py --check     # exit status 1 and the places where they differ
    python tools/results.py --write     # makes these places anew
    python tools/results.py --record    # says that all other numbers are meant as they stand now

What is made stands in the documents between comments (see documents.py). What is not between them
cannot be made from the CSVs of runs; it is recorded once more (see recorded.py).
"""

import argparse
import sys
from functools import cache
from pathlib import Path

import documents
import recorded
import sentences
import sentences_safe
import tables_algorithms
import tables_assess
import tables_beside
import tables_budget
import tables_claims
import tables_guard
import tables_handover
import tables_options
import tables_pilots
import tables_places
import tables_plant
import tables_quick
import tables_safe
import tables_schemes
import tables_searches
import tables_slips
import tables_speed
import tables_stages
import tables_units

ROOT = Path(__file__).resolve().parents[1]
MODULES = (
    sentences,
    sentences_safe,
    tables_algorithms,
    tables_claims,
    tables_budget,
    tables_guard,
    tables_assess,
    tables_beside,
    tables_handover,
    tables_options,
    tables_quick,
    tables_safe,
    tables_schemes,
    tables_searches,
    tables_slips,
    tables_speed,
    tables_pilots,
    tables_places,
    tables_plant,
    tables_stages,
    tables_units,
)


@cache
def tables() -> dict[str, str]:
    """Name -> Markdown."""
    return {name: make() for module in MODULES for name, make in module.TABLES.items()}


@cache
def numbers() -> dict[str, str]:
    """Name -> what the sentence says."""
    return {name: text for module in MODULES for name, text in module.numbers().items()}


def pages(root: Path) -> list[Path]:
    """The documents that are looked at."""
    docs = root / "docs"
    folders = (docs, docs / "causes", docs / "results")
    return [root / "README.md", *(page for f in folders for page in sorted(f.glob("*.md")))]


def differing(root: Path) -> list[str]:
    """A line a place that differs: file, line, name, what is printed, what the CSVs say."""
    found, printed = [], set()
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        printed |= documents.names(text)
        for place in documents.differences(text, tables(), numbers()):
            where = f"{page.relative_to(root)}:{place.line}: {place.name}"
            found.append(f"{where}\n  printed: {place.printed}\n  from the CSVs: {place.made}")
    found += recorded.differences(root, pages(root))
    unused = sorted((tables().keys() | numbers().keys()) - printed)
    return found + [f"{name} is made by tools/ and printed by no document." for name in unused]


def write(root: Path) -> list[Path]:
    """The documents that were changed."""
    changed = []
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        made = documents.rewritten(text, tables(), numbers())
        if made != text:
            page.write_text(made, encoding="utf-8")
            changed.append(page)
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="exit status 1 where they differ")
    what.add_argument("--write", action="store_true", help="make the places anew")
    what.add_argument("--record", action="store_true", help="record the numbers of no place")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of README.md and docs")
    args = parser.parse_args()
    for page in write(args.root) if args.write else ():
        print(f"{page} is written.")
    if args.record:
        print(f"{recorded.write(args.root, pages(args.root))} is written.")
    found = differing(args.root)
    for place in found:
        print(place, file=sys.stderr)
    if not found:
        print(f"{len(tables())} tables and {len(numbers())} numbers agree with the CSVs of runs,")
        print(f"and all others with {recorded.FILE}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
