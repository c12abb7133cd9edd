"""A measure for dips that does not come from the run whose dips are measured.

A dip as a share of what the hand-over is worth depends on the hand-over: a weak one makes a small
dip large, and a strong one a large dip small. The yardstick is the same for every run on a task.
"""

from dataclasses import dataclass

import numpy as np

from moore.evaluation.scores import ReferenceScores


@dataclass(frozen=True)
class Yardstick:
    """A difference of returns.

    Attributes:
        gap: the difference, in units of return, above 0.
        between: the two returns, in words.
    """

    gap: float
    between: str


def yardstick(
    reference: ReferenceScores | None,
    log_returns: np.ndarray,
    random_return: float | None,
) -> Yardstick | None:
    """The first of these that is known and above 0; None if none is.

    1. The return of an expert minus that of a random policy, as D4RL's score has it.
    2. The mean return of the log minus that of a random policy.
    3. The mean return of the log minus that of its worst episode.

    Args:
        reference: reference returns, if the task has them.
        log_returns: returns of the log's complete episodes, [episodes]; may be empty.
        random_return: return of a random policy, if known.
    """
    candidates = []
    if reference is not None:
        candidates.append((reference.expert - reference.random, "expert and random policy"))
    if len(log_returns):
        mean, worst = float(np.mean(log_returns)), float(np.min(log_returns))
        if random_return is not None:
            candidates.append((mean - random_return, "mean of the log and random policy"))
        candidates.append((mean - worst, "mean of the log and its worst episode"))
    known = [Yardstick(gap, between) for gap, between in candidates if gap > 0.0]
    return known[0] if known else None
