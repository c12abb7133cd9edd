"""The checks of a log before a run begins; a defect that would spoil the result stops the run.

`moore inspect` looks for all defects, and reads every row many times. This module only looks for
those that matter to a run, in the ends of the episodes and in samples of rows.
"""

from collections.abc import Sequence

import numpy as np

from moore.data.cuts import broken_rows
from moore.data.dataset import Dataset
from moore.data.log import told
from moore.data.order import is_shuffled
from moore.errors import InputError
from moore.findings.clipped_rewards import clipped_rewards
from moore.findings.courses import summarize_courses
from moore.findings.defects import findings
from moore.findings.duplicates import duplicate_rows
from moore.findings.end_rows import summarize_ends
from moore.findings.episode_summary import staying_flags
from moore.findings.given_away import given_away
from moore.findings.idle_actions import have_no_effect
from moore.findings.misplaced import what_is_misplaced
from moore.findings.out_of_place import summarize_places
from moore.findings.readings import summarize_readings
from moore.findings.reward_sums import summarize_sums
from moore.findings.row_fits import reward_rows
from moore.findings.scales import lone_values
from moore.findings.shifts import summarize_shifts
from moore.findings.steps import SAMPLE
from moore.findings.two_rewards import summarize_laws
from moore.findings.wrapped_actions import wrapped_actions


def check_log_for_run(log: Dataset, facts: object, accept: Sequence[str] = ()) -> list[str]:
    """Notes on a log before a run, one sentence each.

    Args:
        log: the log to train on.
        facts: facts of the environment, as `moore.envs.simulator.EnvFacts`: `env_id`, `action_low`,
            `action_high` (action_dim,) and `step_limit` (None if unknown). None if unknown.
        accept: names of findings that the user accepts; these are not mentioned.

    Raises:
        InputError: a finding would make the result wrong; the message says how to accept it.
    """
    found = [f for f in findings(_summary(log, facts), in_run=True) if f.name not in accept]
    bad = [finding for finding in found if finding.level != "note"]
    if bad:
        more = f" (`moore inspect` tells of {len(bad) - 1} more)" if len(bad) > 1 else ""
        flags = " ".join(finding.name for finding in bad)
        raise InputError(
            f"{log.name}: {bad[0].text}{more} To train on it as it is: --accept {flags}."
        )
    return [str(finding) for finding in found]


def _summary(log: Dataset, facts: object) -> dict:
    """The keys of `moore.inspecting.summary.summarize` that the findings of a run need."""
    ends = log.terminated | log.truncated
    low, high, mean, sd = _spread(log.obs)
    action_low, action_high, _, _ = _spread(log.action)
    reward = _spread(log.reward[:, None])
    limits = told(log.metadata, "ends")
    of_rewards = reward_rows(log, ends)
    summary = {
        "rows": log.size,
        "terminals": int(log.terminated.sum()),
        "timeouts": int(log.truncated.sum()),
        "timeouts_recorded": not limits,
        "staying_flags": staying_flags(log.episode_lengths),
        "ends_source": limits.get("source"),
        "ends_steps": limits.get("steps"),
        "unflagged_ends": told(log.metadata, "unflagged_ends"),
        "float32": told(log.metadata, "float32"),
        "shuffled": is_shuffled(log, ends),
        "misplaced": what_is_misplaced(log, ends),
        "idle_actions": have_no_effect(log, ends),
        "obs_mean": mean.tolist(),
        "obs_sd": sd.tolist(),
        "lone_obs": lone_values(low, high, log.obs[:: max(1, log.size // SAMPLE)]),
        "lone_actions": lone_values(
            action_low, action_high, log.action[:: max(1, log.size // SAMPLE)]
        ),
        "reward": {"mean": float(reward[2][0]), "sd": float(reward[3][0])},
        "constant_obs_dims": np.flatnonzero(low == high).tolist(),
        "constant_action_dims": np.flatnonzero(action_low == action_high).tolist(),
        "action_min": action_low.tolist(),
        "action_max": action_high.tolist(),
        **_against(log, facts),
        **_unchanged(log),
        **given_away(log, ends),
        **summarize_courses(log, ends),
        "wrapped_actions": wrapped_actions(log, ends),
        "clipped_rewards": clipped_rewards(np.asarray(log.reward).reshape(-1), ends),
        **summarize_places(log, ends, of_rewards),
        **summarize_readings(log, ends),
        **summarize_shifts(log, ends, of_rewards),
        **summarize_sums(log, ends, of_rewards),
        **summarize_laws(log, ends, of_rewards),
    }
    broken = broken_rows(log) & ~ends & log.successor_known
    summary["broken_successors"] = int(broken.sum())
    summary["first_rows"]["broken_successors"] = int(broken.argmax())
    copies = duplicate_rows([log.obs, log.action, log.reward, log.next_obs])
    summary["duplicate_rows"] = len(copies)
    summary["first_rows"]["duplicate_rows"] = int(copies[0]) if len(copies) else None
    at_ends = summarize_ends(log, log.terminated, ends)
    first_rows = summary.pop("first_rows") | at_ends.pop("first_rows")
    # Of a system that goes on without a reset nothing need be said.
    summary["reset_successors"] = at_ends["far_resets"]
    first_rows["reset_successors"] = first_rows["far_resets"]
    return summary | at_ends | {"first_rows": first_rows}


def _spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The lowest and highest value of every column, and its mean and deviation in a sample."""
    sample = values[:: max(1, len(values) // SAMPLE)].astype(np.float64)
    return values.min(axis=0), values.max(axis=0), sample.mean(axis=0), sample.std(axis=0)


def _against(log: Dataset, facts: object) -> dict:
    limit, lengths = getattr(facts, "step_limit", None), log.episode_lengths
    past = int((lengths > limit).sum()) if limit is not None else 0
    return {
        "checked_as": getattr(facts, "env_id", None),
        "action_bounds_known": facts is not None,
        "action_low": np.asarray(getattr(facts, "action_low", [-1.0])).tolist(),
        "action_high": np.asarray(getattr(facts, "action_high", [1.0])).tolist(),
        "step_limit": limit,
        "episodes_past_limit": past,
        "longest_episode": int(lengths.max(initial=0)),
    }


def _unchanged(log: Dataset) -> dict:
    rows = np.arange(0, log.size, max(1, log.size // SAMPLE))
    same = (log.next_obs[rows] == log.obs[rows]).all(axis=1) & log.successor_known[rows]
    return {
        "unchanged_successors": round(float(same.mean()) * log.size),
        "first_rows": {"unchanged_successors": int(rows[same.argmax()])},
    }
