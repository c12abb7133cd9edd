"""The gate: the policy that acts is replaced only by one that the models find no worse.

For a policy pi_t of whatever origin and pi_{t+1} in the models M_{t+1}, the corrected theory
(docs/theory.md, the one-sided drop bound and the no-degradation corollary) says

    eta(pi_t) - eta(pi_{t+1}) <= [eta~(pi_t) - eta~(pi_{t+1})] + lambda [U(pi_t) - U(pi_{t+1})]
                                 + the models' errors along both policies,

where eta~ = eta^ - lambda U is the models' return with the penalty. Where lambda u covers the
errors, eta~ is a lower bound of the real return. The gate asks for eta~(pi_{t+1}) >= eta~(pi_t):
the new policy must not live from steps that the models know little about.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from moore.algorithms import Agent
from moore.config import Config
from moore.dynamics.ensemble import Ensemble
from moore.dynamics.imagine import TerminationFn
from moore.replay.buffer import Replay
from moore.replay.sampler import gather
from moore.stages.diagnostics import Snapshot, sums


@partial(jax.jit, static_argnames=("agent", "terminated_fn", "config", "discount", "confidence"))
def judge(
    acting: PyTree,
    candidate: PyTree,
    ensemble: Ensemble,
    offline: Replay,
    online: Replay,
    rows: Int[Array, " count"],
    penalty_coef: Float[Array, ""],
    key: PRNGKeyArray,
    *,
    agent: Agent,
    terminated_fn: TerminationFn,
    config: Config,
    discount: float,
    confidence: float,
    agent_state: PyTree = None,
) -> tuple[Bool[Array, ""], PyTree, dict[str, Float[Array, ""]]]:
    """Whether the candidate may act, who acts from now on, and the comparison.

    Both policies roll out from the same states with the same random numbers; the difference of
    their penalised returns must be at least `confidence` standard errors above zero.

    Args:
        acting, candidate: policies.
        ensemble: the newest models.
        offline, online, rows: the states to start from, as joint indices.
        penalty_coef: lambda.
        key: of the rollouts.
        agent, terminated_fn, config, discount: what a rollout is; its length is the horizon.
        confidence: see above.
        agent_state: whose critics tell the uncertainty, where it is one of values.

    Returns:
        accepted; the policy that acts from now on; and gate/gain, the mean difference (a
        discounted sum, divided by the share of the discounted time that the horizon is),
        gate/standard_error, gate/uncertainty_gain, the same of U, and gate/accepted.
    """
    starts = gather(offline, online, rows).obs

    def estimate(policy: PyTree):
        pair = Snapshot(policy, ensemble, agent_state)
        return sums(pair, starts, key, agent, terminated_fn, config, discount)

    (u_old, eta_old), (u_new, eta_new) = estimate(acting), estimate(candidate)
    gains = (eta_new - penalty_coef * u_new) - (eta_old - penalty_coef * u_old)
    error = jnp.std(gains) / jnp.sqrt(rows.shape[0])
    accepted = jnp.mean(gains) >= confidence * error
    chosen = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), candidate, acting)
    metrics = {
        "gate/gain": jnp.mean(gains),
        "gate/standard_error": error,
        "gate/uncertainty_gain": jnp.mean(u_new - u_old),
        "gate/accepted": accepted.astype(jnp.float32),
    }
    return accepted, chosen, metrics
