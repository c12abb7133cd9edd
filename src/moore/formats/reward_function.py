"""Rewards by a user's function, for a log without rewards or with others.

The function's name is only taken from the command line, a configuration or Python, never from a
file that comes with data, because importing the function runs its module.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from moore.data.checks import as_flags, blocks, shown
from moore.data.cuts import find_cuts, unflagged_ends
from moore.data.log import Log, notes_of, parts_of
from moore.errors import InputError
from moore.imports import import_function
from moore.numbers import as_measured

Reward = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def with_reward(log: Log, reward: str | Reward, max_episode_steps: int | None = None) -> Log:
    """The log with `reward(obs, action, next_obs)` in place of its rewards.

    Rows without a successor get no reward. If such a row ends an episode without a terminal, it is
    left out and the row before it is truncated. The hash covers the function's name and its values.

    Args:
        log: the result of `read_log`.
        reward: `module:function`, or the function, which takes (b, obs_dim), (b, action_dim) and
            (b, obs_dim) float arrays in the log's units and returns (b,) numbers.
        max_episode_steps: step limit for a log without time-out flags, as for
            `moore.data.cuts.find_cuts`.

    Raises:
        InputError: the function does not exist or fails, its results have another shape or are not
            finite, or the successor of a terminal row is not in the log.
    """
    if isinstance(reward, str):
        name = reward
        function = import_function(
            reward, what="reward", example="plant:reward", takes="(obs, action, next_obs)"
        )
    else:
        function, name = reward, getattr(reward, "__name__", "the function")
    log = _with_successors(log, max_episode_steps)
    values = np.empty(log.size)
    row_bytes = 2 * log.obs[:1].nbytes + log.action[:1].nbytes
    for rows in blocks(log.size, row_bytes):
        values[rows] = _call(function, name, log, rows)
    digest = hashlib.sha256(f"{log.sha256} {name}".encode())
    digest.update(values.tobytes())
    notes = [*notes_of(log.metadata), f"rewards are those of {name}(obs, action, next_obs)"]
    return replace(
        log,
        reward=values,
        sha256=digest.hexdigest(),
        metadata=log.metadata | {"notes": notes, "reward_function": name},
        episode_returns=None,
        episode_lengths=None,
    )


def named_reward(metadata: dict[str, object]) -> str | None:
    """The function that gave a data set its rewards."""
    first = next(iter(parts_of(metadata)), metadata)
    name = first.get("reward_function")
    return name if isinstance(name, str) else None


def _call(function: Reward, name: str, log: Log, rows: slice) -> np.ndarray:
    assert log.next_obs is not None  # `_with_successors` has found them
    given = [np.array(value[rows]) for value in (log.obs, log.action, log.next_obs)]
    count = len(given[0])
    try:
        values = as_measured(function(*given), "its result", np.float64)
    except Exception as error:  # whatever the user's function raises
        raise InputError(
            f"{log.name}: the reward {name} fails ({type(error).__name__}: {shown(error)}); "
            f"it is given arrays of shapes {', '.join(str(g.shape) for g in given)} and returns "
            f"({count},) numbers"
        ) from error
    if values.shape == (count, 1):
        values = values[:, 0]
    if values.shape != (count,):
        raise InputError(
            f"{log.name}: the reward {name} returns the shape {values.shape} for {count} rows; "
            f"expected ({count},), a number for each"
        )
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise InputError(
            f"{log.name}: the reward {name} returns {values[wrong][0]:g} for row "
            f"{rows.start + int(wrong.argmax())} (counted from 0); expected finite numbers"
        )
    return values


def _with_successors(log: Log, max_episode_steps: int | None) -> Log:
    """The rows whose successors are in the log; the metadata say how the ends were found."""
    terminated = as_flags(log.name, "terminated", log.terminated.reshape(-1))
    found: dict[str, object] = {}
    if log.truncated is None:
        cuts = find_cuts(log, max_episode_steps)
        truncated, found = cuts.truncated, cuts.metadata
    else:
        truncated = as_flags(log.name, "truncated", log.truncated.reshape(-1))
    if signs := unflagged_ends(log, terminated | truncated):
        found["unflagged_ends"] = signs
    if log.next_obs is None:
        known = ~(terminated | truncated)
        known[-1:] = False
    elif log.successor_known is None:
        known = np.ones(log.size, bool)
    else:
        known = as_flags(log.name, "successor_known", log.successor_known.reshape(-1))
    blind = terminated & ~known
    if blind.any():
        raise InputError(
            f"{log.name}: row {int(blind.argmax())} (counted from 0; {int(blind.sum())} such rows) "
            "is terminal and its successor is not in the log, so that a function of next_obs has "
            'no reward for it; give next_obs, or terminal_of = "next" if the flag stands in the '
            "row of the state that was reached"
        )
    rows = np.flatnonzero(known)
    if len(rows) == 0:
        raise InputError(f"{log.name}: no row has a successor; expected episodes of several rows")
    follows = np.append(np.diff(rows) == 1, False) & ~(terminated | truncated)[rows]
    at_end = len(rows) == log.size and not (terminated | truncated)[-1]
    cut = ~follows & ~terminated[rows]
    cut[-1] &= not at_end
    return replace(
        log,
        obs=log.obs[rows],
        action=log.action[rows],
        reward=np.zeros(len(rows)),
        terminated=terminated[rows],
        truncated=cut,
        next_obs=log.obs[rows + 1] if log.next_obs is None else log.next_obs[rows],
        successor_known=None,
        infos={key: value[rows] for key, value in log.infos.items()},
        metadata=log.metadata | found,
    )
