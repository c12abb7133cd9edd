"""What is in a log, and what may be wrong with it: the numbers of `moore inspect`.

It works on the raw rows, so that it also describes a log that training would refuse. Beyond the log
itself it needs about 100 MB and 60 bytes a row (flags, reward outliers, hashes of the rows), which
is 1.3 GB for 20 million rows.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from moore.data.checks import action_rounding, blocks, check_numbers, check_shapes, column, shown
from moore.data.columns import Columns, describe, histogram, sample_rows, usable
from moore.data.cuts import unflagged_ends
from moore.data.dataset import Dataset
from moore.data.known_files import KnownFile, closest_env, recognise
from moore.data.log import Log, notes_of, parts_of, told
from moore.data.order import is_shuffled
from moore.data.precision import lost_in_float32
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.findings.clipped_rewards import clipped_rewards
from moore.findings.courses import summarize_courses
from moore.findings.duplicates import duplicate_rows
from moore.findings.end_rows import summarize_ends
from moore.findings.episode_summary import Flags, read_flags, spread, summarize_episodes
from moore.findings.given_away import given_away
from moore.findings.idle_actions import have_no_effect
from moore.findings.misplaced import what_is_misplaced
from moore.findings.out_of_place import summarize_places
from moore.findings.readings import summarize_readings
from moore.findings.reward_sums import summarize_sums
from moore.findings.row_fits import reward_rows
from moore.findings.scales import lone_values
from moore.findings.shifts import summarize_shifts
from moore.findings.successors import summarize_successors
from moore.findings.two_rewards import summarize_laws
from moore.findings.wrapped_actions import wrapped_actions

MATRICES = ("obs", "action", "next_obs")
_VECTORS = ("reward", "terminated", "truncated", "successor_known")
_OUTLIER = 50.0  # robust standard deviations


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is counted and left out
def summarize(
    log: Log | Dataset,
    *,
    env_id: str | None = None,
    known: Mapping[str, KnownFile] | None = None,
) -> dict:
    """Numbers that describe a log, JSON-able.

    Lengths are in steps, returns undiscounted, `score` in per cent (None without references),
    `*_min`, `*_max`, `*_mean` and `*_sd` lists over dimensions, `share_*` between 0 and 1. Values
    that no finite float32 can hold are counted (`non_finite`, `overflow`) and left out elsewhere.
    `first_rows` has the first row (from 0) of each kind of trouble. `warnings` in
    `moore.findings.defects` says what to do about it.

    Args:
        log: raw rows, or a data set that training would take.
        env_id: Gymnasium id to check against; None for the one that the log names, or the closest
            one to it.
        known: known files by their SHA-256; None for D4RL's.

    Raises:
        InputError: the shapes are not those of one log.
    """
    from moore.inspecting.rule_check import check_flags

    metadata = log.metadata
    log = as_log(log)
    files = _known_files(log, known)
    source = _source(log, env_id, files)
    facts, problem = _facts(source["checked_as"], given=env_id is not None)
    source |= {"env_given": env_id is not None, "env_problem": problem}
    limit = facts.step_limit if facts is not None and env_id is not None else None
    flags = read_flags(log, limit)
    columns = {key: _described(log, key) for key in _numbers(log)}
    parts = [
        summarize_episodes(log, flags, None if facts is None else facts.step_limit),
        summarize_successors(log, flags.ends),
        summarize_ends(log, flags.terminated, flags.ends),
        _from_rows(log, flags, metadata),
        _unusable(columns),
        _duplicates(log),
        _rewards(log, flags),
        _actions(log, facts),
    ]
    if facts is not None and facts.obs_dim == log.obs.shape[1]:
        parts.append(check_flags(log, flags.terminated, flags.ends, facts.env_id))
    else:
        parts.append({"rule_checked": 0, "flagged_healthy": 0, "unhealthy_unflagged": 0})
    first_rows = {k: v for part in parts for k, v in part.pop("first_rows", {}).items()}
    summary = source | _sizes(log, facts) | _ranges(log, columns)
    for part in parts:
        summary |= part
    more_far = summary["far_resets"] > summary["reset_successors"]  # of another rounding, too
    if more_far or _goes_on(metadata):
        summary["reset_successors"] = summary["far_resets"]
        first_rows["reset_successors"] = first_rows["far_resets"]
    summary["run_flags"] = _run_flags(summary)
    reference = log.reference or (files[0].reference if files else None)
    reference = reference or reference_scores(source["checked_as"])
    return summary | {"first_rows": first_rows} | _score(summary, reference)


def _described(log: Log, key: str) -> Columns:
    """Statistics over all rows, also of those on disk."""
    return describe(getattr(log, key)) if log.whole is None else log.whole.file.columns(key)


def _facts(env_id: str | None, *, given: bool):
    """An environment's facts, or why there are none; InputError if the user gave its id.

    An id like `module:Id` imports a module, so it is made only if the user gave it.
    """
    from moore.envs.simulator import env_facts

    if env_id is None:
        return None, ""
    if ":" in env_id and not given:
        return None, (
            f"the log names {env_id}, for which the module {env_id.partition(':')[0]} would be "
            f"imported; if you trust it, say so with --env-id {env_id}"
        )
    try:
        return env_facts(env_id), ""
    except InputError as error:
        if given:
            raise
        return None, str(error)


def _run_flags(summary: dict) -> list[str]:
    """The flags that `moore run` needs in addition to the log."""
    from moore.dynamics.terminal_rows import MIN_EPISODES
    from moore.envs.termination import termination_rule

    flags, usable = [], not summary["env_problem"]
    if summary["env_given"]:
        flags.append(f"--env-id {summary['checked_as']}")
    elif summary["env_id"] is None or not usable:
        flags.append("--env-id ID")
    try:
        termination_rule(summary["checked_as"], has_terminals=summary["terminals"] > 0)
    except InputError:
        known = summary["terminals"] - summary["unknown_successors"]
        enough = known >= MIN_EPISODES  # to learn a rule from
        flags.append(f"--termination {'learned' if enough else 'module:function'}")
    return flags


def _goes_on(metadata: Mapping[str, object]) -> bool:
    """Whether the log was cut by a column map that says that the system goes on at the cuts."""
    columns = metadata.get("columns")
    said = columns.keys() if isinstance(columns, dict) else set()
    return "next_obs" not in said and not said.isdisjoint({"window", "episode_rows", "continues"})


def _from_rows(log: Log, flags: Flags, metadata: Mapping[str, object]) -> dict:
    """What the rows, or else their reader, say about precision and about ends without a flag."""
    arrays = {key: getattr(log, key) for key in ("obs", "action", "reward", "next_obs")}
    unflagged = unflagged_ends(log, flags.ends) or told(metadata, "unflagged_ends")
    of_rewards = reward_rows(log, flags.ends)
    return {
        "float32": lost_in_float32(arrays, flags.ends) or told(metadata, "float32"),
        "unflagged_ends": unflagged,
        "shuffled": log.next_obs is not None and is_shuffled(log, flags.ends),
        "misplaced": what_is_misplaced(log, flags.ends),
        "idle_actions": have_no_effect(log, flags.ends),
        "not_read": _not_read(log),
        **given_away(log, flags.ends),
        **summarize_courses(log, flags.ends),
        "wrapped_actions": wrapped_actions(log, flags.ends),
        "clipped_rewards": clipped_rewards(np.asarray(log.reward).reshape(-1), flags.ends),
        **summarize_places(log, flags.ends, of_rewards),
        **summarize_readings(log, flags.ends),
        **summarize_shifts(log, flags.ends, of_rewards),
        **summarize_sums(log, flags.ends, of_rewards),
        **summarize_laws(log, flags.ends, of_rewards),
    }


def _not_read(log: Log) -> list[str]:
    """Arrays of the source that have a value for each row but are not used by training."""
    arrays = {k: x for k, x in log.extras.items() if "@" not in k and isinstance(x, np.ndarray)}
    return sorted(shown(key) for key, value in arrays.items() if value.shape[:1] == (log.size,))


def as_log(log: Log | Dataset) -> Log:
    """The rows as a log whose vectors are (n,), with checked shapes."""
    if isinstance(log, Dataset):
        log = Log(**{key: getattr(log, key) for key in vars(log)})
    arrays = {key: getattr(log, key) for key in MATRICES + _VECTORS}
    arrays = {key: np.asarray(value) for key, value in arrays.items() if value is not None}
    for key, value in arrays.items():
        check_numbers(log.name, key, value.dtype)
        arrays[key] = value.reshape(column(key, value.shape))
    check_shapes(log.name, {key: value.shape for key, value in arrays.items()})
    return Log(**{**vars(log), **arrays})


def _numbers(log: Log) -> list[str]:
    keys = ("obs", "action", "reward", "next_obs")
    return [key for key in keys if getattr(log, key) is not None]


def _known_files(log: Log, known: Mapping[str, KnownFile] | None) -> list[KnownFile]:
    hashes = [str(part.get("sha256")) for part in parts_of(log.metadata)] or [log.sha256]
    return [file for file in recognise(hashes, known) if file is not None]


def _source(log: Log, env_id: str | None, files: list[KnownFile]) -> dict:
    """The origin of the log, and the environment that it can be checked against."""
    named = env_id or log.env_id
    guess = files[0].env_id if files else None
    return {
        "name": log.name,
        "env_id": log.env_id,
        "checked_as": closest_env(named) if named else guess,
        "sha256": log.sha256,
        "known_files": [file.name for file in files],
        "recommended_env": guess,
        "notes": notes_of(log.metadata)
        + list(dict.fromkeys(fault for file in files for fault in file.faults)),
        "metadata": log.metadata,
    }


def _sizes(log: Log, facts) -> dict:
    sizes = {
        "rows": log.size,
        "obs_dim": log.obs.shape[1],
        "action_dim": log.action.shape[1],
        "infos": {key: list(value.shape[1:]) for key, value in log.infos.items()},
        "step_limit": None if facts is None else facts.step_limit,
        "env_obs_dim": None if facts is None else facts.obs_dim,
        "env_action_dim": None if facts is None else len(facts.action_low),
    }
    given = (sizes["obs_dim"], sizes["action_dim"])
    same = facts is None or given == (sizes["env_obs_dim"], sizes["env_action_dim"])
    return sizes | {"dims_fit": same}


def _score(summary: dict, reference: ReferenceScores | None) -> dict:
    returns = summary["episode_return"]
    if reference is None:
        return {"reference": None, "score": None}
    score = None if returns is None else reference.score(returns["mean"])
    return {"reference": dict(vars(reference)), "score": score}


def _ranges(log: Log, columns: dict[str, Columns]) -> dict:
    reward = columns["reward"]
    found: dict[str, Any] = {"histograms": {}}
    found |= {"reward_min": float(reward.low[0]), "reward_max": float(reward.high[0])}
    for key, lone in (("obs", "lone_obs"), ("action", "lone_actions")):
        sample = getattr(log, key)[sample_rows(log.size)]
        found |= {
            lone: lone_values(columns[key].low, columns[key].high, sample),
            f"{key}_min": columns[key].low.tolist(),
            f"{key}_max": columns[key].high.tolist(),
            f"{key}_mean": columns[key].mean.tolist(),
            f"{key}_sd": columns[key].sd.tolist(),
            f"constant_{key}_dims": columns[key].constant.tolist(),
            f"nearly_constant_{key}_dims": columns[key].nearly_constant.tolist(),
        }
        found["histograms"][key] = [histogram(values) for values in sample.T]
    found["histograms"]["reward"] = histogram(log.reward[sample_rows(log.size)])
    return found


def _unusable(columns: dict[str, Columns]) -> dict:
    """The arrays with unusable values, as {array: {values, first_row}}."""
    non_finite = {
        key: {"values": c.non_finite, "first_row": c.first_non_finite}
        for key, c in columns.items()
        if c.non_finite
    }
    overflow = {
        key: {"values": c.overflow, "first_row": c.first_overflow}
        for key, c in columns.items()
        if c.overflow
    }
    return {"non_finite": non_finite, "overflow": overflow}


def _duplicates(log: Log) -> dict:
    copies = duplicate_rows([getattr(log, key) for key in _numbers(log)])
    first = int(copies[0]) if len(copies) else None
    return {"duplicate_rows": len(copies), "first_rows": {"duplicate_rows": first}}


def _rewards(log: Log, flags: Flags) -> dict:
    """The spread of the rewards, and their outliers.

    An outlier is 50 robust standard deviations from the median. If more than half of the rewards
    are equal, the reward is sparse and has no outliers.
    """
    good = np.flatnonzero(usable(log.reward))
    reward = log.reward[good].astype(np.float64)
    found: dict[str, Any] = {"reward": spread(reward), "first_rows": {"reward_outliers": None}}
    found |= {"reward_outliers": 0, "reward_outliers_on_terminals": 0, "reward_extremes": []}
    if len(reward) == 0:
        return found
    distance = np.abs(reward - np.median(reward))
    scale = 1.4826 * np.median(distance)
    far = np.flatnonzero(distance > _OUTLIER * scale) if scale > 0 else np.zeros(0, int)
    if len(far) == 0:
        return found
    extremes = far[np.argsort(-distance[far], kind="stable")[:5]]
    return found | {
        "reward_outliers": len(far),
        "reward_outliers_on_terminals": int(flags.terminated[good[far]].sum()),
        "reward_extremes": [{"row": int(good[i]), "reward": float(reward[i])} for i in extremes],
        "first_rows": {"reward_outliers": int(good[far[0]])},
    }


def _actions(log: Log, facts) -> dict:
    """Compares actions with the environment's bounds, or with [-1, 1] if these are not known."""
    known = facts is not None and len(facts.action_low) == log.action.shape[1]
    low = facts.action_low.astype(float) if known else np.full(log.action.shape[1], -1.0)
    high = facts.action_high.astype(float) if known else -low
    # A tanh-squashed float32 action rounds to exactly 1 within this distance of the border.
    border = 1e-6 * 0.5 * (high - low)
    rounding = action_rounding(low, high)
    outside, first, at_border, worst = 0, None, 0, 0.0
    for rows in blocks(log.size, log.action[:1].nbytes):
        action = log.action[rows].astype(np.float64)
        excess = np.maximum(low - action, action - high)
        at_border += int((np.abs(excess) <= border).sum())
        excess = np.where(usable(action), excess, 0.0)
        beyond = (excess > rounding).any(axis=1)
        if first is None and beyond.any():
            first = rows.start + int(beyond.argmax())
        outside += int(beyond.sum())
        worst = max(worst, float(excess.max()))
    return {
        "action_bounds_known": known,
        "action_low": low.tolist(),
        "action_high": high.tolist(),
        "actions_outside": outside,
        "actions_worst_excess": worst,
        "share_actions_at_border": at_border / log.action.size,
        "first_rows": {"actions_outside": first},
    }
