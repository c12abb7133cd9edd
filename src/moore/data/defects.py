"""What a summary says is wrong with a log: one warning a defect, each with its remedy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Defect:
    """A check of the summary. The text is formatted with the summary's keys."""

    found: Callable[[dict], object]
    text: str | Callable[[dict], str]
    refused: bool = False  # whether training takes no such log

    def message(self, summary: dict) -> str:
        text = self.text(summary) if callable(self.text) else self.text
        return text.format(**summary)


def warnings(summary: dict, replay: dict | None = None) -> list[str]:
    """What to look at before training, the worst first; empty if all is well.

    Args:
        summary: from `moore.data.inspect.summarize`.
        replay: from `moore.envs.replay_check.replay_check`, where it was asked for.
    """
    misfit = [replay["verdict"]] if replay is not None and not replay["fits_all"] else []
    others = _messages(summary, [defect for defect in _DEFECTS if not defect.refused])
    return refusals(summary) + misfit + others


def refusals(summary: dict) -> list[str]:
    """Those of the `warnings` for which training refuses the log."""
    return _messages(summary, [d for d in _DEFECTS if d.refused])


def _messages(summary: dict, defects: Sequence[Defect]) -> list[str]:
    return [defect.message(summary) for defect in defects if defect.found(summary)]


def _arrays(found: dict) -> str:
    """`obs 3 (first: row 7), reward 1 (first: row 9)`."""
    parts = (f"{key} {n['values']} (first: row {n['first_row']})" for key, n in found.items())
    return ", ".join(parts)


def _first(key: str) -> str:
    """The place of the first row, for a text to be formatted."""
    return f"(first: row {{first_rows[{key}]}})"


def _may_be_rescaled(s: dict) -> bool:
    """Wider bounds than [-1, 1], but actions that fill just that."""
    low, high = min(s["action_min"]), max(s["action_max"])
    wider = max(s["action_high"]) > 1.01 and min(s["action_low"]) < -1.01
    return wider and -1.001 <= low <= -0.9 and 0.9 <= high <= 1.001


