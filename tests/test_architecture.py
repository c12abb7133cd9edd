"""Rooms and the arrows between them: tools/architecture.py; no arrow of the package goes up."""

import ast
import itertools
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import architecture
from draw_architecture import without_shortcuts


@pytest.fixture
def package(tmp_path) -> Path:
    """A house of three rooms, each with a docstring, and no arrow."""
    for room in ("runs", "replay", "errors"):
        file = tmp_path / "src" / "moore" / room / "__init__.py"
        file.parent.mkdir(parents=True)
        file.write_text(f'"""What is in {room}. And more."""\n')
    (tmp_path / "src" / "moore" / "__init__.py").write_text('"""The names."""\n')
    return tmp_path


def add(package: Path, name: str, text: str) -> None:
    (package / "src" / "moore" / name).write_text(text)


def test_no_import_of_the_package_goes_up_and_the_page_says_what_the_code_says():
    assert architecture.problems(architecture.ROOT) == []


def test_files_stay_as_short_as_contributing_says():
    """A run's interface at most 250 lines, sources below 350 and half of them below 120, tests 400.

    The fewer lines, the sooner a stranger has read a file; these are the limits of CONTRIBUTING.md.
    """
    root = architecture.ROOT
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in root.rglob("src/**/*.py")}
    assert [str(path) for path, count in lines.items() if count >= 350] == []
    assert statistics.median(lines.values()) < 120
    assert lines[root / "src/moore/runs/run.py"] <= 250
    tests = {
        path.name: len(path.read_text("utf-8").splitlines()) for path in root.glob("tests/*.py")
    }
    assert [name for name, count in tests.items() if count > 400] == []


def test_a_class_has_a_name_of_its_own():
    """So that whoever reads it need not ask which of two is meant."""
    found = defaultdict(list)
    for path in (architecture.ROOT / "src" / "moore").rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(architecture.ROOT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_the_walks_name_what_is_there_and_alpha_passes_five_rooms():
    page = (architecture.ROOT / "docs" / "architecture.md").read_text("utf-8")
    place = r"^\| (\w+) \| `((\w+)/\w+\.py)`: `(\w+)` \|"
    walks = [re.findall(place, walk, re.M) for walk in re.split(r"^\*\*", page, flags=re.M)[1:]]
    assert [len({room for room, *_ in walk}) for walk in walks] == [5, 3, 4]
    for room, file, folder, name in itertools.chain(*walks):
        assert room == folder
        tree = ast.parse((architecture.ROOT / "src" / "moore" / file).read_text("utf-8"))
        assert name in {getattr(node, "name", "") for node in ast.walk(tree)}, (file, name)


def test_only_an_experience_knows_whether_it_imagines():
    package = architecture.ROOT / "src" / "moore"
    found = [path.relative_to(package) for path in package.rglob("*.py")
             if "imagines" in path.read_text("utf-8")]  # fmt: skip
    assert [str(path) for path in found if path.parts[0] != "experience"] == []


@pytest.mark.parametrize(
    "text",
    [
        "from moore.runs.run import run\n",
        "from moore import runs\n",
        "import moore.runs.run\n",
        "def late():\n    from moore.runs import run\n",
        "if TYPE_CHECKING:\n    from moore.runs import run\n",
    ],
)
def test_an_arrow_that_goes_up_is_told_with_its_place_however_it_is_written(text, package):
    add(package, "replay/buffer.py", text)
    house = architecture.read(package)
    assert architecture.upward(house) == [("replay", "runs")]
    (place,) = house.arrows["replay", "runs"]
    assert f"replay imports from runs, which does not lie below it: {place}." in (
        architecture.problems(package)
    )


def test_a_known_arrow_is_passed_over_until_it_is_gone(package, monkeypatch):
    monkeypatch.setattr(architecture, "STATED", {("replay", "runs"): "for this test"})
    assert any("replay -> runs, which is gone" in p for p in architecture.problems(package))
    add(package, "replay/buffer.py", "from moore.runs import run\n")
    assert not any("replay" in line for line in architecture.problems(package))


def test_an_arrow_down_and_one_inside_a_room_are_fine(package):
    add(package, "runs/run.py", "from moore.replay import buffer\nfrom moore.runs import x\n")
    house = architecture.read(package)
    assert list(house.arrows) == [("runs", "replay")] and architecture.upward(house) == []


def test_a_public_name_is_imported_from_the_top(package):
    add(package, "replay/buffer.py", "from moore import InputError\nimport moore\nimport numpy\n")
    assert list(architecture.read(package).arrows) == [("replay", "moore")]


def test_rooms_say_what_they_hold_in_one_sentence(package):
    about = architecture.read(package).about
    assert about["replay"] == "What is in replay." and about["basics"].startswith("Errors")


def test_a_new_room_must_have_a_layer_and_one_that_is_gone_must_not(package):
    add(package, "attic.py", "")
    found = architecture.problems(package)
    assert any(line.startswith("the room attic has no layer") for line in found)
    assert any(line.startswith("the room attic does not say what it holds") for line in found)
    assert any("names stages, which is not there" in line for line in found)


def test_the_table_goes_from_the_top_to_the_bottom(package):
    add(package, "runs/run.py", "from moore.replay import buffer\nfrom moore.errors import x\n")
    house = architecture.read(package)
    about = {room: "" for layer in architecture.LAYERS for room in layer} | house.about
    lines = architecture.table(architecture.House(about, house.arrows)).splitlines()
    assert "| `runs` | What is in runs. | replay |" in lines
    assert lines.index("| `runs` | What is in runs. | replay |") < lines.index(
        "| `replay` | What is in replay. | – |"
    )


def test_an_arrow_that_a_longer_way_says_is_not_drawn():
    arrows = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")]
    assert without_shortcuts(arrows) == [("a", "b"), ("b", "c"), ("a", "d")]
