"""The table of all known defects of logs, each with its name, its level and its remedy."""

from moore.data.precision import LOST
from moore.findings.defect import Defect, first
from moore.findings.episode_defects import EPISODE_DEFECTS
from moore.findings.scales import odd_reward, odd_scales
from moore.findings.shift_defects import SHIFT_DEFECTS

# A fifth of the rows is held out (`moore.dynamics.model_config`), and must be one at least.
FEWEST_ROWS = 5
_NARROW = 0.02  # of the bounds


def _arrays(found: dict) -> str:
    """`obs 3 (first: row 7), reward 1 (first: row 9)`."""
    parts = (f"{key} {n['values']} (first: row {n['first_row']})" for key, n in found.items())
    return ", ".join(parts)


def _may_be_rescaled(s: dict) -> bool:
    """Whether the bounds are wider than [-1, 1] but the actions fill exactly [-1, 1]."""
    low, high = min(s["action_min"]), max(s["action_max"])
    wider = max(s["action_high"]) > 1.01 and min(s["action_low"]) < -1.01
    return wider and -1.001 <= low <= -0.9 and 0.9 <= high <= 1.001


def _narrow(s: dict) -> list[int]:
    """Action dimensions that vary, but in a small part of their bounds."""
    columns = zip(*(s[f"action_{key}"] for key in ("min", "max", "low", "high")), strict=True)
    return [
        dim
        for dim, (least, most, low, high) in enumerate(columns)
        if 0 < most - least < _NARROW * (high - low)
    ]


def _lost_columns(s: dict) -> str:
    """`obs 0 (97% of its steps by more than half), ...`."""
    return ", ".join(
        f"{key} {column['dim']} ({column['wrong']:.0%} of its steps by more than half)"
        for key, columns in s["float32"].items()
        for column in columns
    )


def _worst_rounding(s: dict) -> float:
    return max(c["rounding"] for columns in s["float32"].values() for c in columns)


def _dropped(s: dict) -> list[str]:
    found = [f"Observation dimensions {s['dropped']}"] if s["dropped"] else []
    return found + ([f"Rewards ({s['dropped_rewards']})"] if s["dropped_rewards"] else [])


_WITHOUT = "; a run of a plant that has none takes --action-low and --action-high."

