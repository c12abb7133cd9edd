"""Names and units of a log's columns, which a policy keeps: its inputs have an order and units.

A log of another order has as many numbers a row, and nothing else would tell it.
"""

from collections.abc import Mapping

from moore.data.checks import shown
from moore.data.dataset import Dataset
from moore.data.log import parts_of
from moore.errors import InputError

KEYS = ("obs_names", "action_names", "obs_units", "action_units")

Columns = dict[str, list[str]]


def columns_of(log: Dataset | None) -> Columns:
    """The names and units that the log, or the first of joined ones, gives its columns."""
    parts = [] if log is None else [log.metadata, *parts_of(log.metadata)]
    found = {key: next((part[key] for part in parts if key in part), None) for key in KEYS}
    return as_columns(found)


def as_columns(found: object) -> Columns:
    """The entries of a table that are lists of texts; what comes from a file may be anything."""
    if not isinstance(found, Mapping):
        return {}
    return {
        key: value
        for key, value in found.items()
        if key in KEYS and isinstance(value, list) and all(isinstance(v, str) for v in value)
    }


def check_labels(what: str, values: object, columns: Columns) -> None:
    """Refuses observations whose entries have the names of the log's in another order.

    A row of a pandas table has such names, and its numbers stand in the order of that table.

    Args:
        what: what they are, for the error.
        values: anything; what has no names passes.
        columns: names of the log's columns.

    Raises:
        InputError: the names are the same ones in another order.
    """
    labels = getattr(values, "columns", getattr(values, "index", None))
    names = columns.get("obs_names")
    if labels is None or callable(labels) or not names:  # a list has a method of this name
        return
    given = [str(label) for label in labels]
    if given != names and sorted(given) == sorted(names):
        raise InputError(
            f"{what} has its entries in the order {shown(', '.join(given))}; expected "
            f"{shown(', '.join(names))}, as in the log: choose the columns in that order"
        )


def check_columns(log: Dataset, expected: Columns, *, of: str) -> list[str]:
    """Compares the log's columns with others, where both are named.

    Args:
        log: a log with as many observations and actions.
        expected: the columns of the other one.
        of: what the others are, for messages.

    Returns:
        A note if the names are different ones, which may be another way to write the same.

    Raises:
        InputError: the same names stand in another order, or the same columns in other units.
    """
    given, notes = columns_of(log), []
    for kind in ("obs", "action"):
        names, others = given.get(f"{kind}_names"), expected.get(f"{kind}_names")
        if not names or not others:
            continue
        units = given.get(f"{kind}_units"), expected.get(f"{kind}_units")
        if names != others and sorted(names) == sorted(others):
            raise InputError(
                f"{log.name}: its {kind} columns are {shown(', '.join(names))}, those of {of} "
                f"{shown(', '.join(others))}; give them in the same order"
            )
        if names != others:
            notes.append(
                f"The {kind} columns are named {shown(', '.join(names))} in {log.name}, and "
                f"{shown(', '.join(others))} in {of}; check that they mean the same."
            )
        elif None not in units and units[0] != units[1]:
            raise InputError(
                f"{log.name}: its {kind} columns are in {shown(units[0])}, those of {of} in "
                f"{shown(units[1])}; convert them to the same units"
            )
    return notes
