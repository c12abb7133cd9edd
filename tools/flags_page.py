"""The page of all flags, made from the commands; documentation.py puts it into the site."""

import dataclasses
import inspect
import re
import typing
from typing import Any

NAME = "flags.md"
_BEGIN = """\
# All flags

This page is made from the commands themselves, as their `--help` is. [Commands](commands.md) says
what each of them is for. A flag that is *on or off* has a second form that turns it off, such as
`--no-guard`.
"""
_WORDS = {int: "whole number", float: "number", str: "text", bool: "on or off"}


def flags_page() -> str:
    """The page in Markdown: a table of flags for each command."""
    from moore.cli.completion import options_of_commands

    tables = [_table(command, options) for command, options in options_of_commands().items()]
    return "\n\n".join([_BEGIN.rstrip(), *tables]) + "\n"


def _table(command: str, options: type) -> str:
    about, _, _ = inspect.cleandoc(options.__doc__ or "").partition("\nAttributes:")
    # The first line is an example.
    told = " ".join(about.partition("\n")[2].split())
    return "\n".join(
        [
            f"## moore {command}\n\n{told}\n",
            "| flag | value | default | what it does |\n|---|---|---|---|",
            *_rows(options),
        ]
    )


def _rows(options: type) -> list[str]:
    """A row for each flag; sections of settings have theirs on the page of the configuration."""
    from moore.cli.field_help import texts_under_fields
    from moore.cli.meant import named_fields
    from moore.config import Config

    texts, rows = texts_under_fields(options), []
    for name, kind, item in named_fields(options):
        if kind is Config:
            rows.append("| `--SETTING` | | | every setting of [the configuration](api-config.md) |")
        elif dataclasses.is_dataclass(kind) and not name:
            rows += _rows(kind)
        elif dataclasses.is_dataclass(kind):
            rows.append(f"| `--{name}.SETTING` | | | [its settings](api-config.md#agents) |")
        else:
            text = _as_it_is(texts.get(item.name, ""))
            rows.append(f"| `--{name}` | {_value(kind)} | {_default(item)} | {text} |")
    return rows


def _as_it_is(text: str) -> str:
    """The text with signs that Markdown would read, outside of code, as entities."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [re.sub(r"[_*{}<>]", _entity, part) for part in parts[::2]]
    return "`".join(parts)


def _entity(sign: re.Match) -> str:
    # A line may break after a brace: {env}__{seed} would be wider than a phone.
    return f"&#{ord(sign[0])};" + ("<wbr>" if sign[0] == "}" else "")


def _value(kind: Any) -> str:
    """What follows the flag, in words."""
    parts = [part for part in typing.get_args(kind) if part is not type(None)]
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if typing.get_origin(kind) in (tuple, list):
        return f"several: {_value(parts[0])}"
    if parts and type(None) in typing.get_args(kind):
        return _value(parts[0])
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)).lower())


def _default(item: dataclasses.Field) -> str:
    """What holds without the flag; a flag that is needed has to be given."""
    value = item.default
    if item.default_factory is not dataclasses.MISSING:
        value = item.default_factory()
    if value is dataclasses.MISSING:
        return "needed"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value in (None, "", (), []) else f"`{value}`"
