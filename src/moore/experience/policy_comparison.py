"""Compares a new policy with the acting one in the models: is it no worse, and by how much.

For any policy pi_t, and pi_{t+1} in the models M_{t+1}, the corrected theory (docs/theory.md, the
one-sided drop bound and the no-degradation corollary) says

    eta(pi_t) - eta(pi_{t+1}) <= [eta~(pi_t) - eta~(pi_{t+1})] + lambda [U(pi_t) - U(pi_{t+1})]
                                 + the models' errors along both policies,

where eta~ = eta^ - lambda U is the models' return with the penalty. Where lambda u covers the
errors, eta~ is a lower bound of the real return. So the gate asks for eta~(pi_{t+1}) >= eta~(pi_t):
the new policy must not owe its return to steps that the models know little about.

Both policies roll out from the same states with the same random numbers. The difference of their
penalised returns must be at least `confidence` standard errors above zero, and the new policy's
must not lie below the bar. An imagined episode that becomes non-finite or exceeds `imagined_bound`
earns nothing from there on. With negative rewards that would be an advantage, so the new policy may
not have more such episodes than the acting one.

The metrics: gate/gain, the mean difference of the returns (a discounted sum is divided by the share
of the horizon in the discounted time); gate/standard_error; gate/uncertainty_gain, the difference
of U, if there is a lambda; gate/return, the predicted return of the candidate; gate/bar;
gate/broken, the share of its episodes that became non-finite or left the bound; gate/accepted.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.dynamics.ensemble import Ensemble, Normaliser
from moore.dynamics.imagine import TerminationFn
from moore.experience.diagnostics import ObsRange, PolicyInModels, sums
from moore.experience.settings import RolloutSettings
from moore.lockstep.program import program

# Calibrated, as shares of what the clone's part of the log has earned or the models say. What a
# clone earns is known to a fifth or so (docs/results/clone-parts.csv), so less is no gain; models
# that are wrong about it by more than the second share are not believed (docs/learning.md). After
# the clone, gains of less than the third are mostly errors that a policy has found.
LEAST_GAIN, MOST_WRONG, LEAST_FURTHER_GAIN = 0.2, 0.15, 0.05
# Stands for no bar: a policy need not reach any return.
NO_BAR = -float("inf")
# Largest share of a candidate's imagined episodes that may become non-finite or leave the bound.
# Above it the models' verdict is not trusted.
MOST_BROKEN = 0.5


def beyond_their_error(
    predicted: Float[Array, ""], earned: float | Float[Array, ""]
) -> Float[Array, ""]:
    """What the models must say of a candidate, given what they say of the acting policy.

    Infinite where they are too wrong about that policy to be believed.

    `earned`: what the acting policy has earned; NO_BAR if that is unknown.
    """
    error, size = jnp.abs(predicted - earned), jnp.abs(earned)
    needed = jnp.where(error > MOST_WRONG * size, jnp.inf, jnp.maximum(error, LEAST_GAIN * size))
    further = LEAST_FURTHER_GAIN * jnp.abs(predicted)
    return predicted + jnp.where(jnp.isfinite(earned), needed, further)


def doubt_about(predicted: float, earned: float, size: float | None = None) -> float:
    """How wrong the models are about a policy that has earned this, as a share of what they may.

    1 is the limit beyond which `beyond_their_error` does not believe them. `size`: what errors are
    measured against; the size of `earned` by default.
    """
    return abs(predicted - earned) / allowed(abs(earned) if size is None else size)


def allowed(size: float) -> float:
    """The largest error about a return of this size with which the models are believed."""
    return max(MOST_WRONG * size, float(np.finfo(np.float32).tiny))


@program(
    static_argnames=(
        "agent", "terminated_fn", "settings", "discount", "confidence", "calibrated", "drawn",
    ),
)  # fmt: skip
def compare_policies(
    acting: PyTree,
    candidate: PyTree,
    ensemble: Ensemble,
    starts: Float[Array, "count obs"],
    penalty_coef: Float[Array, ""] | None,
    key: PRNGKeyArray,
    *,
    agent: Agent,
    terminated_fn: TerminationFn,
    settings: RolloutSettings,
    discount: float,
    confidence: float,
    bar: float | Float[Array, ""] = NO_BAR,
    calibrated: bool = False,
    agent_state: PyTree = None,
    spread: Normaliser | None = None,
    within: ObsRange | None = None,
    drawn: bool = True,
) -> tuple[Bool[Array, ""], PyTree, dict[str, Float[Array, ""]]]:
    """Whether the candidate may act, the policy that acts from now on, and metrics (see above).

    Args:
        acting, candidate: the policies.
        ensemble: the newest models.
        starts: the states to start from.
        penalty_coef: lambda; with None only the returns are compared, and u is not computed.
        key: key of the rollouts.
        agent, terminated_fn, settings, discount: define a rollout; its length is the horizon.
        confidence, bar: what the difference of the returns, and the candidate's, must reach.
        calibrated: the bar is what the acting policy has earned, if that is known. The models say
            something else of it, and the candidate must exceed that by more than their error.
        agent_state: state of the agent whose critics measure u, if `uncertainty` is "value".
        spread: the unit of `imagined_bound`.
        within: range that imagined observations are clipped to.
        drawn: whether the policies' actions are drawn, as they are in the system, or not.
    """
    if penalty_coef is None:  # nothing is asked of u, which takes longer than the rollouts
        settings = dataclasses.replace(settings, uncertainty="none")

    def estimate(policy: PyTree):
        pair = PolicyInModels(policy, ensemble, agent_state)
        return sums(
            pair, starts, key, agent, terminated_fn, settings, discount, spread, within, drawn
        )

    (u_old, eta_old, broken_old), (u_new, eta_new, broken) = estimate(acting), estimate(candidate)
    new, old = eta_new, eta_old
    if penalty_coef is not None:
        new, old = eta_new - penalty_coef * u_new, eta_old - penalty_coef * u_old
    bar = beyond_their_error(jnp.mean(old), bar) if calibrated else bar
    accepted, metrics = _verdict(new, old, bar, confidence)
    accepted &= (broken.sum() <= broken_old.sum()) & (jnp.mean(broken) <= MOST_BROKEN)
    chosen = jax.tree.map(lambda x, y: jnp.where(accepted, x, y), candidate, acting)
    metrics |= {"gate/broken": jnp.mean(broken), "gate/accepted": accepted.astype(jnp.float32)}
    if penalty_coef is not None:
        metrics["gate/uncertainty_gain"] = jnp.mean(u_new - u_old)
    return accepted, chosen, metrics


def _verdict(
    new: Float[Array, " count"],
    old: Float[Array, " count"],
    bar: float | Float[Array, ""],
    confidence: float,
) -> tuple[Bool[Array, ""], dict[str, Float[Array, ""]]]:
    """Whether the returns of the new policy are high enough, beside the old one's and the bar."""
    gains = new - old
    error = jnp.std(gains) / jnp.sqrt(gains.shape[0])
    enough = (jnp.mean(gains) >= confidence * error) & (jnp.mean(new) >= bar)
    return enough, {
        "gate/gain": jnp.mean(gains),
        "gate/standard_error": error,
        "gate/return": jnp.mean(new),
        "gate/bar": jnp.where(jnp.isfinite(bar), bar, jnp.nan),
    }
