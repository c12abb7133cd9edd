"""Whether rewards have nothing to do with the rows in which they stand, nor with those beside them.

Rewards in another order than the rows look so, and rewards of what is not observed. Those of other
episodes go along with the rows a little by chance, as all that changes slowly does. Rewards that
are the same in most rows say nothing: a few events are hard to foretell.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.row_fits import RewardRows, numbers, unexplained

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_MANY = 1000  # rows; fewer fit anything
_OPEN = 0.98  # share of the variance that observations, actions and successors leave open
_MOST = 0.5  # of the rows have one and the same reward
_FAR = 10.0  # ranges of the middle half of the rewards, beyond which they are cut


def rewards_tell_nothing(log: "Log | Dataset", of_rewards: RewardRows) -> bool:
    """Whether no row, nor the one before or after, tells its reward, with squares and products.

    Args:
        log: the rows.
        of_rewards: the result of `reward_rows`.
    """
    rows, seen, reward = of_rewards.rows, of_rewards.seen, np.asarray(log.reward)
    if len(rows) < _MANY or seen is None or reward.size != len(log.obs):
        return False
    reward = reward.reshape(-1)
    values = np.stack([numbers(reward, rows + lag) for lag in (-1, 0, 1)], axis=1)
    if not np.isfinite(values).all():
        return False
    low, high = np.quantile(values, (0.25, 0.75))
    values = np.clip(values, low - _FAR * (high - low), high + _FAR * (high - low))
    common = np.unique(values[:, 1], return_counts=True)[1].max()
    if common > _MOST * len(rows) or (values.std(axis=0) == 0).any():
        return False
    return bool((unexplained(seen, values) >= _OPEN * values.var(axis=0)).all())
