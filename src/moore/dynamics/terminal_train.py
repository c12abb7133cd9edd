"""Training the members of a learned end of an episode (`moore.dynamics.terminal_fit`)."""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.dynamics.terminal import HalfSpaces, Members, direction

# Gradient steps between two looks at the calibration episodes.
ROUND = 100
# Standard deviations: no state gets there.
OUT_OF_REACH = 1e9


@dataclass(frozen=True)
class MemberTraining:
    """Settings of Adam, with cosine decay to 0, for one kind of members."""

    learning_rate: float
    batch_size: int
    steps: int


@dataclass(frozen=True)
class TerminalConfig:
    """Constants of the fit, chosen on the Hopper logs.

    Attributes:
        members: number of members in the ensemble.
        units: number of half-spaces of a member.
        sparsity: weights of a prior that prefers borders in few entries, the sum over the units of
            ||u||_1 - 1, in nats of the likelihood of the training episodes. Half-spaces are tried
            with each weight in turn, then networks, until a head is good enough.
        hidden: widths of the networks' hidden layers.
        weight_decay: factor of half the networks' squared weights in the loss, in nats as well.
        half_spaces, networks: training settings of the two kinds of members.
        good_f1: a head with at least this F1 on the calibration episodes is good enough. If there
            is none, the head with the lowest loss there is kept.
    """

    members: int = 5
    units: int = 8
    sparsity: tuple[float, ...] = (500.0, 5.0)
    hidden: tuple[int, ...] = (64, 64)
    weight_decay: float = 0.05
    half_spaces: MemberTraining = MemberTraining(learning_rate=1e-2, batch_size=512, steps=3000)
    networks: MemberTraining = MemberTraining(learning_rate=3e-3, batch_size=256, steps=1500)
    good_f1: float = 0.9


class Sample(eqx.Module):
    """Standardised inputs and ends of some rows, with weights that correct for the sampling."""

    x: Float[Array, "rows inputs"]
    terminated: Float[Array, " rows"]
    weight: Float[Array, " rows"]


@partial(jax.jit, static_argnames=("config",))
def train_members(
    members: Members,
    train: Sample,
    cumulative: Float[Array, "members rows"],
    held_out: Sample,
    key: PRNGKeyArray,
    prior: float | Array,
    terminals: float | Array,
    config: TerminalConfig,
) -> Members:
    """Trains every member on its own draws; each keeps its best weights on the held-out rows.

    The loss is the negative log-likelihood of the log plus the prior, per terminal.
    """
    half_spaces = isinstance(members, HalfSpaces)
    plan = config.half_spaces if half_spaces else config.networks
    optimiser = optax.adam(optax.cosine_decay_schedule(plan.learning_rate, plan.steps))

    def strength(number: Array) -> Array:
        """Weight of the prior; it grows, so half-spaces find a border before they align to axes."""
        if not half_spaces:
            return jnp.ones(())
        return jnp.clip(4.0 * number.astype(jnp.float32) / plan.steps - 1.0, 0.0, 1.0)

    def loss(members: Members, rows: Array, number: Array) -> Array:
        y, weight = train.terminated[rows], train.weight[rows]
        entropy = optax.sigmoid_binary_cross_entropy(members(train.x[rows]), y)
        penalty = prior * strength(number) * _complexity(members)
        return (jnp.mean(weight * entropy, axis=1).sum() + penalty) / terminals

    def step(carry, key):
        members, opt_state, number = carry
        gradient = jax.grad(loss)(members, _draw(cumulative, plan.batch_size, key), number)
        change, opt_state = optimiser.update(gradient, opt_state)
        return (optax.apply_updates(members, change), opt_state, number + 1), None

    def one_round(carry, key):
        training, best, best_loss = carry
        training, _ = jax.lax.scan(step, training, jax.random.split(key, ROUND))
        members, _, number = training
        loss = _cross_entropy(members, held_out) @ held_out.weight
        better = (loss < best_loss) & (strength(number) == 1.0)
        best = jax.tree.map(
            lambda new, old: jnp.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old),
            members,
            best,
        )
        return (training, best, jnp.where(better, loss, best_loss)), None

    start = members, optimiser.init(members), jnp.zeros((), jnp.int32)
    rounds = jax.random.split(key, plan.steps // ROUND)
    worst = jnp.full(config.members, jnp.inf)
    (_, best, _), _ = jax.lax.scan(one_round, (start, members, worst), rounds)
    return best


def _draw(
    cumulative: Float[Array, "members rows"], count: int, key: PRNGKeyArray
) -> Int[Array, "members count"]:
    """Draws rows for every member, stratified over its cumulative probabilities."""
    members = cumulative.shape[0]
    begins = jnp.arange(count, dtype=jnp.float32)[None]
    places = (begins + jax.random.uniform(key, (members, count))) / count
    rows = jax.vmap(jnp.searchsorted)(cumulative, places)
    return jnp.minimum(rows, cumulative.shape[1] - 1)


def _complexity(members: Members) -> Float[Array, ""]:
    """The negative log of the prior with weight 1, summed over the members."""
    if isinstance(members, HalfSpaces):
        return jnp.sum(jnp.abs(direction(members.normal)).sum(axis=1) - 1.0)
    return 0.5 * sum((jnp.sum(layer.weight**2) for layer in members.layers), jnp.zeros(()))


def _cross_entropy(members: Members, sample: Sample) -> Float[Array, "members rows"]:
    count = jax.tree.leaves(members)[0].shape[0]
    log_odds = members(jnp.broadcast_to(sample.x, (count, *sample.x.shape)))
    return optax.sigmoid_binary_cross_entropy(log_odds, sample.terminated[None])


@jax.jit
def without_idle_units(members: HalfSpaces, train: Sample) -> HalfSpaces:
    """Moves idle units out of reach, one after the other.

    An idle unit is one that the likelihood of the log hardly needs. It still lies where it began,
    beyond the data, and would wrongly end the states there. A unit has to gain more than the
    Bayesian information criterion asks for a direction, an offset and a sharpness, 3 / 2 log(rows).

    Args:
        members: trained members.
        train: training rows with the weights of the log.
    """
    count, kinds = members.offset.shape
    units = members.units(jnp.broadcast_to(train.x, (count, *train.x.shape)))
    price = 1.5 * jnp.log(jnp.sum(train.weight))

    def nats(kept: Bool[Array, "members units"]) -> Float[Array, " members"]:
        odds = jax.nn.logsumexp(units, axis=-1, where=kept[:, None])
        log_odds = jnp.logaddexp(odds, members.floor[:, None])
        return optax.sigmoid_binary_cross_entropy(log_odds, train.terminated[None]) @ train.weight

    def drop_one(_, kept: Bool[Array, "members units"]) -> Bool[Array, "members units"]:
        each = jnp.eye(kinds, dtype=bool)
        loss = jax.lax.map(lambda unit: nats(kept & ~unit[None]), each).T - nats(kept)[:, None]
        loss = jnp.where(kept, loss, jnp.inf)
        idle = each[jnp.argmin(loss, axis=1)] & (jnp.min(loss, axis=1) < price)[:, None]
        return kept & ~idle

    kept = jax.lax.fori_loop(0, kinds, drop_one, jnp.ones((count, kinds), bool))
    offset = jnp.where(kept, members.offset, OUT_OF_REACH)
    return eqx.tree_at(lambda m: m.offset, members, offset)
