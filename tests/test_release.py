"""What a release needs: one version everywhere, a date, an address, and extras that have code."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import release
from moore.version import __version__

ROOT = release.ROOT
FILES = ("src/moore/version.py", "CHANGELOG.md", "CITATION.cff", "pyproject.toml")


@pytest.fixture
def copy(tmp_path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_this_repository_can_be_rehearsed():
    assert release.problems(ROOT, rehearsal=True) == []


def test_a_release_needs_one_version_a_date_and_an_address(copy):
    change(copy / "CHANGELOG.md", f"## {__version__} (unreleased)", f"## {__version__} (soon)")
    change(copy / "CITATION.cff", f"version: {__version__}", "version: 9.9")
    assert release.problems(copy, rehearsal=False) == [
        "CHANGELOG.md says 'soon' where the date of the release belongs.",
        f"CITATION.cff says version 9.9, but version.py says {__version__}.",
        "pyproject.toml has no address of the repository ([project.urls] Source).",
    ]
    change(copy / "CHANGELOG.md", f"## {__version__} (soon)", "## 8.8 (2030-01-01)")
    change(copy / "CITATION.cff", "version: 9.9", f"version: {__version__}")
    change(copy / "pyproject.toml", "[project.urls]", '[project.urls]\nSource = "https://x.org"')
    assert release.problems(copy, rehearsal=False) == [
        f"CHANGELOG.md begins with 8.8, but version.py says {__version__}."
    ]


def test_every_extra_that_users_install_is_explained_and_asked_for_by_code():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    explained = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", explained, re.MULTILINE))
    assert named == set(project["optional-dependencies"])
    sources = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("src/**/*.py"))
    for extra in ("track", "ray", "export", "tables", "serve"):
        assert f"moore-rl[{extra}]" in sources, extra
