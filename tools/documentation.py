"""The documentation as a site, which opens with or without a server.

    python tools/documentation.py            # builds site/; exit status 1 where a link is broken

Sources are docs/*.md, as GitHub shows them. Four things differ on a site, and are made here, in
build/pages: a file outside docs that a page links to becomes a page too; formulas become MathML,
which browsers draw without a script; a picture opens in its full size; and the README of the
repository is left out, since the site has a home of its own. A page of all flags is made from the
commands. Zensical then makes the site (zensical.toml) and checks all links.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import flags_page

ROOT = Path(__file__).resolve().parents[1]
OWN_NAMES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LANGUAGES = {".py": "python", ".c": "c", ".toml": "toml", ".ipynb": "json"}

_FENCE = re.compile(r"^```.*?^```[^\S\n]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+).+?\1", re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]+)?(?=\))")
_DISPLAYED = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FORMULA = re.compile(r"(?<![\\$\w])\$(?=\S)([^$]+?)(?<=\S)\$(?![\w$])")
_LONG = 50  # characters of a formula's source: longer ones may be wider than a phone
_PICTURE = re.compile(r"^!\[(.*?)\]\((\S+\.png)\)$", re.MULTILINE)
_LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"(https?://[^\"]*)")


class BrokenLink(Exception):
    """A page links to what is not there, or to what cannot be a page."""


def place(path: Path) -> Path:
    """Where a file of the repository goes in the folder of pages; both relative."""
    name = path.as_posix()
    if name.startswith("docs/"):
        return Path(name.removeprefix("docs/"))
    return Path(OWN_NAMES.get(name) or f"code/{name}.md")


def links(text: str) -> Iterator[re.Match]:
    """The links of a page to other files: group 1 the path, group 2 the anchor."""
    code = [match.span() for match in (*_FENCE.finditer(text), *_CODE.finditer(text))]
    for match in _LINK.finditer(text):
        inside = any(start <= match.start() < end for start, end in code)
        if not inside and not re.match(r"[a-z]+:", match[1]):
            yield match


def target(page: Path, link: str, root: Path) -> Path:
    """The file of the repository that a page's link means, relative to `root`.

    Raises:
        BrokenLink: there is no such file in the repository.
    """
    found = Path(os.path.normpath(page.parent / link))
    if found.name == "README.md" and found.parent == Path():
        raise BrokenLink(f"{page}: the site has no README.md; link to a page of docs instead.")
    if not (root / found).is_file() or found.is_absolute() or found.parts[0] == "..":
        raise BrokenLink(f"{page}: {link} is no file of this repository.")
    return found


def linked(page: Path, text: str, root: Path) -> tuple[str, set[Path]]:
    """The text of a page for the site, and the files outside docs that it links to."""
    parts, last, outside = [], 0, set()
    for match in links(text):
        found = target(page, match[1], root)
        here = os.path.relpath(place(found), place(page).parent)
        parts += [text[last : match.start()], Path(here).as_posix(), match[2] or ""]
        last = match.end()
        if found.parts[0] != "docs":
            outside.add(found)
    return "".join(parts) + text[last:], outside


def linked_from(page: Path, other: Path, text: str, root: Path) -> str:
    """The text of a page with links that lead to the same files from another file's folder."""
    parts, last = [], 0
    for match in links(text):
        here = os.path.relpath(target(page, match[1], root), other.parent)
        parts += [text[last : match.start()], Path(here).as_posix(), match[2] or ""]
        last = match.end()
    return "".join(parts) + text[last:]


def code_page(path: Path, text: str) -> str:
    """A page that shows a file of code."""
    fence = f"```{LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n```\n"
    return f"---\nsearch:\n  exclude: true\n---\n\n# `{path.as_posix()}`\n\n{fence}"


def with_formulas(text: str) -> str:
    """The text with its formulas as MathML."""
    from latex2mathml.converter import convert

    def displayed(match: re.Match) -> str:
        return f'<div class="formula">{convert(match[1], display="block")}</div>'

    text = _DISPLAYED.sub(displayed, text)
    code = [match.span() for match in (*_FENCE.finditer(text), *_CODE.finditer(text))]

    def inline(match: re.Match) -> str:
        if any(start <= match.start() < end for start, end in code):
            return match[0]
        # In a span: a line that begins with <math> would be a block of its own.
        kind = ' class="long"' if len(match[1]) > _LONG else ""
        return f"<span{kind}>{convert(match[1])}</span>"

    return _FORMULA.sub(inline, text)


def write_pages(root: Path, out: Path) -> list[Path]:
    """Writes the folder that the site is made from; returns its pages, relative to it."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(root / "docs", out)
    waiting = sorted(path.relative_to(root) for path in (root / "docs").rglob("*.md"))
    waiting.append(Path("CHANGELOG.md"))
    done: set[Path] = set()
    while waiting:
        page = waiting.pop()
        if page in done:
            continue
        done.add(page)
        text = (root / page).read_text(encoding="utf-8")
        if page.suffix == ".md":
            text, outside = linked(page, text, root)
            waiting += outside
            text = with_formulas(text) if "$" in text else text
            text = _PICTURE.sub(r"[![\1](\2)](\2)", text)
        else:
            text = code_page(page, text)
        (out / place(page)).parent.mkdir(parents=True, exist_ok=True)
        (out / place(page)).write_text(text, encoding="utf-8")
    return sorted(map(place, done))


def loaded(site: Path) -> list[str]:
    """What the pages of a site load from a network; a page from the file system loads nothing."""
    pages = (page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    return sorted({address for page in pages for address in _LOADED.findall(page)})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    pages = ROOT / "build" / "pages"
    try:
        write_pages(ROOT, pages)
    except BrokenLink as broken:
        print(broken, file=sys.stderr)
        return 1
    (pages / flags_page.NAME).write_text(flags_page.flags_page(), encoding="utf-8")
    tool = shutil.which("zensical") or Path(sys.executable).parent / "zensical"
    built = subprocess.run([tool, "build", "--clean", "--strict"], cwd=ROOT)
    found = loaded(ROOT / "site") if built.returncode == 0 else []
    for address in found:
        print(f"the site loads {address} from a network.", file=sys.stderr)
    return built.returncode or bool(found)


if __name__ == "__main__":
    sys.exit(main())
