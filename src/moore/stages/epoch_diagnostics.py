"""Measurements of models and policies during a run; no result depends on them.

Each function returns nothing if the configuration turns diagnostics off or there are no models.
"""

import jax

from moore.experience import diagnostics
from moore.experience.diagnostics import PolicyInModels
from moore.experience.protocol import Models
from moore.experience.settings import rollout_settings
from moore.stages.learner import Learner, LearnerState
from moore.trees import copied


def wanted(learner: Learner) -> Models | None:
    """The models to measure; None if there are none, or the configuration asks for no numbers."""
    return learner.models if learner.config.diagnostics else None


def policy_in_models(learner: Learner, state: LearnerState) -> PolicyInModels | None:
    """The policy and its models, to compare the next epoch's with."""
    return None if wanted(learner) is None else copied(_pair(learner, state))


def _pair(learner: Learner, state: LearnerState) -> PolicyInModels:
    valued = learner.config.uncertainty == "value"
    critics = state.agent if valued else None
    return PolicyInModels(learner.policy(state), state.experience.model.ensemble, critics)


def compare_epochs(
    learner: Learner, old: PolicyInModels | None, state: LearnerState, epoch: int
) -> dict[str, float]:
    """The quantities of the theory for the step from `old` to this epoch."""
    models = wanted(learner)
    if old is None or models is None:
        return {}
    with learner.clock("diagnose"):
        count = diagnostics.probes(learner.config.rollout_length)
        key = diagnostics.own_key(learner.config.seed, epoch)
        key_starts, key_rollout = jax.random.split(key)
        drawn = learner.task.draws(learner.moment(state, epoch)).rows(key_starts, (count,))
        log, rows = learner.task.read(drawn)
        found = diagnostics.compare_epochs(
            old,
            _pair(learner, state),
            log,
            state.online,
            rows,
            key_rollout,
            state.experience.penalty_coef,
            agent=learner.algorithm.agent,
            terminated_fn=learner.terminated_fn,
            settings=rollout_settings(learner.config, learner.agent_config.discount, count),
            spread=models.spread,
            within=models.within(state.online),
        )
        return learner.reported({name: float(value) for name, value in found.items()})


def imagined_episodes(learner: Learner, state: LearnerState) -> dict[str, float]:
    """Metrics of whole episodes of the evaluated policy in the models, from the same few states."""
    models, first_states = wanted(learner), learner.task.first_states
    if models is None or first_states is None:
        return {}
    with learner.clock("diagnose"):
        key = diagnostics.own_key(learner.config.seed, 0)
        key_starts, key_rollout = jax.random.split(key)
        few = (diagnostics.EPISODES,)
        rows = jax.random.randint(key_starts, few, 0, len(first_states))
        found = diagnostics.imagine_episodes(
            learner.policy(state),
            state.experience.model.ensemble,
            first_states[rows],
            key_rollout,
            agent=learner.algorithm.agent,
            terminated_fn=learner.terminated_fn,
            settings=rollout_settings(
                learner.config, learner.agent_config.discount, diagnostics.EPISODES
            ),
            steps=learner.episode_steps,
            spread=models.spread,
            within=models.within(state.online),
        )
        return learner.reported({name: float(value) for name, value in found.items()})
