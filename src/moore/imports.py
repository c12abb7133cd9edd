"""Functions of the user's own, named on the command line as module:function."""

import importlib
import re
from collections.abc import Callable

from moore.errors import InputError


def import_function(text: str, *, what: str, example: str, takes: str) -> Callable:
    """The function that `module:function` names.

    Args:
        text: the name.
        what: what was given, for errors, such as the flag.
        example: a name as it should be.
        takes: the function's arguments and result, such as "(d, t), returning numbers".

    Raises:
        InputError: not such a name, a module that cannot be imported, or no such function.
    """
    module_name, _, name = text.partition(":")
    if not re.fullmatch(r"\w+(\.\w+)*", module_name) or not name.isidentifier():
        raise InputError(f"{what} {text}: expected module:function, such as {example}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise InputError(
            f"{what} {text}: module {module_name} cannot be imported ({error}); install it, or put "
            "its folder on PYTHONPATH"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(
            f"{what} {text}: {module_name} has no function {name}; expected def {name}{takes}"
        )
    return function
