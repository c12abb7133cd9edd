"""Part of a log that would take too much memory or time: whole episodes, drawn from a seed."""

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np

from moore.data.episodes import TIME_LIMIT, cut_at_limit
from moore.data.log import Log
from moore.errors import InputError


@dataclass(frozen=True)
class Budget:
    """How much of a log is wanted: all of it, `max_rows` rows, or `fraction` of its rows.

    `max_episode_steps` cuts the episodes of a log without time-out flags; None if it is not given.
    """

    max_rows: int | None = None
    fraction: float | None = None
    seed: int = 0
    max_episode_steps: int | None = None

    def __post_init__(self):
        if self.max_rows is not None and self.fraction is not None:
            raise InputError(
                f"max_rows is {self.max_rows} and fraction {self.fraction:g}; expected one of the "
                "two; leave one out"
            )
        if self.max_rows is not None and self.max_rows < 1:
            raise InputError(f"max_rows is {self.max_rows}; expected at least 1")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise InputError(f"fraction is {self.fraction:g}; expected a number in (0, 1]")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected an integer of at least 0")

    @property
    def limited(self) -> bool:
        return self.max_rows is not None or self.fraction is not None

    def rows(self, of: int) -> int:
        """The number of rows that may be taken from a log with `of` rows."""
        if self.max_rows is not None:
            return min(self.max_rows, of)
        return of if self.fraction is None else math.floor(self.fraction * of)

    def __str__(self) -> str:
        if self.max_rows is not None:
            return f"max_rows is {self.max_rows}"
        return f"fraction is {self.fraction:g}"


@dataclass(frozen=True, eq=False)
class Subset:
    """A subset of a log, made of complete episodes."""

    keep: np.ndarray  # (n,) bool
    episodes: np.ndarray  # their numbers among the complete episodes, ascending
    metadata: dict[str, int]  # rows, episodes, of_rows, of_episodes, seed

    def digest(self, sha256: str) -> str:
        """A hash that depends on the file and on the rows taken from it."""
        return hashlib.sha256(sha256.encode() + np.packbits(self.keep).tobytes()).hexdigest()

    def of_episodes(self, statistics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays of one value an episode, for those of the subset; empty if the counts differ."""
        total = self.metadata["of_episodes"]
        if any(value.shape != (total,) for value in statistics.values()):
            return {}
        return {key: value[self.episodes] for key, value in statistics.items()}


def choose_rows(
    terminated: np.ndarray, truncated: np.ndarray | None, budget: Budget, *, name: str
) -> Subset | None:
    """The subset of a flat log that fits the budget; None if all of it does.

    Args:
        terminated: (n,) bool.
        truncated: (n,) bool; with None, episodes are cut at the budget's limit, or at `TIME_LIMIT`.
        budget: how many rows are wanted.
        name: name of the data set in errors.
    """
    limit = budget.max_episode_steps or TIME_LIMIT
    cuts = cut_at_limit(terminated, limit) if truncated is None else truncated
    last = np.flatnonzero(terminated | cuts)
    lengths = np.diff(last, prepend=-1)
    return choose_episodes(lengths, budget, rows=len(terminated), name=name)


def choose_episodes(lengths: np.ndarray, budget: Budget, *, rows: int, name: str) -> Subset | None:
    """Takes episodes in random order while they fit; None if the whole log fits.

    Episodes that are too long are skipped only until a first one fits, so that short ones are not
    preferred.

    Args:
        lengths: (m,) int64, lengths of the complete episodes, in order from row 0.
        budget: how many rows are wanted.
        rows: number of all rows, including those of an unfinished last episode.
        name: name of the data set in errors.
    """
    limit = budget.rows(rows)
    if limit >= rows:
        return None
    if len(lengths) == 0:
        raise InputError(
            f"{name}: no complete episode in {rows} rows, so none can be sampled; check the flags, "
            "or read the whole log"
        )
    if lengths.min() > limit:
        raise InputError(
            f"{name}: {budget}, which is {limit} of {rows} rows, but whole episodes are taken and "
            f"the shortest has {lengths.min()} rows; expected room for one at least; give more"
        )
    order = np.random.default_rng(budget.seed).permutation(len(lengths))
    order = order[np.argmax(lengths[order] <= limit) :]
    chosen = np.sort(order[np.cumsum(lengths[order]) <= limit])
    wanted = np.zeros(len(lengths), bool)
    wanted[chosen] = True
    keep = np.zeros(rows, bool)
    keep[: lengths.sum()] = np.repeat(wanted, lengths)
    metadata = {"rows": int(keep.sum()), "episodes": len(chosen)}
    metadata |= {"of_rows": rows, "of_episodes": len(lengths), "seed": budget.seed}
    return Subset(keep, chosen, metadata)


def take_part(log: Log, budget: Budget) -> Log:
    """Takes whole episodes from a log that was read completely; the log itself if it fits."""
    subset = choose_rows(log.terminated, log.truncated, budget, name=log.name)
    if subset is None:
        return log
    keep, chosen = subset.keep, {}
    returns, lengths = log.episode_returns, log.episode_lengths
    if returns is not None and lengths is not None:
        chosen = subset.of_episodes({"episode_returns": returns, "episode_lengths": lengths})
    return replace(
        log,
        obs=log.obs[keep],
        action=log.action[keep],
        reward=log.reward[keep],
        terminated=log.terminated[keep],
        truncated=None if log.truncated is None else log.truncated[keep],
        next_obs=None if log.next_obs is None else log.next_obs[keep],
        successor_known=None if log.successor_known is None else log.successor_known[keep],
        episode_returns=chosen.get("episode_returns"),
        episode_lengths=chosen.get("episode_lengths"),
        infos={key: value[keep] for key, value in log.infos.items()},
        sha256=subset.digest(log.sha256),
        metadata=log.metadata | {"subset": subset.metadata},
    )
