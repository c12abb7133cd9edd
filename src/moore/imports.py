"""Functions of the user's own, named on the command line as module:function."""

import importlib
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from moore.errors import InputError


def is_function_name(text: str) -> bool:
    """Whether a text is written like `module:function`; nothing is imported."""
    module, _, name = text.partition(":")
    return bool(re.fullmatch(r"\w+(\.\w+)*", module)) and name.isidentifier()


def import_function(text: str, *, what: str, example: str, takes: str) -> Callable:
    """The function that `module:function` names; see `import_named`.

    Args:
        text: the name.
        what: what was given, for errors, such as the flag.
        example: a name as it should be.
        takes: the function's arguments and result, such as "(d, t), returning numbers".

    Raises:
        InputError: not such a name, a module that cannot be imported, or no such function.
    """
    function = import_named(text, what=what, example=example)
    if not callable(function):
        module_name, _, name = text.partition(":")
        raise InputError(
            f"{what} {text}: {module_name} has no function {name}; expected def {name}{takes}"
        )
    return function


def import_named(text: str, *, what: str, example: str) -> Any:
    """What `module:name` names; None if the module has no such name. This runs the module.

    The module is looked for where Python looks, and at last in the current folder, as a person
    expects who has just written it there. Called when a run is prepared, which its user asked for;
    never while a file is read.

    Args:
        text: the name.
        what: what was given, for errors, such as the flag.
        example: a name as it should be.

    Raises:
        InputError: not such a name, or a module that cannot be imported.
    """
    module_name, _, name = text.partition(":")
    if not is_function_name(text):
        raise InputError(f"{what} {text}: expected module:function, such as {example}")
    _look_in_current_folder()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise InputError(
            f"{what} {text}: module {module_name} cannot be imported ({error}); call the "
            "command in the folder of that module, put the folder on PYTHONPATH, or install it"
        ) from error
    return getattr(module, name, None)


def _look_in_current_folder() -> None:
    """Puts the current folder last on `sys.path`, so that it hides nothing that is installed.

    It stays there, because a module may import its neighbours later, when its function is called.
    """
    with suppress(OSError):  # the folder was removed
        here = os.getcwd()
        if here not in sys.path:
            sys.path.append(here)
