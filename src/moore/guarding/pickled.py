"""Reads the plain data in a pickle without unpickling it.

Python's `pickle` runs whatever code a file names. Here the instructions are read one by one
(`pickletools.genops` only decodes them), and only those that build plain data are followed:
numbers, texts, lists, tuples, tables. A name of code is refused, unless the caller gave a function
of its own that stands for it. Nothing is imported.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

_MOST_INSTRUCTIONS = 5_000_000

Rebuild = Callable[..., Any]
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip
_VALUES = (
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
)  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Mark:
    """Where a group of values begins on the stack."""


def plain_data(
    content: bytes,
    *,
    known: Mapping[str, Rebuild] | None = None,
    stored: Callable[[Any], Any] | None = None,
) -> Any:
    """What a pickle holds.

    Args:
        content: the pickle.
        known: functions that stand for names in the file, by "module name".
        stored: makes a value of a reference to something outside the pickle.

    Raises:
        ValueError: it is cut off, names other code, or has an instruction that data do not need.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    known = known or {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count > _MOST_INSTRUCTIONS:
                raise ValueError("it has too many instructions")
            if opcode.name == "STOP":
                return stack.pop()
            _follow(opcode.name, argument, stack, memo, known, stored)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from None
    raise ValueError("it is cut off")


def _follow(name, argument, stack, memo, known, stored) -> None:
    """Follows one instruction."""
    if name in ("PROTO", "FRAME"):
        return
    if name in _VALUES:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name]())
    elif name == "MARK":
        stack.append(_Mark)
    elif name in ("BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        if name == "STACK_GLOBAL":
            function, module = stack.pop(), stack.pop()
            argument = f"{module} {function}"
        if argument not in known:
            raise ValueError(f"it names the code {argument.replace(' ', '.')}, which is not read")
        stack.append(known[argument])
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        # Only a function that the caller gave can be on the stack, for nothing else makes one.
        if not any(function is allowed for allowed in known.values()):
            raise ValueError("it calls something that is no function")
        stack.append(function(*arguments))
    elif name == "BUILD":
        stack.pop()  # attributes of the object below it, which plain data do not have
    elif name == "BINPERSID" and stored is not None:
        stack.append(stored(stack.pop()))
    else:
        _collect(name, stack)


def _collect(name: str, stack: list[Any]) -> None:
    """Follows an instruction that puts values from the stack into a list, a tuple or a table."""
    if name in _TUPLES:
        size = _TUPLES[name]
        if len(stack) < size:
            raise IndexError("pop from empty stack")
        stack[-size:] = [tuple(stack[-size:])]
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name in ("APPEND", "APPENDS"):
        values = [stack.pop()] if name == "APPEND" else _since_mark(stack)
        list.extend(stack[-1], values)
    elif name in ("SETITEM", "SETITEMS"):
        if name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            values = [key, value]
        else:
            values = _since_mark(stack)
        if not isinstance(stack[-1], dict):
            raise TypeError("not a table")
        stack[-1].update(zip(values[::2], values[1::2], strict=True))
    else:
        raise ValueError(f"it has the instruction {name}, which data do not need")


def _since_mark(stack: list[Any]) -> list[Any]:
    values = []
    while (value := stack.pop()) is not _Mark:
        values.append(value)
    return values[::-1]
