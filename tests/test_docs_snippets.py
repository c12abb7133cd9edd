"""What stands in the documents as code: it parses, its commands exist, and the tutorial runs."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from moore.cli import COMMANDS

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


@pytest.mark.slow
def test_the_tutorial_goes_from_a_table_to_an_exported_policy(tmp_path):
    """Its commands one after the other, but for the processes that run beside one another."""
    folder = tmp_path / "plant"
    shutil.copytree(ROOT / "examples" / "plant", folder, ignore=shutil.ignore_patterns("runs"))
    paths = [str(folder), str(ROOT / "src")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
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
    assert "verdict" in told.lower()
    assert (folder / "runs" / "plant" / "controller" / "policy.onnx").exists()


def test_the_tutorial_shows_the_files_of_the_example():
    example = ROOT / "examples" / "plant"
    ((_, columns),) = blocks(ROOT / "docs" / "tutorial-plant.md", "toml")
    shown, file = tomllib.loads(columns), tomllib.loads((example / "columns.toml").read_text())
    assert shown == file
