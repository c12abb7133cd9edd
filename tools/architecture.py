"""The rooms of the package and the imports between them, read from the code.

    python tools/architecture.py --check     # exit status 1 where an import goes up
    python tools/architecture.py --write     # makes the table and the picture anew

A room is a folder or a file directly under src/moore. The small files that everybody may use are
one room, `basics`. LAYERS says which room lies above which; a room imports only from below.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURE = Path("docs/architecture.md"), Path("docs/images/architecture.svg")

BASICS = (
    "clock", "compiled", "console", "errors", "files", "imports", "jax_settings", "numbers",
    "processor", "ranges", "shapes", "tables", "trees", "version",
)  # fmt: skip
# From the top. Rooms of one layer do not import each other.
LAYERS = (
    ("moore", "cli"),
    ("sweeps", "collecting", "exporting", "assessing", "planning", "watching", "serving"),
    ("sessions",),
    ("runs",),
    ("reports", "stages", "inspecting"),
    ("presets", "envs"),
    ("algorithms",),
    ("experience",),
    ("config", "units", "guarding"),
    ("theory", "agents", "dynamics", "formats", "findings"),
    ("data",),
    ("sinks", "replay", "evaluation"),
    ("lockstep",),
    ("basics",),
)
# Arrows that go up and are known: (from, to) -> why it is still there. None today.
STATED: dict[tuple[str, str], str] = {}

_TABLE = re.compile(r"(<!-- rooms -->\n).*?(<!-- end of rooms -->)", re.DOTALL)
_ABOUT = {
    "moore": "The public names of the package, loaded on first use.",
    "basics": "Errors, files, settings as tables, numbers and texts: what every room may use.",
}


@dataclass(frozen=True)
class House:
    """What the code says.

    Attributes:
        about: room -> the first sentence of its docstring.
        arrows: (from, to) -> the imports, as file:line.
    """

    about: dict[str, str]
    arrows: dict[tuple[str, str], list[str]]


def read(root: Path) -> House:
    """The rooms under root/src/moore and what they import from each other."""
    package = root / "src" / "moore"
    modules = {path.stem for path in package.glob("*.py")}
    modules |= {path.parent.name for path in package.glob("*/__init__.py")}
    about, arrows = dict(_ABOUT), {}
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        room = _room(place.parts[0].removesuffix(".py"))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if place.parts in ((f"{room}.py",), (room, "__init__.py")):
            about[room] = _first_sentence(ast.get_docstring(tree))
        for line, name in _imports(tree, modules):
            if (other := _room(name)) != room:
                arrows.setdefault((room, other), []).append(f"{place}:{line}")
    return House(about, arrows)


def _room(module: str) -> str:
    """The room of a module or folder directly under src/moore."""
    if module in BASICS:
        return "basics"
    return {"__init__": "moore", "__main__": "cli"}.get(module, module)


def _imports(tree: ast.Module, modules: set[str]) -> Iterator[tuple[int, str]]:
    """Line and module, directly under moore, of every import, those inside functions included."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            # `from moore import x`: a module, or a public name of the package.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            module = rest.partition(".")[0]
            if first == "moore":
                yield node.lineno, module if module in modules else "__init__"


def _first_sentence(docstring: str | None) -> str:
    text = " ".join((docstring or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", text)[0]


def height(room: str) -> int:
    """The room's layer, 0 at the bottom; -1 for a room that LAYERS does not name."""
    found = [i for i, layer in enumerate(reversed(LAYERS)) if room in layer]
    return found[0] if found else -1


def upward(house: House) -> list[tuple[str, str]]:
    """The arrows that do not go down."""
    return [arrow for arrow in sorted(house.arrows) if height(arrow[0]) <= height(arrow[1])]


def problems(root: Path) -> list[str]:
    """A line each: arrows that go up, rooms without a layer, a page that is out of date."""
    house = read(root)
    named = {room for layer in LAYERS for room in layer}
    found = [
        f"the room {room} has no layer: name it in LAYERS of tools/architecture.py."
        for room in sorted(house.about.keys() - named)
    ]
    found += [
        f"LAYERS of tools/architecture.py names {room}, which is not there."
        for room in sorted(named - house.about.keys())
    ]
    found += [
        f"the room {room} does not say what it holds: give src/moore/{room} a docstring."
        for room, text in sorted(house.about.items())
        if not text
    ]
    for source, target in upward(house):
        if (source, target) not in STATED:
            places = ", ".join(house.arrows[source, target])
            found.append(f"{source} imports from {target}, which does not lie below it: {places}.")
    found += [
        f"STATED of tools/architecture.py has {source} -> {target}, which is gone."
        for source, target in STATED
        if (source, target) not in house.arrows
    ]
    if not found and not _is_current(root, house):
        found.append(f"{PAGE} or its picture is out of date: python tools/architecture.py --write")
    return found


def table(house: House) -> str:
    """The rooms from the top, what they hold and what they import from, as Markdown."""
    lines = ["| room | what it holds | imports from |", "|---|---|---|"]
    for layer in LAYERS:
        for room in layer:
            others = [other for source, other in house.arrows if source == room]
            below = sorted(set(others) - {"basics"}, key=lambda other: (-height(other), other))
            lines.append(f"| `{room}` | {house.about[room]} | {', '.join(below) or '–'} |")
    return "\n".join(lines) + "\n"


def arrows_text(house: House) -> str:
    """All arrows on one line; the picture carries it, so that an old picture is known."""
    return "; ".join(f"{source} > {target}" for source, target in sorted(house.arrows))


def _is_current(root: Path, house: House) -> bool:
    page, picture = root / PAGE, root / PICTURE
    if not page.exists() or not picture.exists():
        return False
    text = page.read_text(encoding="utf-8")
    drawn = arrows_text(house).replace(">", "&gt;")
    return text == _with_table(text, house) and drawn in picture.read_text(encoding="utf-8")


def _with_table(text: str, house: House) -> str:
    return _TABLE.sub(lambda found: found[1] + table(house) + found[2], text)


def write(root: Path) -> None:
    """Makes the table of the page and the picture, as SVG and PNG."""
    from draw_architecture import draw

    house = read(root)
    page = root / PAGE
    page.write_text(_with_table(page.read_text(encoding="utf-8"), house), encoding="utf-8")
    layers = [[room for room in layer if room in house.about] for layer in LAYERS]
    draw(layers, list(house.arrows), upward(house), root / PICTURE, arrows_text(house))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="exit status 1 where an import goes up")
    what.add_argument("--write", action="store_true", help="make the table and the picture anew")
    args = parser.parse_args()
    if args.write:
        write(ROOT)
    found = problems(ROOT)
    for line in found:
        print(line, file=sys.stderr)
    if not found:
        house = read(ROOT)
        print(f"{len(house.about)} rooms, {len(house.arrows)} arrows, none goes up.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
