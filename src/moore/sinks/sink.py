"""What a sink is, and what every sink does with a row."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from moore.numbers import finite, is_finite


@runtime_checkable
class Sink(Protocol):
    """A place for rows of metrics.

    A row is a dictionary with `stage`, `epoch`, `env_steps`, `updates` and measurements whose names
    hold a slash. A run that is resumed from a checkpoint writes the rows after it once more.
    Whoever opens a sink says how many rows metrics.jsonl holds; the sink is given the rows that it
    lacks, and repeats none that it already has.
    """

    def write(self, row: dict) -> None:
        """Takes one row.

        Raises:
            InputError: the row cannot be stored, so the run has to stop.
        """

    def close(self) -> None:
        """Writes what is still in memory; no row may be written afterwards."""


@dataclass(frozen=True)
class Label:
    """How trackers name a run.

    Attributes:
        project: the environment's id.
        group: the algorithm.
        name: the seed.
        settings: the configuration in one table, such as {"online.epochs": 100}.
    """

    project: str
    group: str
    name: str
    settings: dict


def scalars(row: dict) -> dict[str, int | float]:
    """The finite numbers of a row, named as in metrics.jsonl; lists are left out.

    Two of them appear once more under the names that dashboards look for: `charts/episodic_return`,
    the mean return of the episodes that the acting policy finished in this epoch, and `charts/SPS`,
    the steps of the system per second.
    """
    found = {
        name: value
        for name, value in row.items()
        if is_finite(value) and not isinstance(value, bool)
    }
    if acting := finite(row.get("online/episode_returns")):
        found["charts/episodic_return"] = float(np.mean(acting))
    if is_finite(row.get("time/steps_per_second")):
        found["charts/SPS"] = row["time/steps_per_second"]
    return found
