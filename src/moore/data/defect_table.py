"""The table of all known defects of logs, each with its name, its level and its remedy."""

from moore.data.cuts import ends_text
from moore.data.defect import Defect
from moore.data.precision import LOST
from moore.data.scales import odd_reward, odd_scales

# A fifth of the rows is held out (`moore.dynamics.fit.ModelConfig`), and must be one at least.
FEWEST_ROWS = 5


def _arrays(found: dict) -> str:
    """`obs 3 (first: row 7), reward 1 (first: row 9)`."""
    parts = (f"{key} {n['values']} (first: row {n['first_row']})" for key, n in found.items())
    return ", ".join(parts)


def _first(key: str) -> str:
    """The part of a format that names the first row."""
    return f"(first: row {{first_rows[{key}]}})"


def _may_be_rescaled(s: dict) -> bool:
    """Whether the bounds are wider than [-1, 1] but the actions fill exactly [-1, 1]."""
    low, high = min(s["action_min"]), max(s["action_max"])
    wider = max(s["action_high"]) > 1.01 and min(s["action_low"]) < -1.01
    return wider and -1.001 <= low <= -0.9 and 0.9 <= high <= 1.001


def _lost_columns(s: dict) -> str:
    """`obs 0 (97% of its steps by more than half), ...`."""
    return ", ".join(
        f"{key} {column['dim']} ({column['wrong']:.0%} of its steps by more than half)"
        for key, columns in s["float32"].items()
        for column in columns
    )


def _worst_rounding(s: dict) -> float:
    return max(c["rounding"] for columns in s["float32"].values() for c in columns)


def _unflagged(s: dict) -> str:
    if "every" in s["unflagged_ends"]:
        return f"after every {s['unflagged_ends']['every']:,} steps"
    return f"in {s['unflagged_ends']['jumps']:,} rows"


def _few_agree(s: dict) -> bool:
    """Whether the rule and the flags disagree on more than a tenth of the ends of either."""
    wrong = s["flagged_healthy"] + s["unhealthy_unflagged"]
    return wrong > max(3, 0.1 * (s["terminals"] + s["unhealthy_unflagged"]))


