"""Compares what a run has met in its system with the log: other units, sensors that stand still."""

import numpy as np

from moore.data.dataset import Dataset
from moore.findings.resets import ITSELF, SystemSteps, resets_itself
from moore.findings.scales import far_outside, opposite_signs
from moore.findings.steps import SAMPLE
from moore.replay.buffer import Transition
from moore.stages.learner import Learner
from moore.stages.state import LearnerState

_FEW = 20  # transitions say nothing
_MOST = 0.5  # of the rows
_STILL = 0.95  # of the steps
_EPISODES = 3


def newest_rows(learner: Learner, state: LearnerState, count: int) -> Transition:
    """The newest rows of D_on (at most `count`, fewer if there are fewer), in the user's units."""
    size = int(state.online.size)
    data, rows = state.online.data, slice(max(size - count, 0), size)
    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
    return learner.units.transition_out(
        Transition(**{name: np.asarray(getattr(data, name)[rows]) for name in names})
    )


def unlike_the_log(met: Transition, log: Dataset, limit: int | None = None) -> dict[str, str]:
    """Sentences on what the log never shows, by kind; empty if there is nothing to tell.

    Of a large log only some rows are looked at, since this is done after each epoch.

    Args:
        met: (n,) real transitions in the order of time, in the user's units.
        log: the log.
        limit: steps after which an episode of evaluation is cut; None if it is a guess.
    """
    if len(met.reward) < _FEW:
        return {}
    some = slice(None, None, max(1, log.size // SAMPLE))
    told = {
        "reward": _other_rewards(np.asarray(met.reward), log.reward[some]),
        "obs": _other_observations(np.asarray(met.obs), log.obs[some]),
        "still": _still(met, log, some),
        "limit": _other_limit(met, log, limit),
    }
    return {kind: text for kind, text in told.items() if text}


def _other_rewards(met: np.ndarray, logged: np.ndarray) -> str:
    far = far_outside(met[:, None], logged[:, None], share=_MOST)
    if not far and not opposite_signs(met, logged):
        return ""
    return (
        f"the rewards of the system are about {float(np.mean(met, dtype=np.float64)):.4g} a step, "
        f"in the log between {logged.min():.4g} and {logged.max():.4g}; are their units the same, "
        "and both rewards, not costs?"
    )


def _other_observations(met: np.ndarray, logged: np.ndarray) -> str:
    far = far_outside(met, logged, share=_MOST)
    return (
        ""
        if not far
        else (
            "most observations of the system hold values that the log never holds, in entries "
            f"{far}; are units and order the same?"
        )
    )


def _still(met: Transition, log: Dataset, some: slice) -> str:
    """Sensors that show the same from step to step, though perhaps not in all episodes."""
    moving = (log.obs[1:][some] != log.obs[:-1][some]).mean(axis=0) > _MOST
    still = np.flatnonzero(moving & ((met.next_obs == met.obs).mean(axis=0) >= _STILL)).tolist()
    return (
        ""
        if not still
        else (
            f"observation entries {still} have stood still from step to step in {len(met.obs):,} "
            "steps, which they do not in the log; look at these sensors."
        )
    )


def _other_limit(met: Transition, log: Dataset, limit: int | None) -> str:
    """Episodes that the system cuts earlier than the environment of evaluation, all alike.

    Nothing is told where those of the log are as short. So they are in a table whose last row in an
    episode has no successor, and in the next table of the same kind.
    """
    ends = np.flatnonzero(met.terminated | met.truncated)
    lengths = np.diff(ends)
    if limit is None or len(lengths) < _EPISODES or not met.truncated[ends].all():
        return ""
    if lengths.min() != lengths.max() or lengths[0] >= limit:
        return ""
    if len(log.episode_lengths) and np.median(log.episode_lengths) == lengths[0]:
        return ""
    return (
        f"the system cuts its episodes after {lengths[0]} steps; the policy is learned, and "
        f"evaluated if there is a simulator, for episodes of {limit}."
    )


def seems_reset(met: Transition) -> str:
    """A sentence where the system resets itself before it shows how an episode has ended.

    Args:
        met: (n,) real transitions in the order of time, in the user's units; as many as there are,
            because ends are few.
    """
    steps = SystemSteps(*(np.asarray(x) for x in (met.obs, met.action, met.next_obs)))
    found = resets_itself(steps, np.asarray(met.terminated), np.asarray(met.truncated))
    return ITSELF.format(who="the system") if found else ""
