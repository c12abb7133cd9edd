"""Whether actions or rewards stand a row too early or too late, or rewards are returns to go.

The log itself can tell. An action shows in the step from its own row to the next, a reward can be
foretold from its own row's observation, action and successor. Where another row's action or reward
fits much better, and its own hardly, they were shifted, or the plant has a dead time. Everything is
linear least squares on a sample of rows, so that a fit that is only somewhat better says nothing.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.row_fits import (
    FEW,
    RewardRows,
    inside,
    numbers,
    reward_rows,
    seen_of,
    standard,
    successors,
    unexplained,
)
from moore.findings.slow_actions import slow_actions

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_PAST = 6  # rows for which a dead time is looked for
_TELLS = 0.3  # share of an action's variance that a step must tell
_LITTLE = 0.5  # of what the better row tells
_EXACT = 1e-4  # left: a rule of the controller, where measured steps have noise
_CHANCE = 2.5  # standard deviations of what chance lets a step tell of an action
_ABOVE = 2.0  # times what an older action is told of
_BADLY = 0.02  # share of the rewards' variance that their own row leaves open
_MUCH_BETTER = 0.2  # of that
_EPISODES, _STEPS = 5, 10


def summarize_shifts(
    log: "Log | Dataset", ends: np.ndarray, of_rewards: RewardRows | None = None
) -> dict:
    """Columns that seem to belong to other rows, for `moore.findings.shift_defects`.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
        of_rewards: the result of `reward_rows`, if it is known.

    Returns:
        `action_rows`: the row, counted from an action's own, in which its effect shows, if that is
        not its own: 1 for one row later, -1 for one row earlier; else 0. `reward_rows`: the row,
        counted from a reward's own, that foretells it, if that is not its own: -1 or 1; else 0.
        `returns_to_go`: whether differences of rewards are foretold much better than rewards, and
        rewards run down in each episode. All are 0 or false if fewer than 400 rows inside episodes
        can be compared or a value is not finite.
    """
    nothing = {"action_rows": 0, "reward_rows": 0, "returns_to_go": False}
    reward = np.asarray(log.reward)
    if reward.size != log.size or log.size < FEW:  # refused elsewhere
        return nothing
    episode = np.append(0, np.cumsum(ends[:-1]))
    reward = numbers(reward.reshape(-1), slice(None))
    return {
        "action_rows": _rows_of_actions(log, episode),
        "reward_rows": _rows_of_rewards(reward, of_rewards or reward_rows(log, ends)),
        "returns_to_go": _are_to_go(log, reward, episode, ends),
    }


# --- actions ---


def _rows_of_actions(log: "Log | Dataset", episode: np.ndarray) -> int:
    """How well a step tells the actions of the rows around it, beyond what is known without it."""
    rows = inside(log, episode, -_PAST, 1)
    if len(rows) < FEW:
        return 0
    obs, after = standard(numbers(log.obs, rows)), standard(successors(log, rows))
    lags = np.arange(-_PAST, 2)
    actions = np.stack([numbers(log.action, rows + lag) for lag in lags], axis=1)  # (m, lag, dim)
    if not all(np.isfinite(part).all() for part in (obs, after, actions)):
        return 0
    spread = actions.std(axis=0)
    if not (spread > 0).all(axis=0).any():
        return 0
    actions = actions[:, :, (spread > 0).all(axis=0)]
    flat = actions.reshape(len(rows), -1)
    both = np.column_stack([obs, after])
    left, before, alone = (
        unexplained(seen, flat).reshape(actions.shape[1:]) for seen in (both, obs, after)
    )
    # A controller sees the next row's observation before it acts: that tells of no effect.
    known = np.where((lags > 0)[:, None], np.minimum(before, alone), before)
    share = left / actions.var(axis=0)
    tells = 1.0 - left / np.maximum(known, 1e-12 * actions.var(axis=0))
    best, own = tells.max(axis=1), float(tells[_PAST].max())
    place = int(best.argmax())
    if lags[place] > 0:
        others = best[:place]
        exact = share[place, tells[place].argmax()] < _EXACT
        # A controller of changes makes its next action of this step; but the plant obeys its own.
        chance = _CHANCE * np.sqrt(2 * obs.shape[1]) / len(rows)
        obeys = own > max(chance, _ABOVE * best[_PAST - 1])
        exact = exact or obeys
    else:  # what older actions tell may add up to a state that is not observed
        others, exact = np.array([own, *best[max(0, place - 1) : place]]), place == 0
    if best[place] >= _TELLS and (others <= _LITTLE * best[place]).all():
        return 0 if exact else -int(lags[place])
    return slow_actions(obs, after, actions)


# --- rewards ---


def _rows_of_rewards(reward: np.ndarray, of_rewards: RewardRows) -> int:
    rows, seen = of_rewards.rows, of_rewards.seen  # the last reward of an episode may be another
    if len(rows) < FEW or seen is None:
        return 0
    lags = np.array([-1, 0, 1])
    rewards = np.stack([numbers(reward, rows + lag) for lag in lags], axis=1)
    if not np.isfinite(rewards).all() or (rewards.std(axis=0) == 0).any():
        return 0
    open_ = unexplained(seen, rewards) / rewards.var(axis=0)
    best = int(open_.argmin())
    found = open_[1] >= _BADLY and open_[best] <= _MUCH_BETTER * open_[1]
    return -int(lags[best]) if found else 0


def _are_to_go(
    log: "Log | Dataset", reward: np.ndarray, episode: np.ndarray, ends: np.ndarray
) -> bool:
    """Whether the rewards look like returns to go: each row holds all that is still to come.

    Such numbers run down to one last reward, and a row tells their differences only.
    """
    last = np.flatnonzero(ends)
    first = np.concatenate([[0], last[:-1] + 1])
    long = last - first + 1 >= _STEPS
    if long.sum() < _EPISODES or not np.isfinite(reward).all():
        return False
    size = np.abs(reward)
    start, stop = size[first[long]].mean(), size[last[long]].mean()
    steps = np.abs(np.diff(reward))[~ends[:-1]]
    if not stop <= 3 * np.quantile(steps, 0.9) or start < _STEPS / 2 * stop:
        return False
    rows = inside(log, episode, 0, 2)
    seen = seen_of(log, rows)
    if len(rows) < FEW or seen is None:
        return False
    here, following = numbers(reward, rows), numbers(reward, rows + 1)
    if here.std() == 0:
        return False
    if np.ptp(here - following) <= 1e-6 * np.abs(here).max():
        return True  # of rewards that are all the same
    values = np.stack([here, here - following], axis=1)
    whole, difference = unexplained(seen, values) / values.var(axis=0)
    return bool(whole >= _BADLY and difference <= _MUCH_BETTER * whole)
