"""What the course of a log's columns tells: entries that stand still, rewards that add up."""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.scales import lone_values
from moore.findings.steps import SAMPLE

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_STILL = 50  # rows
_MOVING = 0.9  # of the other rows
_STUCK, _OFTEN = 5, 3  # rows, times
_NEARLY_ALL = 1.01  # rows to a stretch
_EPISODES, _STEPS = 5, 10  # fewer say nothing
_MOST = 0.95  # of the episodes


def summarize_courses(log: "Log | Dataset", ends: np.ndarray) -> dict:
    """What stands still, adds up or lies apart, for `moore.findings.defect_table`.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.

    Returns:
        `standing`: observation entries that stand still for 50 rows or more, or again and again for
        5 rows or more, although they change in nearly all other rows, in words; `standing_actions`:
        the same of action entries, at values inside their range; `running_totals`:
        whether the rewards of each episode only grow away from zero; `lone_rewards`: rewards of
        rows that are not terminal far beyond all others, in words.
    """
    reward = np.asarray(log.reward, np.float64)
    if reward.size != log.size:  # refused elsewhere
        return {
            "standing": "",
            "standing_actions": "",
            "running_totals": False,
            "lone_rewards": "",
        }
    reward = reward.reshape(-1)
    return {
        "standing": _standing(log.obs),
        "standing_actions": _standing(log.action, at_bounds=False),
        "running_totals": _are_totals(reward, ends),
        "lone_rewards": _lone(reward[~log.terminated.astype(bool).reshape(-1)]),
    }


def _standing(obs: np.ndarray, *, at_bounds: bool = True) -> str:
    """Entries that stand still; if not `at_bounds`, at other values than their lowest and highest.

    A controller may hold an action at its bounds for long.
    """
    found = []
    for dim in range(obs.shape[1]):
        column = obs[:, dim]
        changes = np.flatnonzero(column[1:] != column[:-1])
        stretches = np.diff(np.concatenate([[-1], changes, [len(column) - 1]]))
        longest, short = int(stretches.max()), stretches[stretches < _STILL]
        # Rows elsewhere mostly differ from the row before, so short stretches have one row.
        moves = short.sum() > _STILL and len(short) >= _MOVING * short.sum()
        if longest >= _STILL and moves:
            first = int(stretches[: stretches.argmax()].sum())
            if not at_bounds and column[first] in (column.min(), column.max()):
                continue
            found.append(f"{dim} ({longest:,} rows from row {first} on)")
        elif longest >= _STUCK and (times := _stuck(column, stretches)):
            found.append(f"{dim} (for {_STUCK} rows or more {times} times, at other values)")
    return ", ".join(found[:8])


def _stuck(column: np.ndarray, stretches: np.ndarray) -> int:
    """How often a column that changes in all other rows stands still at a value of its own.

    At its ends, or again and again at one value, it may be the plant that rests.
    """
    long = stretches >= _STUCK
    rest = stretches[~long]
    if len(rest) < _STILL or rest.sum() > _NEARLY_ALL * len(rest) or long.sum() < _OFTEN:
        return 0
    values = column[np.cumsum(stretches)[long] - 1]
    ends = (values == column.min()) | (values == column.max())
    others = len(np.unique(values[~ends]))
    return int((~ends).sum()) if others >= max(_OFTEN, 0.9 * (~ends).sum()) else 0


def _are_totals(reward: np.ndarray, ends: np.ndarray) -> bool:
    last = np.flatnonzero(ends)
    first = np.concatenate([[0], last[:-1] + 1])
    long = last - first + 1 >= _STEPS
    if long.sum() < _EPISODES or not np.isfinite(reward).all():
        return False
    size, sign = np.abs(reward), np.sign(reward)
    # A step back of a total, or a change of sign; a total may stand still.
    back = np.append((size[1:] < size[:-1]) | (sign[1:] * sign[:-1] < 0), False)
    back[last] = False
    before = np.concatenate([[0], np.cumsum(back)])
    steps_back = before[last + 1] - before[first]
    on = ~ends[:-1]
    if (size[1:] > size[:-1])[on].mean() < 0.5:  # rewards of a few events, and zeros
        return False
    grows = size[last] > 2 * size[first]
    return bool(((steps_back == 0) & grows)[long].mean() >= _MOST)


def _lone(reward: np.ndarray) -> str:
    sample = reward[:: max(1, len(reward) // SAMPLE)]
    if not len(sample):
        return ""
    low, high = np.array([reward.min()]), np.array([reward.max()])
    return lone_values(low, high, sample[:, None]).removeprefix("0 ").strip("()")
