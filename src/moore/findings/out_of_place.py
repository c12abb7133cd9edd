"""What stands in other rows than it should, or in other forms than a plant has it, of a log."""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.choices import actions_are_choices
from moore.findings.idle_rewards import rewards_tell_nothing
from moore.findings.late_columns import late_columns
from moore.findings.left_out import left_out
from moore.findings.row_fits import RewardRows
from moore.findings.standardised import standardised_by_episode

if TYPE_CHECKING:
    from moore.data.dataset import Dataset


def summarize_places(log: "Log | Dataset", ends: np.ndarray, of_rewards: RewardRows) -> dict:
    """Sensors a row late, missing rows, episodes standardised by themselves, choices as actions.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
        of_rewards: the result of `reward_rows`.

    Returns:
        `late_columns`, `left_out` and `choices` in words, empty if there is nothing to say,
        `standardised`, a list of observation entries, and `idle_rewards`, whether no row tells its
        reward.
    """
    return {
        "late_columns": late_columns(log, ends),
        "left_out": left_out(log, ends),
        "standardised": standardised_by_episode(log, ends),
        "choices": actions_are_choices(log),
        "idle_rewards": rewards_tell_nothing(log, of_rewards),
    }