_DEFECTS = (
    Defect(
        lambda s: s["non_finite"],
        lambda s: (
            f"Values that are NaN or infinite: {_arrays(s['non_finite'])}; drop the episodes that "
            "hold them, or repair these rows."
        ),
        refused=True,
    ),
    Defect(
        lambda s: s["overflow"],
        lambda s: (
            f"As float32 the values overflow: {_arrays(s['overflow'])}; if they are true, choose "
            "larger units, else drop these rows."
        ),
        refused=True,
    ),
    Defect(
        lambda s: s["episodes"] == 0,
        "No complete episode in {rows:,} rows: none is flagged terminal or timed out, or is the "
        "1000th of its episode; set the flags, or give a longer log.",
        refused=True,
    ),
    Defect(
        lambda s: s["lost_successors"],
        f"{{lost_successors:,}} rows {_first('lost_successors')} have no successor although they "
        "are not terminal; drop these rows, or give their next_obs.",
        refused=True,
    ),
    Defect(
        lambda s: not s["dims_fit"],
        "{checked_as} has {env_obs_dim} observation and {env_action_dim} action dimensions, the "
        "log {obs_dim} and {action_dim}; name the environment that it was recorded in (--env-id).",
        refused=True,
    ),
    Defect(
        lambda s: s["actions_outside"] and s["action_bounds_known"],
        f"{{actions_outside:,}} rows {_first('actions_outside')} have an action outside the bounds "
        "of {checked_as}, by up to {actions_worst_excess:.4g}; rescale the actions to the bounds, "
        "or clip them if the plant did.",
        refused=True,
    ),
    Defect(
        lambda s: s["actions_outside"] and not s["action_bounds_known"],
        "Actions leave [-1, 1], by up to {actions_worst_excess:.4g}: check that the environment's "
        "bounds are as wide, else rescale.",
    ),
    Defect(
        lambda s: s["action_bounds_known"] and _may_be_rescaled(s),
        "Actions fill [-1, 1] exactly, but the bounds of {checked_as} are wider: if they were "
        "scaled for a network, scale them back to the environment's units.",
    ),
    Defect(
        lambda s: s["both_flags"],
        "{both_flags:,} rows are flagged both terminal and timed out: they count as terminal, so "
        "no value is expected after them; clear the terminal flag where only the time was up.",
    ),
    Defect(
        lambda s: not s["timeouts_recorded"],
        "No time-out flags: episodes are taken to end after 1000 steps, {timeouts:,} of them, and "
        "where that is wrong two episodes run into one another; record the flags, or use a file "
        "that has them (D4RL v2).",
    ),
    Defect(
        lambda s: s["episodes_past_limit"] and s["timeouts_recorded"],
        "{episodes_past_limit:,} episodes run on past the {step_limit} steps of {checked_as} (the "
        "longest: {longest_episode:,}): time-out flags are missing, or the limit was another; flag "
        "the last row of each episode.",
    ),
    Defect(
        lambda s: s["early_timeouts"],
        "{early_timeouts:,} time-outs come before the {step_limit} steps of {checked_as} (the "
        "earliest after {shortest_timeout}): fine where the recording was cut; where the "
        "environment ended the episode, flag the row terminal.",
    ),
    Defect(
        lambda s: s["flagged_healthy"],
        f"{{flagged_healthy:,}} terminal rows {_first('flagged_healthy')} have a next state in "
        "which {checked_as} does not end: flags of time-outs or of another environment; move them "
        "to the time-out flags, or give the rule with --termination.",
    ),
    Defect(
        lambda s: s["unhealthy_unflagged"],
        f"{{unhealthy_unflagged:,}} rows {_first('unhealthy_unflagged')} go on after a state that "
        "ends {checked_as}: terminal flags are missing, or the limits were others; set the flags, "
        "or give the rule with --termination.",
    ),
    Defect(
        lambda s: s["unknown_successors"] > s["lost_successors"],
        "{unknown_successors:,} terminal rows have no successor in the file: the models are fitted "
        "without them; prefer a file with next_observations (D4RL v2).",
    ),
    Defect(
        lambda s: s["broken_successors"],
        f"{{broken_successors:,}} rows inside an episode {_first('broken_successors')} have a "
        "next_obs that is not the next row's obs: harmless if rows were shuffled or files joined "
        "without flags, else next_obs is wrong; write the true successors or add time-out flags.",
    ),
    Defect(
        lambda s: s["reset_successors"],
        f"{{reset_successors:,}} rows that end an episode {_first('reset_successors')} have the "
        "first obs of the next one as next_obs: unless the system went on without a reset, store "
        "the observation before it (final_obs in Gymnasium's vector environments), or leave "
        "next_obs out.",
    ),
    Defect(
        lambda s: s["unchanged_successors"] > 0.01 * s["rows"],
        f"{{unchanged_successors:,}} rows {_first('unchanged_successors')} have their own obs as "
        "next_obs: the state is stored twice, or a sensor holds its value; store the observation "
        "after the action.",
    ),
    Defect(
        lambda s: s["duplicate_rows"],
        f"{{duplicate_rows:,}} rows {_first('duplicate_rows')} are exact copies of others: they "
        "weigh twice in every fit; check that no file was joined with itself, and drop the copies.",
    ),
    Defect(
        lambda s: s["constant_obs_dims"],
        "Observation dimensions {constant_obs_dims} never change: the models cannot learn what "
        "they do; remove them from the log and the environment if they may change.",
    ),
    Defect(
        lambda s: s["nearly_constant_obs_dims"],
        "Observation dimensions {nearly_constant_obs_dims} hardly ever change: scaled to unit "
        "variance, their rare changes or rounding errors become huge; remove them, or log rows in "
        "which they do change.",
    ),
    Defect(
        lambda s: s["constant_action_dims"],
        "Action dimensions {constant_action_dims} never change: their effect cannot be learned "
        "offline; log some variation, or remove them from the action.",
    ),
    Defect(
        lambda s: s["nearly_constant_action_dims"],
        "Action dimensions {nearly_constant_action_dims} hardly ever change: their effect can "
        "hardly be learned offline; log more variation.",
    ),
    Defect(
        lambda s: s["share_actions_at_border"] > 0.05,
        "{share_actions_at_border:.0%} of the action entries lie at the border of the bounds or "
        "beyond, where a tanh policy has no finite log-probability: methods that score logged "
        "actions (AWAC, CQL, IQL) need them clipped a little inside.",
    ),
    Defect(
        # Many far rewards are a second mode; a few on terminals a goal's bonus or a fall's price.
        lambda s: (
            s["reward_outliers"] > s["reward_outliers_on_terminals"]
            and s["reward_outliers"] < 0.01 * s["rows"]
        ),
        f"{{reward_outliers:,}} rewards {_first('reward_outliers')} lie more than 50 robust "
        "standard deviations from the median, up to {reward_extremes[0][reward]:.4g} in row "
        "{reward_extremes[0][row]}: unless they are events of the task, repair or drop these rows.",
    ),
    Defect(
        lambda s: s["reward_min"] == s["reward_max"],
        "The reward never changes, so there is nothing to learn; log the true reward.",
    ),
    Defect(
        lambda s: s["env_id"] is None,
        lambda s: (
            "The log names no environment; give it with --env-id"
            + (" {recommended_env}." if s["recommended_env"] else ".")
        ),
    ),
    Defect(
        lambda s: s["reference"] is None,
        "No reference returns, so no normalised score; set the file's ref_min_score and "
        "ref_max_score (in an .npz: reference in metadata).",
    ),
)
