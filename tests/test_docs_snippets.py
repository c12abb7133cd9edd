"""What stands in the documents as code: it parses, its commands exist, and the tutorial runs."""

import ast
import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import notebook
from desk import TINY
from moore.cli import COMMANDS
from moore.cli.completion import options_of_commands
from moore.config import from_dict

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> Iterator[tuple[str, str]]:
    """Language and text of a page's blocks of code, in order."""
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match[1] in languages:
            yield match[1], match[2]


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each call of moore in a block for the terminal."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["moore"]:
            yield words[1:]


def test_code_in_the_documents_parses_and_its_commands_exist():
    seen = {"python": 0, "toml": 0, "bash": 0}
    for page in DOCS:
        for language, text in blocks(page, *seen):
            seen[language] += 1
            if language == "python":
                ast.parse(text, filename=page.name)
            elif language == "toml":
                tomllib.loads(text)
            else:
                for words in commands(text):
                    assert not words or words[0] in COMMANDS, f"{page.name}: moore {words[0]}"
    assert min(seen.values()) >= 3


def flags_of(options: type, prefix: str = "") -> Iterator[str]:
    """The flags of a command, from the fields of its options; those of a section have its name."""
    hints = typing.get_type_hints(options)
    for item in dataclasses.fields(options):
        name = item.name.rstrip("_").replace("_", "-")
        if dataclasses.is_dataclass(hints[item.name]):
            whole = item.name in ("config", "recipe")  # whose fields are flags by themselves
            yield from flags_of(hints[item.name], prefix if whole else f"{prefix}{name}.")
        else:
            yield from (f"--{prefix}{name}", f"--{prefix}no-{name}")


def test_flags_in_the_documents_exist():
    known = {name: {*flags_of(options)} for name, options in options_of_commands().items()}
    found = [
        (page.name, words[0], word.partition("=")[0])
        for page in DOCS
        for _, text in blocks(page, "bash")
        for words in commands(text)
        for word in words[1:]
        if word.startswith("--") and word not in ("--help", "--version")
    ]
    assert len(found) > 50
    assert [use for use in found if use[2].replace("_", "-") not in known[use[1]]] == []


def test_the_reference_names_every_command():
    reference = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"moore {name}" not in reference] == []


def test_what_protects_a_plant_is_called_as_documented():
    """The pages of the guard and of the modes, one after the other, for a plant with one action."""
    low, high = np.asarray([0.0], np.float32), np.asarray([10.0], np.float32)
    rate = np.asarray([1.0], np.float32)
    given = {
        **{"low": low, "high": high, "per_second": rate, "transfer_rate": rate},
        **{"obs": np.zeros(2, np.float32), "wanted": high, "last": None, "last_sent": low},
        **{"now": 0.0, "since_then": 1.0, "episode_return": 3.0, "may_try": True},
        **{"returns_of_the_old_controller": np.linspace(0.0, 9.0, 60), "gate": lambda: True},
        **{"not_both_valves": lambda obs, action: action, "policy": lambda obs: high},
    }
    for page in ("guard.md", "modes.md"):
        for _, text in blocks(ROOT / "docs" / page, "python"):
            if "moore.Session" in text:
                continue  # which would need a run
            exec(text.replace('"old_policy.zip"', "lambda obs: low"), given)
        if page == "guard.md":
            assert given["guard"].trusted and given["sent"].action == pytest.approx(1.0)
    assert given["sent"].actor == "old" and given["board"].mode == "canary"


def test_the_notebook_of_the_quickstart_says_what_its_page_says():
    made = notebook.notebook()
    assert (ROOT / notebook.NOTEBOOK).read_text(encoding="utf-8") == made
    page = [text for _, text in blocks(ROOT / notebook.PAGE, "python")]
    code = [cell for cell in json.loads(made)["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]).strip() for cell in code] == [text.strip() for text in page]


def test_the_notebook_of_the_quickstart_runs(desk, monkeypatch, capsys):
    """At its smallest, and with an algorithm that has hardly anything to compile."""
    small = tomllib.loads(TINY) | {
        **{"algorithm": "awac", "awac": {"hidden": [8], "batch_size": 16}},
        **{"offline": {"epochs": 1, "updates_per_epoch": 2}},
        **{"online": {"epochs": 1, "steps_per_epoch": 4, "refit_every": 2}},
    }
    monkeypatch.setattr("moore.presets.preset", lambda name: from_dict(small))
    given: dict = {}
    for cell in json.loads((ROOT / notebook.NOTEBOOK).read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), given)
    told = capsys.readouterr().out
    summary = json.loads((desk / "first" / "summary.json").read_text())
    assert f"gain {summary['transfer']['gain']}" in told
    assert (desk / "first" / "report.html").exists() and given["earned"] < 0.0


@pytest.mark.slow
def test_the_tutorial_goes_from_a_table_to_an_exported_policy(tmp_path):
    """Its commands one after the other, but for the processes that run beside one another."""
    folder = tmp_path / "plant"
    shutil.copytree(ROOT / "examples" / "plant", folder, ignore=shutil.ignore_patterns("runs"))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    text = "".join(text for _, text in blocks(ROOT / "docs" / "tutorial-plant.md", "bash"))
    told = ""
    for line in text.replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line, comments=True) or [""]
        if program not in ("python", "moore") or words[0] in ("plant.py", "operate.py", "watch"):
            continue
        command = [sys.executable, *(["-m", "moore"] if program == "moore" else []), *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        told += done.stdout
    assert "return of an episode" in told and "[90% interval]" in told, "the assessment"
    assert (folder / "runs" / "plant" / "controller" / "policy.onnx").exists()


def test_the_tutorial_shows_the_files_of_the_example():
    example = ROOT / "examples" / "plant"
    ((_, columns),) = blocks(ROOT / "docs" / "tutorial-plant.md", "toml")
    shown, file = tomllib.loads(columns), tomllib.loads((example / "columns.toml").read_text())
    assert shown == file
