"""An online epoch under way: the steps that were taken, and what was measured."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import jax
import numpy as np

from moore.dynamics.fit import FitReport
from moore.experience.protocol import Metrics, Refreshed
from moore.stages.measured import fit_metrics, mean_metrics

_MEASURED = ("refreshed", "gates", "losses")


def _nothing() -> dict[str, list[dict]]:
    return {name: [] for name in _MEASURED}


@dataclass
class Epoch:
    """What a run needs, besides the learner's state, to go on from the middle of an epoch.

    Attributes:
        number: t, the number of the epoch.
        observed: number of steps taken in the system.
        learned: number of steps after which everything that was due has been done.
        in_episode: whether an episode goes on after the last step.
        dropped: number of steps whose transition was not measured completely.
        cut: number of episodes that were left because the dip budget said so.
        returns: returns of the episodes that ended before the last refresh.
        fits: reports of the refits.
        measured: rows of metrics, by kind.
    """

    number: int
    observed: int = 0
    learned: int = 0
    in_episode: bool = True
    dropped: int = 0
    cut: int = 0
    returns: list[float] = field(default_factory=list)
    fits: list[FitReport] = field(default_factory=list)
    measured: dict[str, list[dict]] = field(default_factory=_nothing)

    def observe(self, step: int, *, in_episode: bool, dropped: bool = False) -> None:
        """Notes a step in the system."""
        self.observed, self.in_episode = step, in_episode
        self.dropped += dropped

    def refreshed(self, fresh: Refreshed, returns: Sequence[float], gates: Metrics) -> None:
        """Notes a refresh of the experience, and the metrics of the gate."""
        if fresh.report is not None:
            self.fits.append(fresh.report)
        self.returns += returns
        self.measured["refreshed"].append(fresh.metrics)
        self.measured["gates"].append(gates)

    def metrics(self, returns: Sequence[float]) -> dict:
        """The epoch's row of metrics; `returns`: of episodes that ended since the last refresh."""
        self.returns += returns  # a run whose evaluation fails goes on from here
        means = {name: mean_metrics(rows) for name, rows in self.measured.items()}
        result = {
            "online/episode_returns": list(self.returns),
            "online/dropped_transitions": self.dropped,
            "online/cut_episodes": self.cut,
        }
        result |= fit_metrics(self.fits)
        return result | means["refreshed"] | means["gates"] | means["losses"]

    def pack(self) -> tuple[dict, dict[str, np.ndarray]]:
        """As JSON and arrays, for a checkpoint."""
        facts = {
            "number": self.number,
            "observed": self.observed,
            "learned": self.learned,
            "in_episode": bool(self.in_episode),
            "dropped": self.dropped,
            "cut": self.cut,
            "returns": [float(value) for value in self.returns],
            "fits": [asdict(report) for report in self.fits],
            "rows": {name: len(rows) for name, rows in self.measured.items()},
        }
        arrays = {}
        for name, rows in jax.device_get(self.measured).items():
            for key in rows[0] if rows else ():
                arrays[f"epoch/{name}/{key}"] = np.asarray([row[key] for row in rows])
        return facts, arrays


def unpack_epoch(facts: dict, arrays: dict[str, np.ndarray]) -> Epoch:
    """The epoch that `Epoch.pack` has packed."""
    measured: dict[str, list[dict]]
    measured = {name: [{} for _ in range(count)] for name, count in facts["rows"].items()}
    for place, column in arrays.items():
        if place.startswith("epoch/"):
            _, name, key = place.split("/", 2)
            for row, value in zip(measured[name], column, strict=True):
                row[key] = value
    reports = [
        FitReport(**report | {"holdout_mse": tuple(report["holdout_mse"])})
        for report in facts["fits"]
    ]
    plain = ("number", "observed", "learned", "in_episode", "dropped", "cut", "returns")
    return Epoch(**{name: facts[name] for name in plain}, fits=reports, measured=measured)
