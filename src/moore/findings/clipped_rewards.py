"""Rewards that were clipped in some episodes: many rows hold one largest value, others go beyond.

A task whose rewards are limited limits them in every episode, so a log with such episodes and
others was made by two recorders. Rewards that were clipped in all look like those of such a task.
"""

from itertools import pairwise

import numpy as np

_DRAWN = 200  # episodes, or stretches of a log that has few
_FEW, _STRETCHES = 8, 24  # episodes say nothing; then so many stretches are taken
_STEPS, _TIMES = 10, 5  # rows of an episode, and those with the one value
_SHARE, _REST = 0.05, 0.9  # of an episode's rows hold it; more may be a plant that rests
_KIND = 3  # episodes of either kind
_BEYOND, _HARDLY = 0.05, 0.001  # of the others' rows lie beyond it, and hold it
_OTHERS_DIFFER = 0.5  # of the rows have a value of their own


def clipped_rewards(reward: np.ndarray, ends: np.ndarray) -> str:
    """At which value rewards were clipped in which share of the episodes; empty if they were not.

    Zero does not count, as the reward of a plant that is off.

    Args:
        reward: (n,) rewards.
        ends: (n,) bool, last rows of the episodes.
    """
    rows = _episodes(ends)
    parts = [np.asarray(reward[one], np.float64) for one in rows]
    if len(parts) < 2 * _KIND or not all(np.isfinite(part).all() for part in parts):
        return ""
    for sign, word in ((1.0, "largest"), (-1.0, "least")):
        if told := _clipped([sign * part for part in parts]):
            value, count, at = told
            first = rows[at].start
            return (
                f"{sign * value:.6g} is the {word} reward of {count} of {len(parts)} episodes or "
                f"stretches (one from row {first:,} on), in many of their rows"
            )
    return ""


def _episodes(ends: np.ndarray) -> list[slice]:
    """The rows of some episodes, evenly spaced, or of stretches of a log that has few."""
    last = np.flatnonzero(np.append(ends[:-1], True))
    first = np.append(0, last[:-1] + 1)
    long = np.flatnonzero(last - first + 1 >= _STEPS)
    if len(long) < _FEW:
        cuts = np.linspace(0, len(ends), _STRETCHES + 1).astype(int)
        return [slice(a, b) for a, b in pairwise(cuts) if b - a >= _STEPS]
    # Not evenly spaced: every second episode may be of the same kind.
    drawn = np.sort(np.random.default_rng(0).permutation(long)[:_DRAWN])
    return [slice(first[one], last[one] + 1) for one in drawn]


def _clipped(parts: list[np.ndarray]) -> tuple[float, int, int] | None:
    """The value that is the largest of some parts, how many these are, and the first of them."""
    most = np.array([part.max() for part in parts])
    share = np.array([(part == top).mean() for part, top in zip(parts, most, strict=True)])
    times = share * np.array([len(part) for part in parts])
    held = (share >= _SHARE) & (times >= _TIMES) & (most != 0)
    some = held & (share <= _REST)
    values, counts = np.unique(most[some], return_counts=True)
    if not len(values) or counts.max() < _KIND:
        return None
    value = float(values[counts.argmax()])
    ones = some & (most == value)
    rest = [part for part, top in zip(parts, most, strict=True) if top > value]
    if sum(np.mean(part > value) >= _BEYOND for part in rest) < _KIND:
        return None
    if (held & (most == value)).sum() > 2 * ones.sum():  # mostly a plant that rests
        return None
    others = np.concatenate(rest)
    distinct = len(np.unique(others)) >= _OTHERS_DIFFER * len(others)
    if not distinct or (others == value).mean() > _HARDLY:
        return None
    return value, int(ones.sum()), int(ones.argmax())
