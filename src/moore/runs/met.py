"""Compares what a run has met in its system with the log: other units, sensors that stand still."""

import numpy as np

from moore.data.dataset import Dataset
from moore.data.scales import far_outside
from moore.data.steps import SAMPLE
from moore.replay.buffer import Transition
from moore.stages.learner import Learner
from moore.stages.state import LearnerState

_FEW = 20  # transitions say nothing
_MOST = 0.5  # of the rows


def newest_rows(learner: Learner, state: LearnerState, count: int) -> Transition:
    """The newest rows of D_on (at most `count`, fewer if there are fewer), in the user's units."""
    size = int(state.online.size)
    data, rows = state.online.data, slice(max(size - count, 0), size)
    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
    return learner.units.transition_out(
        Transition(**{name: np.asarray(getattr(data, name)[rows]) for name in names})
    )


def unlike_the_log(met: Transition, log: Dataset) -> dict[str, str]:
    """Sentences on what the log never shows, by kind; empty if there is nothing to tell.

    Of a large log only some rows are looked at, since this is done after each epoch.

    Args:
        met: (n,) real transitions in the order of time, in the user's units.
        log: the log.
    """
    if len(met.reward) < _FEW:
        return {}
    found, some = {}, slice(None, None, max(1, log.size // SAMPLE))
    obs, reward = log.obs[some], log.reward[some]
    far = far_outside(met.reward[:, None], reward[:, None], share=_MOST)
    if far:
        mean = float(np.mean(met.reward, dtype=np.float64))
        found["reward"] = (
            f"the rewards of the system are about {mean:.4g} a step, in the log between "
            f"{reward.min():.4g} and {reward.max():.4g}; are their units the same?"
        )
    far = far_outside(met.obs, obs, share=_MOST)
    if far:
        found["obs"] = (
            "most observations of the system hold values that the log never holds, in entries "
            f"{far}; are units and order the same?"
        )
    moving = (log.obs[1:][some] != log.obs[:-1][some]).mean(axis=0) > _MOST
    still = np.flatnonzero(moving & (met.obs == met.obs[0]).all(axis=0)).tolist()
    if still:
        found["still"] = (
            f"observation entries {still} have stood still for {len(met.obs):,} steps, which they "
            "do not in the log; look at these sensors."
        )
    return found
