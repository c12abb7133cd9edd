"""Lets the newest policy act only if the models judge it to be no worse than the acting one.

`moore.stages.gate` keeps what the acting policy has earned, and
`moore.experience.policy_comparison` says how the models judge.
"""

import dataclasses
from collections.abc import Sequence

from moore.experience.policy_comparison import NO_BAR
from moore.experience.protocol import Metrics
from moore.stages.gate import Gate, after_episodes, after_replacement, no_returns_yet
from moore.stages.learner import Learner, LearnerState
from moore.trees import copied


def pass_gate(
    learner: Learner,
    state: LearnerState,
    epoch: int,
    returns: Sequence[float] = (),
    *,
    in_episode: bool = True,
) -> tuple[LearnerState, Metrics]:
    """Lets the newest policy act from now on if the models accept it or need not be asked.

    Args:
        learner: the operations of Algorithm 1.
        state: the state after the last update.
        epoch: number of the epoch in the stage under way.
        returns: those of the episodes that ended since the last call, in the user's rewards.
        in_episode: whether an episode is running.

    Returns:
        the next state, and what the models said; no metrics without a gate.
    """
    if state.gate is None:
        return state, {}
    if not learner.asks_models:
        newest = dataclasses.replace(state.gate, acting=copied(learner.newest_policy(state)))
        return dataclasses.replace(state, gate=newest), {}
    settings = learner.config.gate
    with learner.clock("gate"):
        acting_returns = state.gate.acting_returns
        if settings.earned:
            acting_returns = after_episodes(
                acting_returns, [learner.units.reward_in(value) for value in returns]
            )
        accepted, policy, key, metrics = learner.ask_models(state, epoch, acting_returns.bar)
        if accepted:
            acting_returns = after_replacement(acting_returns, in_episode=in_episode)
            if settings.calibrated and not settings.earned:
                acting_returns = no_returns_yet(NO_BAR)  # the clone's worth is not this one's
        gate = Gate(policy, acting_returns)
        return dataclasses.replace(state, key=key, gate=gate), metrics
