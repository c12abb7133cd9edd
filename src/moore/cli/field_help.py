"""The help of a flag is the text that stands under its field in the dataclass."""

import ast
import dataclasses
import inspect
import itertools
import textwrap
import types
import typing


def explain(section: type) -> None:
    """Hands tyro the texts under the fields, each as one paragraph; also of the sections inside.

    tyro reads these texts by itself as well, but keeps the line breaks of the source.
    """
    texts, hints = texts_under_fields(section), typing.get_type_hints(section)
    for item in dataclasses.fields(section):
        if item.name in texts:
            item.metadata = types.MappingProxyType({**item.metadata, "help": texts[item.name]})
        if dataclasses.is_dataclass(hints[item.name]):
            explain(hints[item.name])


def texts_under_fields(section: type) -> dict[str, str]:
    """The text under each field that has one, by the name of the field."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    texts = {}
    for field, text in itertools.pairwise(definition.body):  # type: ignore[attr-defined]
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                texts[name] = " ".join(words.split())
    return texts
