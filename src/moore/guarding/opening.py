"""Opens a controller from a text: a file, an address, or a function of the user's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.guarding.controllers import (
    Controller,
    FunctionController,
    check_bounds,
    named_controller,
)
from moore.guarding.d3rlpy_file import read_d3rlpy
from moore.guarding.http_call import HttpController
from moore.guarding.networks import read_npz
from moore.guarding.onnx_file import read_onnx
from moore.guarding.stable_baselines3 import read_stable_baselines3
from moore.imports import is_function_name

KINDS = (
    "a function or an object module:name, an address http://..., or a file: .onnx, .zip "
    "(stable-baselines3), .d3 (d3rlpy), .npz"
)


def open_controller(
    source: str | Path | Callable,
    *,
    low: Float[np.ndarray, " action"],
    high: Float[np.ndarray, " action"],
    timeout: float = 0.5,
) -> Controller:
    """The controller that a text, a path or a function stands for.

    A function's module is imported and runs, so the text must come from the user, never from a
    file. Reading a file runs no code.

    Args:
        source: one of KINDS, or a function (obs,) -> (action,) itself.
        low: lower bounds of the actions.
        high: upper bounds of the actions.
        timeout: seconds that a server may take.

    Raises:
        InputError: there is no such controller, it cannot be read, or it is made for other bounds.
    """
    if callable(source):
        return FunctionController(source)
    text = str(source)
    if text.startswith(("http://", "https://")):
        return HttpController(text, timeout)
    path = Path(text).expanduser()
    kind = path.suffix.lower()
    if kind == ".onnx":
        return read_onnx(path)
    if kind == ".npz":
        found = read_npz(path)
        as_it_is = f"moore.guarding.networks.read_npz(Path({text!r}))"
        check_bounds((found.low, found.high), (low, high), source=text, as_it_is=as_it_is)
        return found
    if kind == ".zip":
        return read_stable_baselines3(path, low=low, high=high)
    if kind in (".d3", ".pt"):
        return read_d3rlpy(path, low=low, high=high)
    if is_function_name(text):
        return named_controller(text)
    raise InputError(f"the controller {text} is of no known kind; expected {KINDS}.")
