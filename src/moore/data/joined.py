"""Whether logs can be joined to one: the same columns in the same order and units, as often."""

from collections.abc import Mapping

from moore.data.checks import shown
from moore.data.intervals import other_interval
from moore.errors import InputError

Named = tuple[str, Mapping[str, object]]  # a log's name and metadata

_OF_COLUMNS = ("obs_names", "action_names", "obs_units", "action_units")  # in the metadata


def check_joined(first: Named, other: Named) -> None:
    """Compares what two logs with as many columns say of them.

    Args:
        first: name and metadata of the first of the joined logs.
        other: those of another one.

    Raises:
        InputError: names or units are others, or the usual time between two rows is.
    """
    for key in _OF_COLUMNS:
        named = first[1].get(key), other[1].get(key)
        if None not in named and named[0] != named[1]:
            raise InputError(
                f"{other[0]}: its {key.replace('_', ' ')} are {shown(named[1])}, those of "
                f"{first[0]} {shown(named[0])}; only data sets with the same columns, in one order "
                "and in the same units, can be joined"
            )
    if times := other_interval(first[1], other[1]):
        raise InputError(f"{other[0]}: {times} in {first[0]}; resample one of them")