DEFECTS = (
    Defect(
        "not-finite",
        lambda s: s["non_finite"],
        lambda s: (
            f"There are values that are NaN or infinite: {_arrays(s['non_finite'])}. Drop the "
            "episodes that hold them, or repair these rows."
        ),
        level="refused",
    ),
    Defect(
        "overflow",
        lambda s: s["overflow"],
        lambda s: (
            f"Values overflow as float32, in which training takes them: {_arrays(s['overflow'])}. "
            "If they are true, choose larger units, otherwise drop these rows."
        ),
        level="refused",
    ),
    Defect(
        "no-episode",
        lambda s: s["episodes"] == 0,
        "No complete episode is in the {rows:,} rows: none of them is flagged terminal or timed "
        "out or is the 1000th of its episode. Set the flags, or give a longer log.",
        level="refused",
    ),
    Defect(
        "too-few-rows",
        lambda s: s["rows"] - s["unknown_successors"] < FEWEST_ROWS,
        "{rows:,} rows, {unknown_successors:,} of them without a successor, are too few to learn "
        "from. Give a longer log.",
        level="refused",
    ),
    Defect(
        "lost-successors",
        lambda s: s["lost_successors"],
        f"{{lost_successors:,}} rows {first('lost_successors')} have no successor although they "
        "are not terminal. Drop these rows, or give their next_obs.",
        level="refused",
    ),
    Defect(
        "other-dimensions",
        lambda s: not s["dims_fit"],
        "{checked_as} has {env_obs_dim} observation and {env_action_dim} action dimensions, the "
        "log {obs_dim} and {action_dim}. Name the environment that the log was recorded in "
        "(--env-id).",
        level="refused",
    ),
    Defect(
        "actions-outside",
        lambda s: s["actions_outside"] and s["action_bounds_known"],
        f"{{actions_outside:,}} rows {first('actions_outside')} have an action outside the bounds "
        "of {checked_as}, by up to {actions_worst_excess:.4g}. Rescale the actions to the bounds, "
        "or clip them if the plant did.",
        level="refused",
    ),
    Defect(
        "actions-beyond-one",
        lambda s: s["actions_outside"] and not s["action_bounds_known"],
        "Actions leave [-1, 1], by up to {actions_worst_excess:.4g}. Check that the environment's "
        "bounds are as wide; if not, rescale the actions.",
    ),
    Defect(
        "rescaled-actions",
        lambda s: s["action_bounds_known"] and _may_be_rescaled(s),
        "Actions fill [-1, 1] exactly, but the bounds of {checked_as} are wider. If they were "
        "scaled for a network, scale them back to the environment's units.",
        in_run=True,
    ),
    Defect(
        "narrow-actions",
        lambda s: s["action_bounds_known"] and _narrow(s),
        lambda s: (
            f"Actions fill less than {_NARROW:.0%} of the bounds of {s['checked_as']} in "
            f"dimensions {_narrow(s)}, so nearly all that a policy may try was never tried. Give "
            "the environment the bounds of the actuators, or see whether units are the same."
        ),
        in_run=True,
    ),
    Defect(
        "action-observed",
        lambda s: s["action_in_obs"],
        lambda s: (
            "Observations hold the action that was only taken after them: "
            + ", ".join(f"obs {entry} is action {dim}" for entry, dim in s["action_in_obs"])
            + " of the same row. Models and policies would go by the copy. Log what was known "
            "before the action, such as the action before, or leave the entry out."
        ),
        level="ruins",
        in_run=True,
    ),
    Defect(
        "reward-observed",
        lambda s: s["reward_in_obs"],
        "The reward is what observation dimensions {reward_in_obs} of the same row show, before "
        "the action. If it is that of the action before, it belongs to the row before (in a table: "
        'reward_of = "next").',
        in_run=True,
    ),
    Defect(
        "precision-lost",
        lambda s: s["float32"],
        lambda s: (
            "Training takes numbers as float32, where changes from row to row are lost: "
            f"{_lost_columns(s)}. Subtract an offset before you store them, log the difference to "
            "the last row, or drop columns that only count time."
        ),
        level=lambda s: "ruins" if _worst_rounding(s) >= LOST else "note",
        in_run=True,
    ),
    *EPISODE_DEFECTS,
    *SHIFT_DEFECTS,
    Defect(
        "duplicate-rows",
        lambda s: s["duplicate_rows"],
        f"{{duplicate_rows:,}} rows {first('duplicate_rows')} are exact copies of others, so "
        "they count twice in every fit, and rows that a fit has seen are held out to judge it. "
        "Check that no file was joined with itself, and drop the copies.",
        in_run=True,
    ),
    Defect(
        "constant-observations",
        lambda s: s["constant_obs_dims"],
        "Observation dimensions {constant_obs_dims} never change, so the models cannot learn what "
        "they do. If they can change in the system, remove them from the log and the environment.",
        in_run=True,
    ),
    Defect(
        "rare-observations",
        lambda s: s["nearly_constant_obs_dims"],
        "Observation dimensions {nearly_constant_obs_dims} hardly ever change. Scaled to unit "
        "variance, their rare changes or rounding errors become huge. Remove them, or log rows in "
        "which they do change.",
    ),
    Defect(
        "constant-actions",
        lambda s: s["constant_action_dims"],
        "Action dimensions {constant_action_dims} never change, so their effect cannot be learned "
        "offline. Log some variation, or remove them from the action.",
        in_run=True,
    ),
    Defect(
        "rare-actions",
        lambda s: s["nearly_constant_action_dims"],
        "Action dimensions {nearly_constant_action_dims} hardly ever change, so their effect can "
        "hardly be learned offline. Log more variation.",
    ),
    Defect(
        "actions-at-border",
        lambda s: s["share_actions_at_border"] > 0.05,
        "{share_actions_at_border:.0%} of the action entries lie at the border of the bounds, "
        "where a tanh policy has no finite log-probability. Methods that use the likelihood of "
        "logged actions (AWAC, CQL, IQL) need them clipped a little inside.",
    ),
    Defect(
        "reward-outliers",
        # Many far rewards are a second mode; a few on terminals a goal's bonus or a fall's price.
        lambda s: (
            s["reward_outliers"] > s["reward_outliers_on_terminals"]
            and s["reward_outliers"] < 0.01 * s["rows"]
        ),
        f"{{reward_outliers:,}} rewards {first('reward_outliers')} lie more than 50 robust "
        "standard deviations from the median, up to {reward_extremes[0][reward]:.4g} in row "
        "{reward_extremes[0][row]}. Unless they are events of the task, repair or drop these rows.",
    ),
    Defect(
        "lone-observations",
        lambda s: s["lone_obs"],
        "Some values lie far beyond all others in observation dimensions {lone_obs}. They may "
        "stand for a sensor that failed. Repair or drop these rows (in a table, name them in "
        "`missing`).",
        in_run=True,
    ),
    Defect(
        "lone-rewards",
        lambda s: s["lone_rewards"],
        "Some rewards of rows that go on lie far beyond all others: {lone_rewards}. Unless they "
        "are events of the task, they may stand for a value that was not measured. Repair or drop "
        "these rows (in a table, name them in `missing`).",
        in_run=True,
    ),
    Defect(
        "lone-actions",
        lambda s: s["lone_actions"],
        "Some actions lie far beyond all others: {lone_actions}. They may stand for an action that "
        "was not recorded. Repair or drop these rows (in a table, name them in `missing`).",
        in_run=True,
    ),
    Defect(
        "standing-observations",
        lambda s: s["standing"],
        "Observation dimensions {standing} stand still for that long, although they change in "
        "nearly every other row. If a sensor failed there, drop these rows.",
        in_run=True,
    ),
    Defect(
        "standing-actions",
        lambda s: s["standing_actions"],
        "Action dimensions {standing_actions} stand still for that long, inside their range, "
        "although they change in nearly every other row. If the action was not recorded there, or "
        "the plant was off, drop these rows.",
        in_run=True,
    ),
    Defect(
        "wrapped-observations",
        lambda s: s["wrapped"],
        "Observation dimensions {wrapped} jump from one end of their range to the other and go on "
        "from there, as angles, phases and counters do. Models take that for a fast motion: log "
        "sine and cosine, or do not wrap around.",
        in_run=True,
    ),
    Defect(
        "dropped-readings",
        lambda s: s["dropped"] or s["dropped_rewards"],
        lambda s: (
            " and ".join(_dropped(s))
            + " leave their course for a row and hold one and the same value there, as readings "
            "that were not made. Repair or drop these rows (in a table, name the value in "
            "`missing`)."
        ),
        in_run=True,
    ),
    Defect(
        "units-change",
        lambda s: s["other_units"],
        "Columns go on in other units, or as another quantity, or vary many times as much in some "
        "parts: {other_units}. If nothing was changed in the plant there, convert these parts.",
        in_run=True,
    ),
    Defect(
        "two-laws",
        lambda s: s["two_laws"] and not s["other_units"],
        "Parts of the log follow two laws, which become one if one thing is changed back: "
        "{two_laws}. If nothing was changed in the plant there, change these rows back (or put "
        "them in the order of time), or leave them out.",
        in_run=True,
    ),
    Defect(
        "constant-reward",
        lambda s: s["reward_min"] == s["reward_max"],
        "The reward never changes, so there is nothing to learn. Log the true reward.",
        # A price of each step, the same for all, makes an early end better or worse.
        level=lambda s: "note" if s["reward_min"] and s["terminals"] else "refused",
    ),
    Defect(
        "reward-scale",
        lambda s: s["reward"] and odd_reward(s["reward"]["mean"], s["reward"]["sd"]),
        lambda s: (
            f"Rewards {odd_reward(s['reward']['mean'], s['reward']['sd'])}. Algorithms are tuned "
            "for rewards of the order of 1. Train with --scale-rewards (on in quickstart and "
            "quick/*), or choose other units."
        ),
        in_run=True,
    ),
    Defect(
        "observation-scale",
        lambda s: odd_scales(s["obs_mean"], s["obs_sd"]),
        lambda s: (
            f"Observation dimensions {odd_scales(s['obs_mean'], s['obs_sd'])}. Actor and critics "
            "learn best from numbers of the order of 1. Train with --standardise-obs (on in "
            "quickstart and quick/*), or choose other units."
        ),
        in_run=True,
    ),
    Defect(
        "arrays-not-read",
        lambda s: s["not_read"],
        lambda s: (
            f"These arrays have a value for each row but are not read: {', '.join(s['not_read'])}. "
            "Rename them if this format has another name for them."
        ),
    ),
    Defect(
        "environment-unknown",
        lambda s: s["env_problem"],
        "Bounds, step limit and flags cannot be checked: {env_problem}.",
    ),
    Defect(
        "no-environment",
        lambda s: s["env_id"] is None and not s["env_given"],
        lambda s: (
            "The log names no environment. Give it with --env-id"
            + (f" {s['recommended_env']}." if s["recommended_env"] else _WITHOUT)
        ),
    ),
    Defect(
        "no-reference",
        lambda s: s["reference"] is None,
        "There are no reference returns, so scores are not normalised. Set the file's "
        "ref_min_score and ref_max_score (in an .npz: reference in metadata).",
    ),
)
