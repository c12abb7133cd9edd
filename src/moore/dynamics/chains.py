"""Imagined chains: rollouts that go on from one round to the next, for on-policy learning.

A rollout from a logged state shows a policy where the log was, not where the policy itself comes
to. Here the rollouts of one round begin where those of the last one stopped, so that their states
become those of whole episodes. A chain that terminates, or by chance now and then, begins anew from
a given state.

Each chain asks the member that is its own, and one other for comparison: u is how much farther the
two are apart than members usually are on the log.
"""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.dynamics.ensemble import Ensemble, predict_two
from moore.dynamics.imagine import TerminationFn
from moore.ranges import Fraction, NonNegative, Positive
from moore.tables import Section

# (obs, key) -> a drawn action, which may lie beyond [-1, 1], for a batch.
DrawFn = Callable[[Float[Array, "batch obs"], PRNGKeyArray], Float[Array, "batch action"]]


@dataclass(frozen=True)
class ChainsConfig:
    """Settings of imagined chains."""

    price: NonNegative[float] = 0.25
    """Reward that a step costs where two models differ by twice as much as they usually do on the
    log; three times as much cost twice the price, and so on. With `scale_rewards` it is measured in
    divided rewards."""
    usual: Fraction = 0.9
    """Share of the log's rows on which two models differ by no more than usually."""
    most: Positive[float] = 5.0
    """Upper limit of a step's cost, as a multiple of `price`."""
    restart: Fraction = 0.003
    """Chance of a chain to begin anew at a step, although its episode has not ended."""
    first_share: Fraction = 0.5
    """Share of chains that begin anew from the first state of a logged episode. The others begin
    from states that the sampling scheme draws."""


SECTION = Section("chains", ChainsConfig, "Settings of imagined chains, rollouts that go on.")


class Trajectory(eqx.Module):
    """Steps of chains: what was done, and what came of it.

    Attributes:
        obs, action, reward, next_obs: s, a as it was drawn, r with its price, s'.
        terminated: the rule ended the episode at s'.
        cut: the chain was begun anew although nothing had ended.
        excess: u, see `excess`; its upper limit where the step led outside.
        outside: s' was predicted beyond the range, and cut to it.
    """

    obs: Float[Array, "*length chains obs"]
    action: Float[Array, "*length chains action"]
    reward: Float[Array, "*length chains"]
    next_obs: Float[Array, "*length chains obs"]
    terminated: Bool[Array, "*length chains"]
    cut: Bool[Array, "*length chains"]
    excess: Float[Array, "*length chains"]
    outside: Bool[Array, "*length chains"]


class Usual(eqx.Module):
    """How far apart two members usually are.

    `scale`: standard deviation of each output in the log. `distance`: a quantile of `two_apart`.
    """

    scale: Float[Array, " outputs"]
    distance: Float[Array, ""]


def two_apart(
    mean: Float[Array, "2 batch outputs"], scale: Float[Array, " outputs"]
) -> Float[Array, " batch"]:
    """How far two members' means are apart, as one member's error: in `scale`, over sqrt(2)."""
    return jnp.sqrt(0.5 * jnp.mean(((mean[0] - mean[1]) / scale[None]) ** 2, axis=-1))


def usual_distance(
    ensemble: Ensemble,
    obs: Float[Array, "rows obs"],
    action: Float[Array, "rows action"],
    outputs: Float[Array, "rows outputs"],
    quantile: float,
) -> Usual:
    """What two members usually differ by on rows of the log, a multiple of the elites of them.

    `outputs`: (r, s' - s) of these rows.
    """
    scale = jnp.maximum(jnp.std(outputs, axis=0), jnp.finfo(jnp.float32).eps)
    mean = predict_two(ensemble, jnp.concatenate([obs, action], axis=-1), jnp.asarray(1))
    distance = jnp.quantile(two_apart(mean, scale), quantile)
    return Usual(scale, jnp.maximum(distance, jnp.finfo(jnp.float32).eps))


def excess(
    mean: Float[Array, "2 batch outputs"], usual: Usual, most: float
) -> Float[Array, " batch"]:
    """u: 0 where two members differ as usual or less, 1 where they differ twice as much."""
    return jnp.clip(two_apart(mean, usual.scale) / usual.distance - 1.0, 0.0, most)


def roll_chains(
    ensemble: Ensemble,
    draw_action: DrawFn,
    terminated_fn: TerminationFn,
    chains: Float[Array, "chains obs"],
    fresh: Float[Array, "starts obs"],
    key: PRNGKeyArray,
    *,
    length: int,
    usual: Usual,
    config: ChainsConfig,
    within: tuple[Float[Array, " obs"], Float[Array, " obs"]],
) -> tuple[Float[Array, "chains obs"], Trajectory]:
    """`length` steps of every chain, by the members' means.

    The systems at hand have no noise of their own, and that of the members is their error of
    training: drawn anew at every step it doubles the error of rollouts (docs/learning.md).

    Args:
        ensemble: the models; there are equally many chains of each elite.
        draw_action: the policy. What it draws is clipped to [-1, 1] before it acts.
        terminated_fn: ends an episode.
        chains: the states that the chains have come to.
        fresh: states to begin anew from.
        key: key of everything that is drawn.
        length: number of steps.
        usual: how far apart members are on the log.
        config: the price of u, and how often chains begin anew.
        within: the lowest and highest observation.

    Returns:
        The states that the chains have come to, and the steps.
    """
    count, elites = chains.shape[0], ensemble.elites.shape[0]

    def step(obs: Float[Array, "chains obs"], step_key: PRNGKeyArray):
        key_action, key_other, key_cut, key_fresh = jax.random.split(step_key, 4)
        drawn = draw_action(obs, key_action)
        action = jnp.clip(drawn, -1.0, 1.0)
        other = jax.random.randint(key_other, (), min(1, elites - 1), elites)
        mean = predict_two(ensemble, jnp.concatenate([obs, action], axis=-1), other)
        predicted = obs + mean[0, :, 1:]
        next_obs = jnp.clip(predicted, within[0][None], within[1][None])
        outside = jnp.any(predicted != next_obs, axis=-1)
        u = jnp.where(outside, config.most, excess(mean, usual, config.most))
        terminated = jax.vmap(terminated_fn)(obs, action, next_obs)
        cut = jax.random.bernoulli(key_cut, config.restart, (count,)) & ~terminated
        new = fresh[jax.random.randint(key_fresh, (count,), 0, fresh.shape[0])]
        reward = mean[0, :, 0] - config.price * u
        row = Trajectory(obs, drawn, reward, next_obs, terminated, cut, u, outside)
        return jnp.where((terminated | cut)[:, None], new, next_obs), row

    return jax.lax.scan(step, chains, jax.random.split(key, length))
