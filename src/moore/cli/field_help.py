"""The help of a flag is the text that stands under its field in the dataclass."""

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
import types
import typing


def explain(section: type) -> None:
    """Hands tyro the text under each field as one paragraph, for nested sections too.

    tyro reads these texts by itself as well, but keeps the line breaks of the source.
    """
    texts, hints = texts_under_fields(section), typing.get_type_hints(section)
    for item in dataclasses.fields(section):
        if item.name in texts:
            item.metadata = types.MappingProxyType({**item.metadata, "help": texts[item.name]})
        if dataclasses.is_dataclass(hints[item.name]):
            explain(hints[item.name])


def texts_under_fields(section: type) -> dict[str, str]:
    """Maps the names of the fields to their help texts, for the fields that have one.

    The text stands under the field, its own or that of a class before it, or in the list
    `Attributes` of the class, or in the metadata of a field that a program made.
    """
    texts = {
        item.name: item.metadata["help"]
        for item in dataclasses.fields(section)
        if "help" in item.metadata
    }
    for parent in reversed(section.__mro__):
        if dataclasses.is_dataclass(parent):
            texts |= _listed(parent) | _under(parent)
    return texts


def _under(section: type) -> dict[str, str]:
    try:
        source = inspect.getsource(section)
    except (OSError, TypeError):  # a program has made it
        return {}
    (definition,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(definition, ast.ClassDef)  # the source of a class is its definition
    texts = {}
    for field, below in itertools.pairwise(definition.body):
        text = _text_of(below)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and text:
            texts[field.target.id] = " ".join(text.split())
    return texts


def _listed(section: type) -> dict[str, str]:
    """What the list `Attributes` of a docstring says of each field."""
    _, _, listed = inspect.cleandoc(section.__doc__ or "").partition("\nAttributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", listed, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _text_of(statement: ast.stmt) -> str | None:
    """The text that a statement consists of; None if it is something else."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        value = statement.value.value
        return value if isinstance(value, str) else None
    return None
