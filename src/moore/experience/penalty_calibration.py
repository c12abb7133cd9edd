"""Calibrates the penalty coefficient: lambda u must cover the models' one-step error in value.

MOPO's guarantee needs lambda u(s, a) to be at least the effect of the models' one-step error on the
return, |r^ - r + gamma (E V(s^') - E V(s'))| (Yu et al. 2020, section 4.2). A critic measures this
error on held-out transitions, which the models are not fitted to.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.dynamics.ensemble import Ensemble, Normaliser, predict_all
from moore.dynamics.imagine import TerminationFn
from moore.dynamics.inputs import inputs_and_targets
from moore.experience.settings import RolloutSettings
from moore.experience.uncertainty import make_uncertainty
from moore.lockstep.program import program
from moore.replay.buffer import Replay, take


@program(static_argnames=("agent", "terminated_fn", "settings", "coverage"))
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
    """The smallest lambda for which lambda u >= error on the share `coverage` of the held-out rows.

    The error is the largest over the members, each judged by its mean prediction.

    Args:
        agent_state: state of the agent whose critics value the states.
        ensemble: models that were not fitted to the holdout.
        log: the log, whose holdout is used.
        key: key of the actions at which the critics value a state. It is the same for real and
            imagined states, so that they do not differ by chance.
        agent, terminated_fn, settings: define u and the discount.
        coverage: share of the rows, see above.
        spread: the unit of `imagined_bound`.
    """
    holdout = take(log.data, log.holdout_rows)
    mean, std = predict_all(ensemble, inputs_and_targets(holdout)[0])
    uncertainty_fn = make_uncertainty(settings, agent, agent_state, terminated_fn, spread)
    value_of = agent.value
    assert uncertainty_fn is not None and value_of is not None
    obs, action = jnp.asarray(holdout.obs), jnp.asarray(holdout.action)
    u = uncertainty_fn(obs, action, mean, std, key)
    goes_on = 1.0 - jnp.asarray(holdout.terminated).astype(jnp.float32)
    discount = settings.discount

    def value(obs: Float[Array, "rows obs"]) -> Float[Array, " rows"]:
        return goes_on * value_of(agent_state, obs, key)

    real = holdout.reward + discount * value(jnp.asarray(holdout.next_obs))
    imagined = jax.vmap(lambda member: member[:, 0] + discount * value(obs + member[:, 1:]))(mean)
    error = jnp.max(jnp.abs(imagined - real[None]), axis=0)
    there = jnp.arange(error.shape[0]) < log.holdout_size
    ratio = jnp.where(there, error / u, jnp.nan)
    return jnp.nanquantile(ratio, coverage)
