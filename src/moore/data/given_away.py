"""Whether observations hold what is only known after they were made: the row's action or reward."""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 2000  # rows, evenly spaced
_FEW = 20  # rows say nothing
_MOST = 0.99  # of the rows


def given_away(log: "Log | Dataset") -> dict[str, list]:
    """Observation entries that equal an action entry, or the reward, of their own row.

    Columns that keep one value in most rows are left out, since two of them may agree by chance.

    Args:
        log: the rows.

    Returns:
        `action_in_obs`: pairs (observation entry, action entry); `reward_in_obs`: entries.
    """
    rows = slice(None, None, max(1, -(-log.size // _SAMPLE)))
    obs, action = (np.asarray(x[rows], np.float32) for x in (log.obs, log.action))
    reward = np.asarray(log.reward[rows], np.float32).reshape(len(obs), -1)
    if len(obs) < _FEW or reward.shape[1] != 1:
        return {"action_in_obs": [], "reward_in_obs": []}
    pairs = [
        (int(entry), dim) for dim in range(action.shape[1]) for entry in _same(obs, action[:, dim])
    ]
    return {"action_in_obs": pairs, "reward_in_obs": _same(obs, reward[:, 0]).tolist()}


def _same(obs: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The entries (k,) that equal a column (m,) that varies."""
    _, counts = np.unique(column, return_counts=True)
    if counts.max() > 0.5 * len(column):
        return np.zeros(0, int)
    return np.flatnonzero((obs == column[:, None]).mean(axis=0) >= _MOST)