DEFECTS = (
    Defect(
        "not-finite",
        lambda s: s["non_finite"],
        lambda s: (
            f"Values that are NaN or infinite: {_arrays(s['non_finite'])}; drop the episodes that "
            "hold them, or repair these rows."
        ),
        level="refused",
    ),
    Defect(
        "overflow",
        lambda s: s["overflow"],
        lambda s: (
            f"As float32 the values overflow: {_arrays(s['overflow'])}; if they are true, choose "
            "larger units, else drop these rows."
        ),
        level="refused",
    ),
    Defect(
        "no-episode",
        lambda s: s["episodes"] == 0,
        "No complete episode in {rows:,} rows: none is flagged terminal or timed out, or is the "
        "1000th of its episode; set the flags, or give a longer log.",
        level="refused",
    ),
    Defect(
        "too-few-rows",
        lambda s: s["rows"] - s["unknown_successors"] < FEWEST_ROWS,
        "{rows:,} rows, {unknown_successors:,} of them without a successor, are too few to learn "
        "from; give a longer log.",
        level="refused",
    ),
    Defect(
        "lost-successors",
        lambda s: s["lost_successors"],
        f"{{lost_successors:,}} rows {_first('lost_successors')} have no successor although they "
        "are not terminal; drop these rows, or give their next_obs.",
        level="refused",
    ),
    Defect(
        "other-dimensions",
        lambda s: not s["dims_fit"],
        "{checked_as} has {env_obs_dim} observation and {env_action_dim} action dimensions, the "
        "log {obs_dim} and {action_dim}; name the environment that it was recorded in (--env-id).",
        level="refused",
    ),
    Defect(
        "actions-outside",
        lambda s: s["actions_outside"] and s["action_bounds_known"],
        f"{{actions_outside:,}} rows {_first('actions_outside')} have an action outside the bounds "
        "of {checked_as}, by up to {actions_worst_excess:.4g}; rescale the actions to the bounds, "
        "or clip them if the plant did.",
        level="refused",
    ),
    Defect(
        "actions-beyond-one",
        lambda s: s["actions_outside"] and not s["action_bounds_known"],
        "Actions leave [-1, 1], by up to {actions_worst_excess:.4g}: check that the environment's "
        "bounds are as wide, else rescale.",
    ),
    Defect(
        "rescaled-actions",
        lambda s: s["action_bounds_known"] and _may_be_rescaled(s),
        "Actions fill [-1, 1] exactly, but the bounds of {checked_as} are wider: if they were "
        "scaled for a network, scale them back to the environment's units.",
        in_run=True,
    ),
    Defect(
        "precision-lost",
        lambda s: s["float32"],
        lambda s: (
            "Training takes numbers as float32, in which steps from row to row are lost: "
            f"{_lost_columns(s)}; subtract an offset before you store them, log the difference to "
            "the last row, or drop what only counts time."
        ),
        level=lambda s: "ruins" if _worst_rounding(s) >= LOST else "note",
        in_run=True,
    ),
    Defect(
        "padded-successors",
        lambda s: s["padded_successors"],
        f"{{padded_successors:,}} of {{known_ends:,}} ends {_first('padded_successors')} of "
        "episodes have {padded_as} as next_obs in place of the next state: models and a learned "
        "rule for the ends are fitted to it; store the observation after the last action, or leave "
        "next_obs out (then these rows are fitted without one).",
        level=lambda s: "ruins" if s["padded_surely"] else "note",
        in_run=True,
    ),
    Defect(
        "both-flags",
        lambda s: s["both_flags"],
        "{both_flags:,} rows are flagged both terminal and timed out: they count as terminal, so "
        "no value is expected after them; clear the terminal flag where only the time was up.",
    ),
    Defect(
        "no-timeouts",
        lambda s: not s["timeouts_recorded"],
        lambda s: (
            f"No time-out flags: {ends_text(s['ends_source'], s['ends_steps'])}, "
            f"{s['timeouts']:,} of them; where that is wrong two episodes run into one another; "
            "record the flags, or use a file that has them (D4RL v2)."
        ),
        in_run=True,
    ),
    Defect(
        "unflagged-ends",
        lambda s: s["unflagged_ends"],
        lambda s: (
            f"Inside episodes the observations jump {_unflagged(s)} as they do nowhere else, and "
            "the next rows are taken for the successors: ends of episodes are not flagged; flag "
            "them, or store next_obs."
        ),
        level="ruins",
        in_run=True,
    ),
    Defect(
        "timeouts-as-terminals",
        lambda s: s["timed_terminals"],
        "{timed_terminals:,} of {terminals:,} terminal rows come after exactly {timed_length:,} "
        "steps, the longest episode, in states like all others: these are time-outs, and as "
        "terminals they teach that nothing can be earned after them; move them to the time-out "
        "flags.",
        level=lambda s: "ruins" if s["timed_share"] >= 0.5 else "note",
        in_run=True,
    ),
    Defect(
        "other-limit",
        lambda s: (
            s["ends_source"] not in (None, "successors")
            and s["step_limit"] not in (None, s["ends_steps"])
        ),
        "The log has no time-out flags and was cut after {ends_steps:,} steps, but {checked_as} "
        "has a limit of {step_limit:,}: load it with max_episode_steps={step_limit}, or flag the "
        "last row of each episode.",
        level=lambda s: (
            "ruins" if s["timeouts"] or s["longest_episode"] > s["step_limit"] else "note"
        ),
        in_run=True,
    ),
    Defect(
        "past-limit",
        lambda s: s["episodes_past_limit"] and s["timeouts_recorded"],
        "{episodes_past_limit:,} episodes run on past the {step_limit} steps of {checked_as} (the "
        "longest: {longest_episode:,}): time-out flags are missing, or the limit was another; flag "
        "the last row of each episode.",
        in_run=True,
    ),
    Defect(
        "early-timeouts",
        lambda s: s["early_timeouts"],
        "{early_timeouts:,} time-outs come before the {step_limit} steps of {checked_as} (the "
        "earliest after {shortest_timeout}): fine where the recording was cut; where the "
        "environment ended the episode, flag the row terminal.",
    ),
    Defect(
        "flagged-healthy",
        lambda s: s["flagged_healthy"],
        f"{{flagged_healthy:,}} terminal rows {_first('flagged_healthy')} have a next state in "
        "which {checked_as} does not end: flags of time-outs or of another environment; move them "
        "to the time-out flags, or give the rule with --termination.",
        level=lambda s: "refused" if _few_agree(s) else "note",
    ),
    Defect(
        "unhealthy-unflagged",
        lambda s: s["unhealthy_unflagged"],
        f"{{unhealthy_unflagged:,}} rows {_first('unhealthy_unflagged')} go on after a state that "
        "ends {checked_as}: terminal flags are missing, or the limits were others; set the flags, "
        "or give the rule with --termination.",
        level=lambda s: "refused" if _few_agree(s) else "note",
    ),
    Defect(
        "unknown-successors",
        lambda s: s["unknown_successors"] > s["lost_successors"],
        "{unknown_successors:,} terminal rows have no successor in the file: the models are fitted "
        "without them; prefer a file with next_observations (D4RL v2).",
    ),
    Defect(
        "broken-successors",
        lambda s: s["broken_successors"],
        f"{{broken_successors:,}} rows inside an episode {_first('broken_successors')} have a "
        "next_obs that is not the next row's obs: harmless if rows were shuffled or files joined "
        "without flags, else next_obs is wrong; write the true successors or add time-out flags.",
    ),
    Defect(
        "reset-successors",
        lambda s: s["reset_successors"],
        f"{{reset_successors:,}} rows that end an episode {_first('reset_successors')} have the "
        "first obs of the next one as next_obs: unless the system went on without a reset, store "
        "the observation before it (final_obs in Gymnasium's vector environments), or leave "
        "next_obs out.",
        level=lambda s: "ruins" if s["far_resets"] > 0.1 * s["known_ends"] else "note",
        in_run=True,
    ),
    Defect(
        "unchanged-successors",
        lambda s: s["unchanged_successors"] > 0.01 * s["rows"],
        f"{{unchanged_successors:,}} rows {_first('unchanged_successors')} have their own obs as "
        "next_obs: the state is stored twice, or a sensor holds its value; store the observation "
        "after the action.",
        level=lambda s: "ruins" if s["unchanged_successors"] > 0.9 * s["rows"] else "note",
        in_run=True,
    ),
    Defect(
        "duplicate-rows",
        lambda s: s["duplicate_rows"],
        f"{{duplicate_rows:,}} rows {_first('duplicate_rows')} are exact copies of others: they "
        "weigh twice in every fit; check that no file was joined with itself, and drop the copies.",
    ),
    Defect(
        "constant-observations",
        lambda s: s["constant_obs_dims"],
        "Observation dimensions {constant_obs_dims} never change: the models cannot learn what "
        "they do; remove them from the log and the environment if they may change.",
        in_run=True,
    ),
    Defect(
        "rare-observations",
        lambda s: s["nearly_constant_obs_dims"],
        "Observation dimensions {nearly_constant_obs_dims} hardly ever change: scaled to unit "
        "variance, their rare changes or rounding errors become huge; remove them, or log rows in "
        "which they do change.",
    ),
    Defect(
        "constant-actions",
        lambda s: s["constant_action_dims"],
        "Action dimensions {constant_action_dims} never change: their effect cannot be learned "
        "offline; log some variation, or remove them from the action.",
        in_run=True,
    ),
    Defect(
        "rare-actions",
        lambda s: s["nearly_constant_action_dims"],
        "Action dimensions {nearly_constant_action_dims} hardly ever change: their effect can "
        "hardly be learned offline; log more variation.",
    ),
    Defect(
        "actions-at-border",
        lambda s: s["share_actions_at_border"] > 0.05,
        "{share_actions_at_border:.0%} of the action entries lie at the border of the bounds, "
        "where a tanh policy has no finite log-probability: methods that score logged actions "
        "(AWAC, CQL, IQL) need them clipped a little inside.",
    ),
    Defect(
        "reward-outliers",
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
        "constant-reward",
        lambda s: s["reward_min"] == s["reward_max"],
        "The reward never changes, so there is nothing to learn; log the true reward.",
        # A price of each step, the same for all, makes an early end better or worse.
        level=lambda s: "note" if s["reward_min"] and s["terminals"] else "refused",
    ),
    Defect(
        "reward-scale",
        lambda s: s["reward"] and odd_reward(s["reward"]["mean"], s["reward"]["sd"]),
        lambda s: (
            f"Rewards {odd_reward(s['reward']['mean'], s['reward']['sd'])}: algorithms are tuned "
            "for rewards of the order of 1; train with --scale-rewards (on in quickstart and "
            "quick/*), or choose other units."
        ),
        in_run=True,
    ),
    Defect(
        "observation-scale",
        lambda s: odd_scales(s["obs_mean"], s["obs_sd"]),
        lambda s: (
            f"Observation dimensions {odd_scales(s['obs_mean'], s['obs_sd'])}: actor and critics "
            "learn best from numbers of the order of 1; train with --standardise-obs (on in "
            "quickstart and quick/*), or choose other units."
        ),
        in_run=True,
    ),
    Defect(
        "arrays-not-read",
        lambda s: s["not_read"],
        lambda s: (
            f"Arrays with a value for each row that are not read: {', '.join(s['not_read'])}; "
            "rename them if they are what this format calls otherwise."
        ),
    ),
    Defect(
        "environment-unknown",
        lambda s: s["env_problem"],
        "Bounds, step limit and flags are not checked: {env_problem}.",
    ),
    Defect(
        "no-environment",
        lambda s: s["env_id"] is None and not s["env_given"],
        lambda s: (
            "The log names no environment; give it with --env-id"
            + (f" {s['recommended_env']}." if s["recommended_env"] else ".")
        ),
    ),
    Defect(
        "no-reference",
        lambda s: s["reference"] is None,
        "No reference returns, so no normalised score; set the file's ref_min_score and "
        "ref_max_score (in an .npz: reference in metadata).",
    ),
)
