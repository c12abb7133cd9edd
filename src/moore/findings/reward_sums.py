"""Whether rewards are sums: totals so far, discounted returns to go, or one return for all rows.

A sum of rewards cannot be foretold from its row's observation, action and successor, but its change
from row to row can, since that is the reward. `moore.findings.courses` and `moore.findings.shifts`
see the plain cases: totals that only grow, and returns to go without discount.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.least_squares import fitted_weights
from moore.data.log import Log
from moore.findings.row_fits import FEW, RewardRows, numbers, reward_rows, unexplained

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_OPEN = 0.1  # share of the rewards' variance that their own row leaves open
_LITTLE = 0.2  # of that may be left of their changes
_DISCOUNTS = (0.5, 0.9995)
_EPISODES, _STEPS = 5, 10  # fewer say nothing
_MOST = 0.95  # of the episodes


def summarize_sums(
    log: "Log | Dataset", ends: np.ndarray, of_rewards: RewardRows | None = None
) -> dict[str, bool]:
    """Which sums the rewards seem to be, for `moore.findings.shift_defects`.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
        of_rewards: the result of `reward_rows`, if it is known.

    Returns:
        `totals`: whether changes of rewards from the row before can be foretold, and rewards
        cannot; `discounted_to_go`: whether that holds of a reward less a share of the next one, and
        rewards at the ends of episodes are like such changes; `one_return`: whether the reward is
        the same in all rows of an episode, or 0 in all but the first, and another one in others.
    """
    nothing = {"totals": False, "discounted_to_go": False, "one_return": False}
    reward = np.asarray(log.reward)
    if reward.size != log.size:  # refused elsewhere
        return nothing
    reward = numbers(reward.reshape(-1), slice(None))
    if not np.isfinite(reward).all():
        return nothing
    last = np.flatnonzero(ends)
    first = np.concatenate([[0], last[:-1] + 1])
    long = last - first + 1 >= _STEPS
    if long.sum() < _EPISODES:
        return nothing
    first, last = first[long], last[long]
    if one_return := _one_return(reward, first, last):
        return nothing | {"one_return": one_return}
    return nothing | _foretold(reward, last, of_rewards or reward_rows(log, ends))


def _one_return(reward: np.ndarray, first: np.ndarray, last: np.ndarray) -> bool:
    changes = np.concatenate([[0], np.cumsum(reward[1:] != reward[:-1])])
    only_first = (reward[first] != 0) & (reward[last] == 0)
    only_first &= changes[first + 1] == changes[last]
    same = (changes[first] == changes[last]) | only_first
    return bool(same.mean() >= _MOST and len(np.unique(reward[first[same]])) >= _EPISODES)


def _foretold(reward: np.ndarray, last: np.ndarray, of_rewards: RewardRows) -> dict[str, bool]:
    rows, seen = of_rewards.rows, of_rewards.seen
    if len(rows) < FEW or seen is None:
        return {}
    before, here, after = (reward[rows + lag] for lag in (-1, 0, 1))
    if here.std() == 0:
        return {}
    kept = _kept_share(seen, here, after)
    parts = np.stack([here, here - before, after - here, here - kept * after], axis=1)
    spread = parts.var(axis=0)
    if (spread <= 1e-9 * spread[0]).any():
        return {}
    whole, *changes = unexplained(seen, parts) / spread
    told, next_told, less = (whole >= _OPEN and part <= _LITTLE * whole for part in changes)
    # Returns to go end with a single reward; totals begin with one.
    ends_small = np.abs(reward[last]).mean() <= 3 * np.quantile(np.abs(parts[:, 3]), 0.9)
    to_go = less and _DISCOUNTS[0] <= kept <= _DISCOUNTS[1] and ends_small
    return {"totals": bool((told or next_told) and not to_go and not ends_small),
            "discounted_to_go": bool(to_go)}  # fmt: skip


def _kept_share(seen: np.ndarray, here: np.ndarray, after: np.ndarray) -> float:
    """The share of the next reward that a reward holds, fitted beside what its row tells."""
    columns = np.column_stack([after, seen, np.ones(len(seen))])
    return float(np.clip(fitted_weights(columns, here[:, None])[0, 0], 0.0, 1.0))
