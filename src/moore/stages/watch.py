"""What a run measures of its models and policies beside learning; no result depends on it.

Each function answers with nothing where the configuration wants no diagnostics, or where there are
no models.
"""

import jax

from moore.stages import diagnostics, programs
from moore.stages.diagnostics import Snapshot
from moore.stages.learner import Learner, LearnerState
from moore.stages.programs import Metrics


def wanted(learner: Learner) -> bool:
    """Whether there is anything to measure, and it is asked for."""
    return learner.imagines and learner.config.diagnostics


def surprise(learner: Learner, state: LearnerState) -> Metrics:
    """Before line 13: how well the models predict the transitions since the last refit."""
    if not wanted(learner):
        return {}
    with learner.clock("diagnose"):
        count = learner.config.online.refit_every
        return programs.surprise_of_newest(state.model.ensemble, state.online, count)


def snapshot(learner: Learner, state: LearnerState) -> Snapshot | None:
    """The policy and its models, to compare the next epoch's with."""
    return diagnostics.copied(_pair(learner, state)) if wanted(learner) else None


def _pair(learner: Learner, state: LearnerState) -> Snapshot:
    valued = learner.config.uncertainty == "value"
    critics = state.agent if valued else None
    return Snapshot(learner.policy(state), state.model.ensemble, critics)


def compare_epochs(
    learner: Learner, old: Snapshot | None, state: LearnerState, epoch: int
) -> dict[str, float]:
    """What the theory says of the step from `old` to this epoch."""
    if old is None:
        return {}
    with learner.clock("diagnose"):
        count = diagnostics.probes(learner.config.rollout_length)
        key = diagnostics.own_key(learner.config.seed, epoch)
        key_starts, key_rollout = jax.random.split(key)
        found = diagnostics.compare_epochs(
            old,
            _pair(learner, state),
            learner.offline,
            state.online,
            learner.draws(epoch, state).rows(key_starts, (count,)),
            key_rollout,
            state.penalty_coef,
            agent=learner.algorithm.agent,
            terminated_fn=learner.terminated_fn,
            config=programs.rollout_settings(learner.config, count),
            spread=learner.spread,
        )
        return learner.reported({name: float(value) for name, value in found.items()})


def imagined_episodes(learner: Learner, state: LearnerState) -> dict[str, float]:
    """Whole episodes of the evaluated policy in the models, always from the same few states."""
    if not wanted(learner) or learner.first_states is None:
        return {}
    with learner.clock("diagnose"):
        key = diagnostics.own_key(learner.config.seed, 0)
        key_starts, key_rollout = jax.random.split(key)
        few = (diagnostics.EPISODES,)
        rows = jax.random.randint(key_starts, few, 0, len(learner.first_states))
        found = diagnostics.imagine_episodes(
            learner.policy(state),
            state.model.ensemble,
            learner.first_states[rows],
            key_rollout,
            agent=learner.algorithm.agent,
            terminated_fn=learner.terminated_fn,
            config=programs.rollout_settings(learner.config, diagnostics.EPISODES),
            steps=learner.episode_steps,
            spread=learner.spread,
        )
        return learner.reported({name: float(value) for name, value in found.items()})
