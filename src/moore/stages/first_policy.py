"""The first policy that acts: a clone of the log, where the configuration asks for one."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from moore.agents.bc import BCConfig
from moore.experience.part import part_of
from moore.experience.policy_comparison import doubt_about
from moore.experience.protocol import Metrics
from moore.stages.clone import clone_metrics, fit_clone, floor_gate
from moore.stages.learner import Learner, LearnerState


def why_not_believed(row: Mapping) -> str:
    """Why the gate of the offline stage believes nothing of the models; empty if it may.

    Args:
        row: metrics of the clone, in the user's units.
    """
    predicted, earned = row.get("clone/model_return"), row.get("clone/part_return")
    if predicted is None or earned is None or doubt_about(predicted, earned) <= 1.0:
        return ""
    return (
        f"of the clone, whose episodes in the log earned {earned:.1f}, the models say "
        f"{predicted:.1f}, so they are not believed; where these episodes were lucky ones, "
        "--gate.no-calibrated believes them"
    )


def begin_with_clone(learner: Learner, state: LearnerState) -> tuple[LearnerState, Metrics]:
    """Clones the log's better part; the clone acts, unless the log has nothing to clone.

    Args:
        learner: the operations of Algorithm 1.
        state: the state after `learner.start`, before the first epoch of the offline stage.

    Returns:
        the next state, and what is told of the clone, in the user's units.
    """
    gate, agent, config = learner.config.gate, learner.algorithm.agent, learner.agent_config
    with learner.clock("clone"):
        key, key_clone = jax.random.split(state.key)
        log, sizes = learner.offline, BCConfig(hidden=config.hidden)
        clone = fit_clone(log, part_of(log), key_clone, sizes)
        state, told = dataclasses.replace(state, key=key), clone_metrics(clone, learner.units)
        if clone.too_poor:
            return state, told
        begun = agent.begin_with(state.agent, clone.actor, config)
        earned = gate.earned or gate.calibrated
        floor = floor_gate(clone, earned=earned) if learner.gated else None
        state = dataclasses.replace(state, agent=begun, gate=floor)
        if not (gate.calibrated and learner.asks_models):
            return state, told
        state, seen = learner.compare_newest(state, 1)
        predicted = float(seen["gate/return"] - seen["gate/gain"])
        doubt = doubt_about(predicted, clone.part.mean_return)
        begun = agent.begin_with(state.agent, clone.actor, config, doubt)
        told |= {"clone/model_return": jnp.asarray(learner.units.reward_out(predicted))}
        return dataclasses.replace(state, agent=begun), told
