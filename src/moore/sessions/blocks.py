"""What is told to a session, as records: outcomes of steps, whole episodes, and logs."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from moore.data.checks import action_rounding
from moore.data.column_names import Columns, check_columns
from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.files import whole_path
from moore.findings.run_checks import check_log_for_run
from moore.formats.live_steps import Step, Unit, plain, plain_reward
from moore.formats.load import check_against_spaces, load_dataset
from moore.numbers import as_measured, is_finite
from moore.runs.world import World
from moore.sessions.likeness import Likeness
from moore.sessions.readings import each, flag_of, reward_of
from moore.sessions.supervisor import Supervisor


def outcomes(
    steps: Sequence[Step],
    next_obs: Float[np.ndarray, "steps obs"] | None,
    reward: Any,
    terminated: Any,
    truncated: Any,
) -> list[dict]:
    """The records of what came of these steps; see `Session.observe`.

    Raises:
        InputError: another shape or type, or an episode ends without its last observation.
    """
    count, records = len(steps), []
    rewards = each("reward", reward, count)
    flags = [each("terminated", terminated, count), each("truncated", truncated, count)]
    for row, step in enumerate(steps):
        terminal, timeout = (
            flag_of(name, flag[row])
            for name, flag in zip(("terminated", "truncated"), flags, strict=True)
        )
        if next_obs is None and (terminal or timeout):
            raise InputError(
                "next_obs is missing where the episode ends; give the last observation, because no "
                "later one belongs to this episode."
            )
        records.append(
            {
                "kind": "observe",
                "step": step.number,
                "next_obs": None if next_obs is None else plain(next_obs[row]),
                "reward": plain_reward(reward_of(rewards[row])),
                "terminated": terminal,
                "truncated": timeout,
            }
        )
    return records


def with_signals(records: list[dict], signals: Any, supervisor: Supervisor | None) -> list[dict]:
    """Records of outcomes, with what the guard watches; see `Session.observe`.

    Raises:
        InputError: a signal is missing, or nobody watches any.
    """
    if supervisor is None:
        if signals is not None:
            raise InputError(
                "signals are for the guard, which stands beside a controller that ran before; "
                "begin a session with controller= and guard=."
            )
        return records
    readings = supervisor.readings(signals, len(records))
    return [record | read for record, read in zip(records, readings, strict=True)]


def records_of_episode(
    obs: Any,
    action: Any,
    reward: Any,
    *,
    world: World,
    first: int,
    terminated: bool,
    truncated: bool,
    policy: str | None,
    log_density: Sequence[float | None] | None,
    unit: Unit,
) -> list[dict]:
    """The records of one episode; see `Session.observe_episode`.

    Args:
        first: number of the first step.
        world: dimensions and bounds.

    Raises:
        InputError: shapes do not fit, or an action lies outside the bounds.
    """
    width = world.bounds.low.size
    try:
        seen, acted = as_measured(obs, "obs"), as_measured(action, "action")
        earned = as_measured(reward, "reward", np.float64)
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError("an episode holds something that is no number; give arrays.") from None
    steps = len(earned) if earned.ndim == 1 else 0
    expected = ((steps + 1, world.obs_dim), (steps, width))
    if not steps or (seen.shape, acted.shape) != expected:
        raise InputError(
            f"an episode has obs {seen.shape}, action {acted.shape} and reward {earned.shape}; "
            f"expected (steps + 1, {world.obs_dim}), (steps, {width}) and (steps,)."
        )
    density = [None] * steps if log_density is None else np.asarray(log_density).ravel().tolist()
    if len(density) != steps:
        raise InputError(f"log_density has {len(density)} entries; expected {steps}.")
    if not all(x is None or is_finite(x) for x in density):
        raise InputError("log_density holds something that is no finite number; None is unknown.")
    if policy is not None and type(policy) is not str:
        raise InputError(f"policy is {policy!r}; expected a text.")
    _check_bounds(acted, world)
    ends = np.zeros(steps, bool)
    ends[-1] = True
    return _records(
        seen[:-1], acted, earned, seen[1:], ends & terminated, ends & truncated & (not terminated),
        first=first, unit=unit, by=policy, density=density,
    )  # fmt: skip


def rows_of_log(
    source: Dataset | str | Path,
    world: World,
    *,
    columns: Columns,
    first: int,
    unit: Unit,
    accept: Sequence[str],
    known: Collection[str],
    own: Path,
    likeness: Likeness,
) -> list[dict]:
    """The records of a log; see `Session.add_log`.

    Args:
        known: hashes of the files whose rows the session has; the first record tells that of this
            one.
        own: folder of the session's own log.
        likeness: knows the rows that the session has, and tells of what is unlike them.

    Raises:
        InputError: the log cannot be read, it or its rows are known, it has other dimensions or
            bounds, its `columns` in another order or unit, or a finding that would make what is
            learned wrong and is not accepted.
    """
    log, by_name = load_dataset(source), not isinstance(source, Dataset)
    if by_name and (log.sha256 in known or whole_path(str(source)) == own):
        raise InputError(
            f"{log.name}: the session has these rows already, as its own steps, from its run or "
            "from an earlier add_log; they would count twice. Give the rows that are new."
        )
    if log.whole is not None:
        raise InputError(
            f"{log.name}: has {log.total:,} rows, and those of a session are held in memory; add "
            "a log that is smaller"
        )
    check_against_spaces(
        log,
        obs_dim=world.obs_dim,
        action_low=world.bounds.low,
        action_high=world.bounds.high,
        env_id=world.env_id,
    )
    check_columns(log, columns, of="the session")
    check_log_for_run(log, None, accept)
    if "known-rows" not in accept:
        likeness.check_new(log)
    likeness.compare(log)
    next_obs = np.where(log.successor_known[:, None], log.next_obs, np.nan)
    truncated = log.truncated & ~log.terminated
    truncated[-1] = not log.terminated[-1]
    records = _records(
        log.obs, log.action, log.reward, next_obs, log.terminated, truncated,
        first=first, unit=unit, by=None, density=[None] * log.size,
    )  # fmt: skip
    if by_name:
        records[0]["log"] = log.sha256
    return records


def _check_bounds(action: Float[np.ndarray, "steps action"], world: World) -> None:
    low, high = world.bounds.low, world.bounds.high
    excess = np.maximum(low - action, action - high)
    excess = excess / action_rounding(low, high)
    if (excess > 1).any():
        row, entry = np.unravel_index(int(np.nanargmax(excess)), excess.shape)
        raise InputError(
            f"entry {entry} of action {row} is {action[row, entry]:g}, outside its bounds "
            f"{low[entry]:g} to {high[entry]:g}; give actions in the units of the system."
        )


def _records(
    obs: Float[np.ndarray, "steps obs"],
    action: Float[np.ndarray, "steps action"],
    reward: Float[np.ndarray, " steps"],
    next_obs: Float[np.ndarray, "steps obs"],
    terminated: Bool[np.ndarray, " steps"],
    truncated: Bool[np.ndarray, " steps"],
    *,
    first: int,
    unit: Unit,
    by: str | None,
    density: Sequence[float | None],
) -> list[dict]:
    records = []
    for row, drawn in enumerate(density):
        records.append(
            {
                "kind": "act",
                "step": first + row,
                "unit": unit,
                "obs": plain(obs[row]),
                "action": plain(action[row]),
                "log_density": None if drawn is None else float(drawn),
                "policy": None,
                "by": by,
            }
        )
        records.append(
            {
                "kind": "observe",
                "step": first + row,
                "next_obs": plain(next_obs[row]),
                "reward": plain_reward(float(reward[row])),
                "terminated": bool(terminated[row]),
                "truncated": bool(truncated[row]),
            }
        )
    return records
