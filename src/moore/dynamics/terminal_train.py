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
class Training:
    """How one kind of members is trained: Adam with cosine decay to 0."""

    learning_rate: float
    batch_size: int
    steps: int


@dataclass(frozen=True)
class TerminalConfig:
    """Constants of the fit, chosen on the Hopper logs.

    Attributes:
        members: in the ensemble.
        units: half-spaces of a member.
        sparsity: weights of a prior for borders across few entries, the sum over the units of
            ||u||_1 - 1, in nats of the likelihood of the training episodes. Half-spaces are tried
            with each of them in turn, then networks, until one is good enough.
        hidden: widths of the networks' hidden layers.
        weight_decay: of the networks, half their squared weights, in nats as well.
        half_spaces, networks: how they are trained.
        good_f1: on the calibration episodes, of a head that is good enough. If none is, the one
            with the lowest loss there is kept.
    """

    members: int = 5
    units: int = 8
    sparsity: tuple[float, ...] = (500.0, 5.0)
    hidden: tuple[int, ...] = (64, 64)
    weight_decay: float = 0.05
    half_spaces: Training = Training(learning_rate=1e-2, batch_size=512, steps=3000)
    networks: Training = Training(learning_rate=3e-3, batch_size=256, steps=1500)
    good_f1: float = 0.9


class Sample(eqx.Module):
    """Standardised inputs and ends of some rows; weights that make their means those of the log."""

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
    """Adam on every member's own draws; each keeps its best weights on the held-out rows.

    The loss is the negative log-likelihood of the log, with the prior, per terminal.
    """
    half_spaces = isinstance(members, HalfSpaces)
    plan = config.half_spaces if half_spaces else config.networks
    optimiser = optax.adam(optax.cosine_decay_schedule(plan.learning_rate, plan.steps))

    def strength(number: Array) -> Array:
        """Of the prior: half-spaces first find their border, then turn it towards an axis."""
        return jnp.clip(4.0 * number / plan.steps - 1.0, 0.0, 1.0) if half_spaces else jnp.ones(())

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
    """Rows of every member, by their cumulative probabilities; spread evenly over these."""
    members = cumulative.shape[0]
    places = (jnp.arange(count) + jax.random.uniform(key, (members, count))) / count
    rows = jax.vmap(jnp.searchsorted)(cumulative, places)
    return jnp.minimum(rows, cumulative.shape[1] - 1)


def _complexity(members: Members) -> Float[Array, ""]:
    """Minus the log of the prior with weight 1, summed over the members."""
    if isinstance(members, HalfSpaces):
        return jnp.sum(jnp.abs(direction(members.normal)).sum(axis=1) - 1.0)
    return 0.5 * sum((jnp.sum(layer.weight**2) for layer in members.layers), jnp.zeros(()))


def _cross_entropy(members: Members, sample: Sample) -> Float[Array, "members rows"]:
    count = jax.tree.leaves(members)[0].shape[0]
    log_odds = members(jnp.broadcast_to(sample.x, (count, *sample.x.shape)))
    return optax.sigmoid_binary_cross_entropy(log_odds, sample.terminated)


@jax.jit
def without_idle_units(members: HalfSpaces, train: Sample) -> HalfSpaces:
    """Moves units out of reach, one after the other, that the log's likelihood hardly misses.

    An idle unit still lies where it began, beyond the data, and would end the states there. Its
    price is that of the Bayesian information criterion for a direction, an offset and a sharpness:
    3 / 2 log(rows).

    Args:
        members: trained.
        train: rows with the weights of the log.
    """
    count, kinds = members.offset.shape
    units = members.units(jnp.broadcast_to(train.x, (count, *train.x.shape)))
    price = 1.5 * jnp.log(jnp.sum(train.weight))

    def nats(kept: Bool[Array, "members units"]) -> Float[Array, " members"]:
        odds = jax.nn.logsumexp(units, axis=-1, where=kept[:, None])
        log_odds = jnp.logaddexp(odds, members.floor[:, None])
        return optax.sigmoid_binary_cross_entropy(log_odds, train.terminated) @ train.weight

    def drop_one(_, kept: Bool[Array, "members units"]) -> Bool[Array, "members units"]:
        each = jnp.eye(kinds, dtype=bool)
        loss = jax.lax.map(lambda unit: nats(kept & ~unit), each).T - nats(kept)[:, None]
        loss = jnp.where(kept, loss, jnp.inf)
        idle = each[jnp.argmin(loss, axis=1)] & (jnp.min(loss, axis=1) < price)[:, None]
        return kept & ~idle

    kept = jax.lax.fori_loop(0, kinds, drop_one, jnp.ones((count, kinds), bool))
    offset = jnp.where(kept, members.offset, OUT_OF_REACH)
    return eqx.tree_at(lambda m: m.offset, members, offset)
