"""What was compiled is kept for the next command, unless the user says otherwise."""

import os
import subprocess
import sys

import platformdirs
import pytest

from moore.compiled import settings_that_keep_programs

FOLDER, LEAST = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
SWITCH = "JAX_ENABLE_COMPILATION_CACHE"


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """The user's folder of caches; nothing is set."""
    for name in (FOLDER, LEAST, SWITCH):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "caches"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, **_: folder / name)
    return folder


def test_programs_are_kept_in_a_folder_of_the_processors_kind(caches):
    settings = settings_that_keep_programs()
    (folder,) = (caches / "moore").iterdir()
    assert settings == {FOLDER: str(folder), LEAST: "0.1"}
    assert settings_that_keep_programs() == settings


@pytest.mark.parametrize(("name", "value"), [(FOLDER, "mine"), (SWITCH, "0")])
def test_what_the_user_has_chosen_stays(name, value, caches, monkeypatch):
    monkeypatch.setenv(name, value)
    assert settings_that_keep_programs() == {}
    assert not caches.exists()


def test_how_long_a_program_must_take_may_be_the_users_choice(caches, monkeypatch):
    monkeypatch.setenv(LEAST, "5")
    assert settings_that_keep_programs()[LEAST] == "5"


def test_where_no_folder_can_be_made_nothing_is_kept(caches):
    caches.write_text("a file where the folder would be")
    assert settings_that_keep_programs() == {}


def test_a_user_without_a_home_keeps_nothing(caches, monkeypatch):
    def no_home(name, **_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(platformdirs, "user_cache_path", no_home)
    assert settings_that_keep_programs() == {}


def test_what_was_compiled_months_ago_is_removed(caches):
    settings_that_keep_programs()
    (folder,) = (caches / "moore").iterdir()
    for name, age in (("old", 100), ("new", 10)):
        (folder / name).write_bytes(b"a program")
        then = (folder / name).stat().st_mtime - age * 24 * 3600
        os.utime(folder / name, (then, then))
    settings_that_keep_programs()
    assert [file.name for file in folder.iterdir()] == ["new"]


@pytest.fixture
def command(tmp_path):
    """Runs a command in a process of its own; returns the names of what is in the folder then."""
    if sys.platform != "linux":
        pytest.skip("the folder of caches is told another way")
    env = {name: value for name, value in os.environ.items() if name not in (FOLDER, SWITCH)}
    env |= {"XDG_CACHE_HOME": str(tmp_path), LEAST: "0"}

    def run(line: str) -> list[str]:
        words = [sys.executable, "-m", "moore", *line.split()]
        subprocess.run(words, env=env, check=False, capture_output=True, cwd=tmp_path)
        return [file.name for file in tmp_path.glob("moore/compiled-*/*")]

    return run


def test_a_command_leaves_its_programs_for_the_next(command):
    assert any(name.startswith("jit_") for name in command("doctor"))


@pytest.mark.parametrize("line", ["run no-preset --estimate", "plan no-log"])
def test_one_that_foretells_what_a_run_costs_finds_none(line, command, tmp_path):
    command(line)
    assert not (tmp_path / "moore").exists()
