"""What the reference controller earns along an episode, by which other policies are measured.

Worth is reward above a given floor, the lowest reward of a step. The mean worth of the reference's
episodes at some equally spaced steps (marks) tells what it would have earned between any two of
them; the scatter of its returns tells how well that is known.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite

import numpy as np
from jaxtyping import Bool, Float

from moore.errors import InputError
from moore.stages.evidence import LEAST_SPREAD, half_width, spread

MARKS = 20


@dataclass
class Earnings:
    """The whole episodes of one controller.

    Attributes:
        length: number of steps of an episode that does not end early; for a process without end,
            the number of steps that are accounted together.
        floor: lowest reward of a step. It must not be positive if episodes can end early.
        ends: whether an episode may end early. The steps that are missing then earn 0 reward.
        drawdown: the most worth that a usual episode loses at a stretch, where steps can earn less
            than the floor.
        worths: the worth of each episode.
        course: sum over the episodes of the worth at each mark.
        credit, charges_rest: see `rate.py`; the unit of the account is an episode.
    """

    length: int
    floor: float
    ends: bool
    drawdown: float = 0.0
    worths: list[float] = field(default_factory=list)
    course: list[float] = field(default_factory=list)
    credit = 1.0
    charges_rest = True

    def __post_init__(self) -> None:
        if self.length < 1:
            raise InputError(f"An episode has {self.length} steps; it must have at least one.")
        if not isfinite(self.floor):
            raise InputError(f"The floor is {self.floor}; it must be the least reward of a step.")
        if self.ends and self.floor > 0.0:
            raise InputError(
                f"The floor is {self.floor:g} a step, and episodes may end early, after which they "
                "earn 0; give a floor of 0 or less."
            )
        count = min(MARKS, self.length)
        self.marks = [round(mark * self.length / count) for mark in range(count + 1)]
        self.course = self.course or [0.0] * (count + 1)
        self._spread: float | None
        self._bounds: dict[float, tuple[float, float]]
        self._find_level()

    @property
    def episodes(self) -> int:
        return len(self.worths)

    def add(self, course: Sequence[float], worth: float, steps: int) -> None:
        """Adds an episode: its worth at the marks that it reached (from mark 0) and at its end."""
        padded = self.padded(course, worth, steps)
        self.course = [total + value for total, value in zip(self.course, padded, strict=True)]
        self.worths.append(padded[-1])
        self._find_level()

    def padded(self, course: Sequence[float], worth: float, steps: int) -> list[float]:
        """The course of an episode at all marks; the steps after its end earn 0 reward."""
        later = self.marks[len(course) :]
        return [*course, *(worth - self.floor * (mark - steps) for mark in later)]

    @property
    def spread(self) -> float:
        """Robust standard deviation of the worth of the episodes."""
        if self._spread is None:
            self._spread = max(spread(self.worths), LEAST_SPREAD * self.level)
        return self._spread

    def part(self, since: int, until: int) -> float:
        """What the reference earns between two steps, as a part of its mean episode."""
        return max(self.units(since, until), 0.0)

    def units(self, since: int, until: int) -> float:
        """`part` as the account needs it: negative where the reference earns below the floor."""
        if self.level <= 0.0 or until <= since:
            return 0.0
        return (self._at(until) - self._at(since)) / (self.level * self.episodes)

    def most_units(self, since: int) -> float:
        """The most that `units` becomes from this step to any later one of the episode."""
        later = [mark for mark in self.marks if mark > since]
        return max((self.units(since, mark) for mark in later), default=0.0)

    def level_within(self, error: float) -> tuple[float, float]:
        """Bounds on the mean worth; each fails with this probability at any time during the run.

        They assume independent episodes whose worth scatters no more widely than a normal variable.
        """
        if error not in self._bounds:
            self._bounds[error] = self._level_within(error)
        return self._bounds[error]

    def _level_within(self, error: float) -> tuple[float, float]:
        if self.episodes < 2 or self.level <= 0.0:
            return 0.0, inf
        half = half_width(self.worths, least=LEAST_SPREAD * self.level, error=error)
        return max(self.level - half, 0.0), self.level + half

    def _find_level(self) -> None:
        mean = self.course[-1] / self.episodes if self.worths else 0.0
        self.level = max(mean, 0.0)
        self._spread, self._bounds = None, {}

    def _at(self, step: int) -> float:
        """Sum over the episodes of the worth at a step."""
        return at_step(self.course, self.marks, step)


def drawdown(
    reward: Float[np.ndarray, " steps"], ends: Bool[np.ndarray, " steps"], length: int, floor: float
) -> float:
    """The most worth that a usual episode of a log loses at a stretch: the median over episodes.

    That is the largest fall of the sum of worth below its highest point so far. What the worst
    episode loses would be the safe choice, and leaves nothing for trials: on the quickstart it is a
    third of the credit, and in seed 1 no trial was ever long enough to be won.

    Args:
        reward: the reward of each step of the log.
        ends: whether an episode ends with this step.
        length: number of steps after which an episode that goes on counts as another one.
        floor: reward per step from which worth is counted.
    """
    last = [*np.flatnonzero(ends).tolist(), len(reward) - 1]
    falls, since = [], 0
    while since < len(reward):
        until = min(since + length, last[bisect_left(last, since)] + 1)
        worth = np.cumsum(reward[since:until].astype(np.float64) - floor)
        highest = np.maximum.accumulate(np.maximum(worth, 0.0))
        falls.append(float(np.max(highest - worth)))
        since = until
    return float(np.median(falls))


def at_step(course: Sequence[float], marks: Sequence[int], step: int) -> float:
    """The value of a course, known at marks, at a step; between the marks by interpolation."""
    mark = bisect_right(marks, step) - 1
    value, since = course[mark], marks[mark]
    if since < step and mark + 1 < len(marks):
        value += (course[mark + 1] - value) * (step - since) / (marks[mark + 1] - since)
    return value


def earnings_of_log(
    episodes: Iterable[Float[np.ndarray, " _"]], *, length: int, floor: float, ends: bool
) -> Earnings:
    """The earnings of the reference from the rewards of its whole episodes.

    If episodes do not end early, longer records are cut into stretches of `length` steps, and the
    remainder is not used.

    Raises:
        InputError: a reward is not finite, an episode is too long, or the mean is not above the
            floor, so that a share of it has no meaning.
    """
    earnings = Earnings(length, float(floor), ends)
    for rewards in episodes:
        if not np.all(np.isfinite(rewards)):
            raise InputError(
                "The reference has rewards that are not finite; leave out the episodes whose "
                "rewards were not all measured."
            )
        if ends and not 1 <= len(rewards) <= length:
            raise InputError(
                f"An episode of the reference has {len(rewards)} steps; give whole episodes of 1 "
                f"to {length} steps, or the right length."
            )
        stretches = [rewards] if ends else _cut(rewards, length)
        for stretch in stretches:
            worth = np.concatenate([[0.0], np.cumsum(np.asarray(stretch, float) - floor)])
            reached = [float(worth[mark]) for mark in earnings.marks if mark < len(worth)]
            earnings.add(reached, float(worth[-1]), len(stretch))
    if earnings.episodes and earnings.level <= 0.0:
        mean = earnings.course[-1] / earnings.episodes + floor * length
        raise InputError(
            f"The reference earns {mean:g} an episode, which is not above the floor of "
            f"{floor * length:g}; give the least reward of a step as the floor."
        )
    return earnings


def _cut(rewards: Float[np.ndarray, " steps"], length: int) -> list[Float[np.ndarray, " length"]]:
    whole = len(rewards) // length
    return [rewards[index * length : (index + 1) * length] for index in range(whole)]
