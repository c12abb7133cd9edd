"""Rewards that have another sign or size from some row on, although they follow the same law."""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.least_squares import fitted_weights
from moore.data.log import Log
from moore.findings.mixed_laws import mixed_laws, mixed_rewards
from moore.findings.row_fits import RewardRows, numbers
from moore.findings.two_parts import changed_columns

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_PARTS = 12  # of which two are compared, but for the one between them
_ROWS_TO_COLUMN = 3  # fewer in a part fit anything
_SHARED = 0.005  # of a part's rows lie below, and above, what counts as its range in a column
_ALIKE = 0.9  # correlation of foretold and true rewards
_TIMES = 1.4
_AGREE = 1.25  # times, by which the two directions may differ


def summarize_laws(log: "Log | Dataset", ends: np.ndarray, of_rewards: RewardRows) -> dict:
    """Whether two parts of a log follow two laws that one change makes one, in words.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
        of_rewards: the result of `reward_rows`.

    Returns:
        `two_laws`: the columns that have another sign, size or place from some row on, and the
        rewards that have another sign or size; empty if there are none.
    """
    columns = changed_columns(log, ends) or mixed_laws(log, ends)
    found = (columns, changed_rewards(log, of_rewards) or mixed_rewards(log, ends))
    return {"two_laws": "; ".join(text for text in found if text)}


@np.errstate(all="ignore")  # of values that are refused elsewhere
def changed_rewards(log: "Log | Dataset", of_rewards: RewardRows) -> str:
    """From where on the rewards have another sign or size, in words; empty if they have not.

    A part's rewards are foretold from observation, action and successor, with squares and products,
    as the other part has learned it. What is foretold must go along with the true rewards, and be
    a factor away from them, in both directions. Only rows count where both parts have been: a law
    that is no such sum, a deviation's size for instance, has another slope in rough hours than in
    calm ones, and is the same law.

    Args:
        log: the rows.
        of_rewards: the result of `reward_rows`.
    """
    rows, seen, reward = of_rewards.rows, of_rewards.seen, np.asarray(log.reward)
    if seen is None or of_rewards.columns is None or reward.size != len(log.obs):
        return ""
    values = numbers(reward.reshape(-1), rows)
    if not np.isfinite(values).all():
        return ""
    size, best = len(rows) // _PARTS, (0.0, "")
    for at in range(2, _PARTS - 2):
        found = rewards_of_parts(
            of_rewards.columns, seen, values, stop=at * size, begin=(at + 1) * size
        )
        if found[1] and found[0] > best[0]:
            row = rows[at * size + size // 2]
            best = (found[0], f"from about row {row:,} on, rewards are {found[1]}")
    return best[1]


def rewards_of_parts(
    columns: np.ndarray, seen: np.ndarray, values: np.ndarray, *, stop: int, begin: int
) -> tuple[float, str]:
    """How the rewards of one of two parts differ in sign or size, in words; empty if they do not.

    Args:
        columns: (m, d) observation, action and successor.
        seen: (m, k) these, with squares and products.
        values: (m,) rewards.
        stop: row before which the first part ends.
        begin: row from which on the other part is.

    Returns:
        How alike the foretold rewards are to the true ones, and the words.
    """
    one, other = _shared(columns, stop, begin)
    factor, alike = _factor(seen, values, one, other)
    back, also = _factor(seen, values, other, one)
    alike = min(alike, also)
    times = max(abs(factor * back), 1e-12)
    if alike < _ALIKE or not 1 / _AGREE < times < _AGREE or factor * back < 0:
        return alike, ""
    words = ["of the other sign"] if factor < 0 else []
    if not 1 / _TIMES < abs(factor) < _TIMES:
        words.append(f"about {abs(factor):.2g} times as large")
    return alike, " and ".join(words)


def _shared(columns: np.ndarray, stop: int, begin: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows before `stop`, and those from `begin` on, in the ranges that both have in common."""
    shares = np.array([_SHARED, 1 - _SHARED])
    ranges = [np.quantile(part, shares, axis=0) for part in (columns[:stop], columns[begin:])]
    low, high = np.maximum(*(x[0] for x in ranges)), np.minimum(*(x[1] for x in ranges))
    rows = np.flatnonzero(((columns >= low) & (columns <= high)).all(axis=1))
    return rows[rows < stop], rows[rows >= begin]


def _factor(
    seen: np.ndarray, values: np.ndarray, fitted: np.ndarray, tried: np.ndarray
) -> tuple[float, float]:
    """How many times the foretold rewards of a part are its true ones, and how alike they are."""
    if min(len(fitted), len(tried)) < _ROWS_TO_COLUMN * seen.shape[1]:
        return 0.0, 0.0
    known = seen[fitted] - seen[fitted].mean(axis=0)
    weights = fitted_weights(known, (values[fitted] - values[fitted].mean())[:, None])[:, 0]
    there = values[tried] - values[tried].mean()
    foretold = seen[tried] @ weights
    foretold = foretold - foretold.mean()
    spread, true = float(foretold @ foretold), float(there @ there)
    if not (spread > 0 and true > 0):
        return 0.0, 0.0
    factor = float(foretold @ there) / spread
    return factor, abs(factor) * np.sqrt(spread / true)
