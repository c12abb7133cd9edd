"""What a dip budget allows on a system like the log: its rules, on the log's own episodes.

The code that decides is that of a run. The reference earns what episodes of the log have earned,
drawn at random; another policy earns the same times a factor, counted from the floor of the budget
(docs/budget.md).
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.runs.budgeting import LoggedEpisode, dip_budget, logged_episodes, unknown_earnings
from moore.stages.budget import REFERENCE, DipBudget

# Simulated systems for each number, and episodes after which nothing is waited for any longer.
SYSTEMS, EPISODES = 200, 200
# What a bad challenger earns, as a share of what the reference does.
BAD = 0.5


@dataclass(frozen=True)
class Promotion:
    """How long it takes until a better policy is promoted.

    Attributes:
        gain: how much more it earns, as a share of what the log's controller earns.
        median, late: number of episodes, in the median and for the slowest tenth; None: more than
            `EPISODES`.
    """

    gain: float
    median: float | None
    late: float | None


class Systems:
    """Systems on which the log's controller is the reference.

    Their episodes are those that end in the log, cut ones included: on such a system episodes will
    be cut in a run too, and an account then counts the steps that there were. An account that
    begins with a record of the log takes whole episodes alone, because only their returns can be
    compared (`whole_episodes`); here every account begins without a record.
    """

    def __init__(self, log: Dataset, steps: int, share: float):
        """
        Args:
            log: the log.
            steps: largest number of steps of an episode.
            share: the budget.

        Raises:
            InputError: fewer than two episodes end in the log, or it tells nothing about a budget.
        """
        self._share, self._steps = share, steps
        self._known = unknown_earnings(log, steps, None)
        self._floor, self._marks = self._known.floor, self._known.marks
        closed = (one for one in logged_episodes(log, steps) if one.closed)
        self._episodes = [self._cut(one) for one in closed]
        if len(self._episodes) < 2:
            raise InputError(
                f"{log.name} has fewer than two episodes that end, so nothing can be said about "
                "trials; cut its record into shifts or batches first (docs/logs.md)."
            )

    def trials_per_episode(self, factor: float = BAD, seed: int = 0) -> float:
        """Number of trials in an episode, in the mean, if every challenger earns this factor."""
        rng = np.random.default_rng(seed)
        count = [self._run(rng, factor, EPISODES // 2)[0].trials for _ in range(SYSTEMS // 10)]
        return float(np.mean(count)) / (EPISODES // 2)

    def promotion(self, gain: float, seed: int = 0) -> Promotion:
        """How long it takes until a policy that earns so much more is promoted."""
        rng = np.random.default_rng(seed)
        runs = [self._run(rng, 1.0 + gain, EPISODES, until_promoted=True) for _ in range(SYSTEMS)]
        waited = [float(played) if budget.promoted else np.inf for budget, played in runs]
        median, late = np.quantile(waited, [0.5, 0.9], method="higher")
        return Promotion(gain, _or_none(median), _or_none(late))

    def _run(
        self, rng: np.random.Generator, factor: float, most: int, *, until_promoted: bool = False
    ) -> tuple[DipBudget, int]:
        """Plays one random system; returns its loss budget and the number of its episodes."""
        budget = dip_budget(self._share, replace(self._known, worths=[], course=[]))
        for number in range(1, most + 1):
            if budget.incumbent == REFERENCE:
                budget.offer(number)
            self._play(budget, self._episodes[rng.integers(len(self._episodes))], factor)
            if until_promoted and budget.promoted:
                return budget, number
        return budget, most

    def _play(self, budget: DipBudget, episode: "_Episode", factor: float) -> None:
        """An episode, in which a challenger earns `factor` times what the log's controller did."""
        taken = 0
        for stretch in episode.stretches:
            worth = stretch.reward - self._floor * stretch.steps
            worth *= 1.0 if budget.acting == REFERENCE else factor
            budget.step(worth + self._floor * stretch.steps, stretch.steps)
            taken += stretch.steps
        if taken < self._steps:
            budget.end(terminated=episode.terminated)

    def _cut(self, episode: LoggedEpisode) -> "_Episode":
        """An episode, cut at the marks of the account."""
        total = np.concatenate([[0.0], np.cumsum(episode.rewards)])
        cuts = [mark for mark in self._marks if mark < len(episode.rewards)]
        stretches = [
            _Stretch(float(total[until] - total[since]), until - since)
            for since, until in itertools.pairwise([*cuts, len(episode.rewards)])
        ]
        return _Episode(stretches, episode.terminated)


@dataclass(frozen=True)
class _Stretch:
    reward: float
    steps: int


@dataclass(frozen=True)
class _Episode:
    stretches: list[_Stretch]
    terminated: bool


def _or_none(episodes: np.floating) -> float | None:
    return float(episodes) if np.isfinite(episodes) else None
