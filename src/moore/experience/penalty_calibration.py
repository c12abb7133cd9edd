"""The penalty coefficient from the log: lambda u covers the models' one-step error in value.

MOPO's guarantee needs lambda u(s, a) to be at least the models' one-step error as the return feels
it, |r^ - r + gamma (E V(s^') - E V(s'))| (Yu et al. 2020, section 4.2). With a critic at hand that
error can be measured on transitions that the models have not been fitted to.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.dynamics.ensemble import Ensemble, Normaliser, predict_all
from moore.dynamics.imagine import TerminationFn
from moore.dynamics.inputs import inputs_and_targets
from moore.experience.settings import RolloutSettings
from moore.experience.uncertainty import make_uncertainty
from moore.replay.buffer import Replay, take


@partial(jax.jit, static_argnames=("agent", "terminated_fn", "settings", "coverage"))
def calibrate_penalty(
    agent_state: PyTree,
    ensemble: Ensemble,
    log: Replay,
    key: PRNGKeyArray,
    *,
    agent: Agent,
    terminated_fn: TerminationFn,
    settings: RolloutSettings,
    coverage: float,
    spread: Normaliser | None = None,
) -> Float[Array, ""]:
    """The smallest lambda with lambda u >= error on the share `coverage` of the held-out rows.

    The error is that of each member's mean prediction, and the largest of the members counts.

    Args:
        agent_state: whose critics value the states.
        ensemble: not fitted to the holdout.
        log: with its holdout.
        key: of the actions that the critics judge; the same ones at the real and at every imagined
            state, so that these do not differ by what was drawn.
        agent, terminated_fn, settings: what u is, and the discount.
        coverage: see above.
        spread: what `imagined_bound` counts in.
    """
    holdout = take(log.data, log.holdout_rows)
    mean, std = predict_all(ensemble, inputs_and_targets(holdout)[0])
    uncertainty_fn = make_uncertainty(settings, agent, agent_state, terminated_fn, spread)
    u = uncertainty_fn(holdout.obs, holdout.action, mean, std, key)
    goes_on = 1.0 - holdout.terminated.astype(jnp.float32)
    discount = settings.discount

    def value(obs: Float[Array, "rows obs"]) -> Float[Array, " rows"]:
        return goes_on * agent.value(agent_state, obs, key)

    real = holdout.reward + discount * value(holdout.next_obs)
    imagined = jax.vmap(
        lambda member: member[:, 0] + discount * value(holdout.obs + member[:, 1:])
    )(mean)
    error = jnp.max(jnp.abs(imagined - real), axis=0)
    there = jnp.arange(error.shape[0]) < log.holdout_size
    ratio = jnp.where(there, error / u, jnp.nan)
    return jnp.nanquantile(ratio, coverage)
