"""Functions of the user's own, named as module:function."""

import sys

import pytest

from moore.errors import InputError
from moore.imports import import_function

ASKED = {"what": "--reward", "example": "plant:reward", "takes": "(obs, action, next_obs)"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current folder, which is not on Python's path, as for an installed command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_a_module_of_the_current_folder_is_found_and_finds_its_neighbours(folder):
    (folder / "own_signals.py").write_text("LEVEL = 3\n")
    late = "def level(*arrays):\n    from own_signals import LEVEL\n    return LEVEL\n"
    (folder / "own_plant_rewards.py").write_text(late)
    assert import_function("own_plant_rewards:level", **ASKED)() == 3


def test_a_module_of_the_current_folder_hides_none_that_is_installed(folder):
    (folder / "colorsys.py").write_text("def rgb_to_hsv(*colour):\n    return 'not the library'\n")
    sys.modules.pop("colorsys", None)
    assert import_function("colorsys:rgb_to_hsv", **ASKED)(0, 0, 0) == (0.0, 0.0, 0)


def test_a_module_that_is_nowhere_is_an_error_that_says_where_it_is_looked_for(folder):
    with pytest.raises(InputError, match=r"in the folder of that module.*PYTHONPATH"):
        import_function("no_such_plant:reward", **ASKED)
