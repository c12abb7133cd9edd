"""Imagined rollouts: lines 14 to 16 of Algorithm 1."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.dynamics.ensemble import Ensemble, Normaliser, predict_all, predict_own
from moore.dynamics.penalty import UncertaintyFn, of_std, penalised_reward
from moore.replay.buffer import Transition
from moore.shapes import to_rank_of

# (obs, action, next_obs) -> terminated, for one transition.
TerminationFn = Callable[
    [Float[Array, " obs"], Float[Array, " action"], Float[Array, " obs"]], Bool[Array, ""]
]
# (obs, key) -> sampled action, for a batch.
SampleFn = Callable[[Float[Array, "batch obs"], PRNGKeyArray], Float[Array, "batch action"]]


class ImaginedStep(eqx.Module):
    """One imagined step of a batch, before the penalty."""

    reward: Float[Array, " batch"]
    next_obs: Float[Array, "batch obs"]
    uncertainty: Float[Array, " batch"]


def imagine_step(
    ensemble: Ensemble,
    obs: Float[Array, "batch obs"],
    action: Float[Array, "batch action"],
    key: PRNGKeyArray,
    uncertainty_fn: UncertaintyFn | None = of_std,
    *,
    member: Int[Array, " batch"] | None = None,
    noise: bool = True,
) -> ImaginedStep:
    """s', r ~ M^(s, a): each row is a sample of one elite member, chosen uniformly for the row.

    Args:
        ensemble, obs, action, key: the models, (s, a) of each row, and what is drawn.
        uncertainty_fn: u; None: there is none, and each row asks one member alone: its own, as of
            `predict_own`, if `member` is given, and otherwise that of its place in an order that
            is drawn.
        member: the member of each row, where it is given.
        noise: whether the member's own noise is drawn, or its mean is taken.
    """
    key_noise, key_elite, key_judge = jax.random.split(key, 3)
    inputs = jnp.concatenate([obs, action], axis=-1)
    if uncertainty_fn is None:
        if member is None:
            order = jax.random.permutation(key_elite, obs.shape[0])
            back = jnp.argsort(order)
            mean, std = (x[back] for x in predict_own(ensemble, inputs[order]))
        else:
            mean, std = predict_own(ensemble, inputs)
        outcome = mean + std * jax.random.normal(key_noise, mean.shape) if noise else mean
        return ImaginedStep(outcome[:, 0], obs + outcome[:, 1:], jnp.zeros(obs.shape[0]))
    mean, std = predict_all(ensemble, inputs)
    if member is None:
        member = jax.random.choice(key_elite, ensemble.elites, (obs.shape[0],))
    row = jnp.arange(obs.shape[0])
    outcome = mean[member, row]
    if noise:
        outcome = outcome + std[member, row] * jax.random.normal(key_noise, mean.shape[1:])
    uncertainty = uncertainty_fn(obs, action, mean, std, key_judge)
    return ImaginedStep(outcome[:, 0], obs + outcome[:, 1:], uncertainty)


def rollout(
    ensemble: Ensemble,
    sample_action: SampleFn,
    terminated_fn: TerminationFn,
    starts: Float[Array, "batch obs"],
    key: PRNGKeyArray,
    *,
    length: int,
    penalty_coef: float | Float[Array, ""],
    obs_bound: float,
    spread: Normaliser | None = None,
    trusted: float | Float[Array, ""] = float("inf"),
    uncertainty_fn: UncertaintyFn | None = of_std,
    one_member: bool = False,
    noise: bool = True,
    within: tuple[Float[Array, " obs"], Float[Array, " obs"]] | None = None,
) -> tuple[Transition, Bool[Array, "length batch"], Float[Array, "length batch"]]:
    """`length` steps from every start; a row ends at its first predicted termination.

    A row also ends, without a transition, where the models leave the numbers: a non-finite
    prediction, or an entry further than `obs_bound` standard deviations from its mean; both are
    those of `spread`, 1 and 0 without one. And it ends after a transition that is more uncertain
    than `trusted`.

    `one_member`: each rollout keeps the elite member that it began with, which may be wrong but
    does not contradict itself (NEUBAY, arXiv 2512.04341), instead of a new one at every step
    (MBPO). Without `uncertainty_fn`, and with a multiple of the elites of rollouts, only that
    member is asked. `noise`: whether the member's own noise is drawn, or its mean is taken.
    `within`: the lowest and the highest observation; what is predicted beyond is cut to them.

    Returns:
        Transitions (length, batch) with penalised rewards; whether each of them happened (rows that
        had ended before did not); and the uncertainty u of each.
    """

    def step(carry, step_key):
        obs, alive = carry
        key_action, key_model = jax.random.split(step_key)
        action = sample_action(obs, key_action)
        outcome = imagine_step(
            ensemble, obs, action, key_model, uncertainty_fn, member=member, noise=noise
        )
        if within is not None:
            low, high = (to_rank_of(end, obs) for end in within)
            outcome = dataclasses.replace(outcome, next_obs=jnp.clip(outcome.next_obs, low, high))
        terminated = jax.vmap(terminated_fn)(obs, action, outcome.next_obs)
        reward = penalised_reward(outcome.reward, outcome.uncertainty, penalty_coef)
        happened = alive & _inside(outcome.next_obs, obs_bound, spread) & jnp.isfinite(reward)
        flags = terminated, jnp.zeros_like(terminated)
        transition = Transition(obs, action, reward, outcome.next_obs, *flags)
        goes_on = happened & ~terminated & (outcome.uncertainty <= trusted)
        next_obs = jnp.where(goes_on[:, None], outcome.next_obs, obs)
        return (next_obs, goes_on), (transition, happened, outcome.uncertainty)

    count, elites = starts.shape[0], ensemble.elites.shape[0]
    member = ensemble.elites[jnp.arange(count) * elites // count] if one_member else None
    if uncertainty_fn is None and count % elites:
        uncertainty_fn = of_std
    begun = starts, jnp.ones(count, bool)
    return jax.lax.scan(step, begun, jax.random.split(key, length))[1]


def _inside(
    obs: Float[Array, "batch obs"], bound: float, spread: Normaliser | None
) -> Bool[Array, " batch"]:
    """Whether every entry lies within the bound."""
    place = obs if spread is None else spread.applied(obs)
    return jnp.all(jnp.abs(place) < bound, axis=-1)
