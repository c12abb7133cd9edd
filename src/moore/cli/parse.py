"""Options of a command, parsed by tyro; a wrong flag is reported in one line."""

import contextlib
import dataclasses
import inspect
import io
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from moore.cli.field_help import explain
from moore.cli.plain import plain
from moore.errors import InputError

Options = TypeVar("Options")


def parse(options: type[Options], arguments: list[str], command: str, default=None) -> Options:
    """Parses flags; a wrong flag is reported in one line instead of tyro's box."""
    import tyro

    arguments = [_at_home(argument) for argument in arguments]
    _refuse_twice(arguments, repeatable=_repeatable(options))
    _refuse_empty(arguments, options)
    if {"-h", "--help"} & set(arguments):
        explain(options)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(options, args=arguments, prog=f"moore {command}", default=default)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        known = _of_use(options, default)
        said = plain(errors.getvalue(), dict(_flags(arguments)), f"moore {command}", known)
        raise InputError(said) from None


def _of_use(options: type, default: Any) -> dict[str, Any]:
    """The flags of a command with their types, but for sections that its algorithm does not use."""
    from moore.cli.meant import flags_of

    config = getattr(default, "config", None)
    if config is None:
        return flags_of(options)
    from moore.runs.sections import unused_sections

    unused = {name.replace("_", "-") for name in unused_sections(config)}
    found = flags_of(options).items()
    return {flag: kind for flag, kind in found if flag.partition(".")[0] not in unused}


def _repeatable(options: type) -> set[str]:
    """The flags that may be given several times, because all of their values count."""
    import tyro

    hints = get_type_hints(options, include_extras=True)
    append = tyro.conf.UseAppendAction
    return {f"--{name}" for name, hint in hints.items() if append in _marks(hint)}


def _marks(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__metadata__", ())


def _refuse_twice(arguments: list[str], *, repeatable: set[str]) -> None:
    """Refuses a flag that is given twice with different values, of which one would be ignored."""
    first: dict[str, list[str]] = {}
    for flag, values in _flags(arguments):
        if flag in repeatable:
            continue
        before = first.setdefault(flag, values)
        if before != values:
            told = " and then with ".join(" ".join(x) or "no value" for x in (before, values))
            raise InputError(
                f"{flag} is given with {told}; give it once. Where a flag takes several values, "
                "they follow each other."
            )


def _refuse_empty(arguments: list[str], options: type) -> None:
    """Refuses an empty value of an option that may be left out, for it would count as left out."""
    fields = dataclasses.fields(options) if dataclasses.is_dataclass(options) else ()
    left_out = {f"--{field.name.replace('_', '-')}" for field in fields if field.default is None}
    for flag, values in _flags(arguments):
        if values == [""] and flag in left_out:
            raise InputError(
                f"{flag} is empty, as a variable of the shell is that was not set; give its value, "
                "or leave the flag out."
            )


def _flags(arguments: list[str]) -> list[tuple[str, list[str]]]:
    """The flags and their values; `--no-x` is `--x` with the value `no`."""
    found: list[tuple[str, list[str]]] = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if flag.startswith("--"):
            section, dot, last = flag.removeprefix("--").replace("_", "-").rpartition(".")
            plain = last.removeprefix("no-")
            values = [value] if equals else ["no"] if plain != last else []
            found.append((f"--{section}{dot}{plain}", values))
        elif found:
            found[-1][1].append(argument)
    return found


def _at_home(argument: str) -> str:
    """Replaces the `~` of `~/x` and `--out=~/x` by the home folder, as most shells do not."""
    flag, equals, value = argument.partition("=")
    if not (equals and flag.startswith("--")):
        flag, equals, value = "", "", argument
    return flag + equals + os.path.expanduser(value)


def example(text: str) -> Callable:
    """Gives the options of a command a help text that begins with an example."""

    def decorate(cls: type) -> type:
        cls.__doc__ = f"example: {text}\n\n{inspect.cleandoc(cls.__doc__ or '')}"
        return cls

    return decorate


# What the first word of a command stands for.
_TARGETS = {
    "RUN": "the folder of a run", "LOG": "a log", "DATASET": "a log", "SOURCE": "a log",
    "FIGURE": "fig1, fig2, fig3 or fig4", "SHELL": "bash, zsh or tcsh",
}  # fmt: skip


def needs(command: str, target: str, more: str = "") -> InputError:
    """The error of a command that does not begin with what it is about."""
    return InputError(
        f"moore {command} needs a {target}, {_TARGETS[target]}, as its first word: "
        f"moore {command} {target}{more} [OPTIONS]."
    )


def with_target(options: type[Options], arguments: list[str], command: str, target: str):
    """Parses a command's one positional argument, which comes first, and its options."""
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        raise needs(command, target)
    if arguments[0] in ("-h", "--help"):
        parse(options, arguments, f"{command} {target}")
    return arguments[0], parse(options, arguments[1:], f"{command} {target}")


def value_of(arguments: list[str], flag: str) -> str | None:
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        argument = name.replace("_", "-") + equals + value  # tyro takes both spellings
        if argument == flag and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(flag + "="):
            return argument.split("=", 1)[1]
    return None


def flags(arguments: list[str]) -> list[str]:
    """The names of the flags that were given, with hyphens."""
    given = [argument for argument in arguments if argument.startswith("--")]
    return [argument[2:].partition("=")[0].replace("_", "-") for argument in given]


def words(text: str) -> list[str]:
    """The words of a text that commas separate."""
    return [word.strip() for word in text.split(",") if word.strip()]


def seed_list(text: str) -> tuple[int, ...]:
    """The seeds of a text with numbers and ranges, such as 0-7,20."""
    return tuple(seed for word in words(text) for seed in _range(word))


def _range(word: str) -> range:
    first, dash, last = word.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
        raise InputError(f"--seeds: '{word}' is neither a number nor a range such as 0-7.")
    return range(int(first), int(last or first) + 1)


def block_signs() -> str:
    """Characters for histograms that this terminal can show."""
    from moore.reports.log_text import ASCII_BLOCKS, BLOCKS

    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII_BLOCKS
    return BLOCKS
