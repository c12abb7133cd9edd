"""Imagined rollouts: lines 14 to 16 of Algorithm 1."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.dynamics.ensemble import Ensemble, Normaliser, predict_all, predict_two
from moore.dynamics.penalty import UncertaintyFn, of_std, penalised_reward
from moore.replay.buffer import Transition

# (obs, action, next_obs) -> terminated, for one transition.
TerminationFn = Callable[
    [Float[Array, " obs"], Float[Array, " action"], Float[Array, " obs"]], Bool[Array, ""]
]
# (obs, key) -> sampled action, for a batch.
SampleFn = Callable[[Float[Array, "batch obs"], PRNGKeyArray], Float[Array, "batch action"]]


class Step(eqx.Module):
    """One imagined step of a batch, before the penalty. `doubt`: what halts a rollout."""

    reward: Float[Array, " batch"]
    next_obs: Float[Array, "batch obs"]
    uncertainty: Float[Array, " batch"]
    doubt: Float[Array, " batch"]


def imagine_step(
    ensemble: Ensemble,
    obs: Float[Array, "batch obs"],
    action: Float[Array, "batch action"],
    key: PRNGKeyArray,
    uncertainty_fn: UncertaintyFn = of_std,
    *,
    member: Int[Array, " batch"] | None = None,
    shift: Int[Array, ""] | None = None,
    noise: bool = True,
    doubt_fn: UncertaintyFn | None = None,
) -> Step:
    """s', r ~ M^(s, a): each row is a sample of one elite member, chosen uniformly for the row.

    Args:
        ensemble, obs, action, key: the models, (s, a) of each row, and what is drawn.
        uncertainty_fn: u.
        member: the member of each row, where it is given.
        shift: ask two elites a row alone, as of `predict_two`.
        noise: whether the member's own noise is drawn, or its mean is taken.
        doubt_fn: how much the members disagree; None: nothing is doubted.
    """
    key_noise, key_elite, key_judge = jax.random.split(key, 3)
    inputs = jnp.concatenate([obs, action], axis=-1)
    if shift is None:
        mean, std = predict_all(ensemble, inputs)
    else:
        mean, std = predict_two(ensemble, inputs, shift)
        member = jnp.zeros(obs.shape[0], jnp.int32)
    if member is None:
        member = jax.random.choice(key_elite, ensemble.elites, (obs.shape[0],))
    row = jnp.arange(obs.shape[0])
    outcome = mean[member, row]
    if noise:
        outcome = outcome + std[member, row] * jax.random.normal(key_noise, mean.shape[1:])
    uncertainty = uncertainty_fn(obs, action, mean, std, key_judge)
    doubt = jnp.zeros(obs.shape[0])
    if doubt_fn is not None:
        doubt = doubt_fn(obs, action, mean, std, key_judge)
    return Step(outcome[:, 0], obs + outcome[:, 1:], uncertainty, doubt)


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
    uncertainty_fn: UncertaintyFn = of_std,
    one_member: bool = False,
    two: bool = False,
    noise: bool = True,
    doubt_fn: UncertaintyFn | None = None,
    doubt_limit: float | Float[Array, ""] = float("inf"),
    within: tuple[Float[Array, " obs"], Float[Array, " obs"]] | None = None,
) -> tuple[Transition, Bool[Array, "length batch"], Float[Array, "length batch"]]:
    """`length` steps from every start; a row ends at its first predicted termination.

    A row also ends, without a transition, where the models leave the numbers: a non-finite
    prediction, or an entry further than `obs_bound` standard deviations from its mean; both are
    those of `spread`, 1 and 0 without one. And it ends after a transition that is more uncertain
    than `trusted`, or that the members doubt more than `doubt_limit`.

    `one_member`: each rollout keeps the elite member that it began with, which may be wrong but
    does not contradict itself (NEUBAY, arXiv 2512.04341), instead of a new one at every step
    (MBPO). `two`: only this member and one other, drawn anew at each step, are asked, and u and
    doubt are those of two; there are equally many rollouts of each elite. `noise`: as there.
    `within`: the lowest and the highest observation; what is predicted beyond is cut to them, as
    the limits of a system would.

    Returns:
        Transitions (length, batch) with penalised rewards; whether each of them happened (rows that
        had ended before did not); and the uncertainty u of each.
    """

    def step(carry, step_key):
        obs, alive = carry
        key_action, key_model = jax.random.split(step_key)
        shift = None
        if two:
            key_model, key_shift = jax.random.split(key_model)
            shift = jax.random.randint(key_shift, (), 1, ensemble.elites.shape[0])
        action = sample_action(obs, key_action)
        outcome = imagine_step(
            ensemble,
            obs,
            action,
            key_model,
            uncertainty_fn,
            member=member,
            shift=shift,
            noise=noise,
            doubt_fn=doubt_fn,
        )
        if within is not None:
            outcome = dataclasses.replace(outcome, next_obs=jnp.clip(outcome.next_obs, *within))
        terminated = jax.vmap(terminated_fn)(obs, action, outcome.next_obs)
        reward = penalised_reward(outcome.reward, outcome.uncertainty, penalty_coef)
        place = outcome.next_obs
        if spread is not None:
            place = (place - spread.mean) / spread.std
        inside = jnp.all(jnp.abs(place) < obs_bound, axis=-1)
        happened = alive & inside & jnp.isfinite(reward)
        transition = Transition(
            obs, action, reward, outcome.next_obs, terminated, jnp.zeros_like(terminated)
        )
        goes_on = happened & ~terminated & (outcome.uncertainty <= trusted)
        goes_on &= outcome.doubt <= doubt_limit
        next_obs = jnp.where(goes_on[:, None], outcome.next_obs, obs)
        return (next_obs, goes_on), (transition, happened, outcome.uncertainty)

    member = None
    if one_member:
        key, key_member = jax.random.split(key)
        member = jax.random.choice(key_member, ensemble.elites, (starts.shape[0],))
    alive = jnp.ones(starts.shape[0], bool)
    _, outputs = jax.lax.scan(step, (starts, alive), jax.random.split(key, length))
    return outputs
