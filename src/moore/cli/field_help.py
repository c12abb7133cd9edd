"""The help of a flag is the text that stands under its field in the dataclass."""

import ast
import dataclasses
import inspect
import itertools
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

    The text stands under the field, or in its metadata if a program made the field.
    """
    texts = {
        item.name: item.metadata["help"]
        for item in dataclasses.fields(section)
        if "help" in item.metadata
    }
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    return texts | {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and _is_text(text)
    }


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
