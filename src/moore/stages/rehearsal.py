"""Learning in the refitted models from the policy that acts, in the middle of the online stage.

The agent of the system learns from real rows, a step at a time. Between two of its epochs the agent
of the offline stage can go on from the policy that acts, in models that have seen where it goes by
now: on HalfCheetah-medium, after 25 epochs, twelve epochs in the models took a policy that earned
6717 to 7128, which 100 of the system's steps could not have told. What the models promise may be
wrong all the same, so the policy that comes out is only the goal of trials (`line_search.py`).
"""

import dataclasses

import jax
from jaxtyping import PyTree

from moore.experience.policy_comparison import doubt_about
from moore.experience.protocol import OnPass
from moore.stages.learner import Learner, LearnerState
from moore.stages.offline import learn_in_models
from moore.trees import copied


def rehearse(
    learner: Learner,
    state: LearnerState,
    *,
    epochs: int,
    earned: float | None = None,
    on_pass: OnPass | None = None,
) -> tuple[LearnerState, PyTree | None]:
    """Learns as in the offline stage, from the policy that acts and in the newest models.

    Args:
        learner: its algorithm has models, and an agent of its own for the offline stage.
        state: in the online stage.
        epochs: number of epochs as long as those of the offline stage.
        earned: what the policy that acts earns in an episode, in the agent's units: the agent keeps
            the closer to it, the more the models are wrong about that. None: unknown.
        on_pass: function that is called before each epoch with the number of epochs that are done,
            and without errors of models; it may raise an error to stop.

    Returns:
        the state with the next key, and the policy; None if the models do not promise more of it.
    """
    key, key_init, key_learn = jax.random.split(state.key, 3)
    state = dataclasses.replace(state, key=key)
    with learner.clock("rehearse"):
        offline = _begun(learner, state, key_init, key_learn, earned)
        for done in range(epochs):
            if on_pass is not None:
                on_pass(done, ())
            offline, _ = learn_in_models(learner, offline, done + 1)
        _, found = learner.compare_newest(offline, epochs)
    least = learner.config.gate.confidence * float(found["gate/standard_error"])
    promised = float(found["gate/gain"]) > least
    return state, learner.newest_policy(offline) if promised else None


def _begun(
    learner: Learner, state: LearnerState, key_init: jax.Array, key: jax.Array, earned: float | None
) -> LearnerState:
    """The state of an offline stage in the newest models, with the acting policy to begin with."""
    fresh = learner.init(key_init)
    models = copied(learner.experience.pack_hand_over(state.experience))
    offline = dataclasses.replace(
        fresh,
        experience=learner.experience.unpack_hand_over(fresh.experience, models),
        key=key,
        gate=state.gate,
    )
    offline, seen = learner.compare_newest(offline, 1)
    predicted = float(seen["gate/return"] - seen["gate/gain"])
    doubt = 1.0 if earned is None else doubt_about(predicted, earned)
    agent, config = learner.algorithm.agent, learner.agent_config
    begun = agent.begin_with(offline.agent, learner.policy(state), config, doubt)
    return dataclasses.replace(offline, agent=begun)
