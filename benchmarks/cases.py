"""The four inner operations of a run at the paper's sizes, on synthetic data."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from products import ensemble_products, gigaflop, numpy_products, rollout_products, sac_products

from moore.algorithms import find
from moore.config import Config
from moore.dynamics.fit import begin_fit, train_pass
from moore.envs.termination import hopper
from moore.experience.protocol import Moment, Task
from moore.presets import preset
from moore.replay.buffer import Replay, Ring, Transition, full_replay
from moore.replay.sampler import gather, sample_rows
from moore.replay.schemes import moore
from moore.stages.learner import Learner, LearnerState

# Of these sizes, moore's scheme draws half from each group at this epoch.
EPOCH = 4


@dataclass(frozen=True)
class Sizes:
    """What is timed. `updates` and `steps` are those of one call of their compiled loops."""

    obs: int = 11
    action: int = 3
    log_rows: int = 400_000
    online_rows: int = 100_000
    updates: int = 100
    steps: int = 100
    draws: tuple[int, ...] = (256, 100_000)
    config: Config = field(default_factory=lambda: preset("paper/hopper-medium-replay"))


@dataclass(frozen=True)
class Case:
    """An operation, and the same work in NumPy.

    Attributes:
        unit: what the times are given for; a call of `ours` or of `numpys` does `units` of them.
        work: of one unit, by what it is counted in.
        ours: takes what `prepare` returns, and returns when the results are there.
        prepare: not timed.
    """

    unit: str
    units: int
    work: dict[str, float]
    ours: Callable[[Any], Any]
    numpys: Callable[[], Any]
    prepare: Callable[[], Any] = lambda: None


def synthetic(rows: int, sizes: Sizes, seed: int) -> Transition:
    """Rows near an upright Hopper at rest: height 1.25, all else near 0."""
    rng = np.random.default_rng(seed)
    obs, change = 0.01 * rng.standard_normal((2, rows, sizes.obs), np.float32)
    obs[:, 0] += 1.25
    action = rng.uniform(-1.0, 1.0, (rows, sizes.action)).astype(np.float32)
    reward = rng.standard_normal(rows, np.float32)
    ends = np.zeros(rows, bool)
    columns = (obs, action, reward, obs + change, ends, ends)
    return Transition(*map(jnp.asarray, columns))


def setup(sizes: Sizes) -> tuple[Learner, LearnerState]:
    """A learner in the online stage, its buffers full."""

    def group(rows: int, seed: int) -> Replay:
        # One row is held out: the comparison that ends a pass of a fit is not what is timed.
        known, key = np.ones(rows, bool), jax.random.key(seed)
        data = synthetic(rows, sizes, seed)
        return full_replay(data, known, key, holdout_fraction=0.2, max_holdout=1)

    row = find("moore")
    task = Task(sizes.config, row.agent, group(sizes.log_rows, 1), hopper, scheme=moore())
    learner = Learner(row, task)
    state = learner.init(jax.random.key(0))
    capacity = state.experience.imagined.capacity
    # One array each: the program that fills the ring is given them to overwrite.
    size, cursor, room = (jnp.asarray(count, jnp.int32) for count in (capacity, 0, capacity))
    imagined = Ring(synthetic(capacity, sizes, 2), size, cursor, room)
    return learner, replace(
        state,
        experience=replace(state.experience, imagined=imagined),
        online=group(sizes.online_rows, 3),
    )


def update_case(sizes: Sizes) -> Case:
    learner, state = setup(sizes)
    config = sizes.config.sac
    products = sac_products(sizes.obs, sizes.action, config.hidden, config.batch_size)

    def ours(_) -> None:
        nonlocal state
        state, _ = learner.update(state, EPOCH, sizes.updates)
        jax.block_until_ready(state.agent)

    work, numpys = {"gigaflop": gigaflop(products)}, numpy_products(products, sizes.updates)
    return Case("1 update", sizes.updates, work, ours, numpys)


def ensemble_case(sizes: Sizes) -> Case:
    learner, state = setup(sizes)
    config, steps = sizes.config.model, sizes.steps
    products = ensemble_products(
        sizes.obs, sizes.action, config.hidden, batch=config.batch_size, members=config.members
    )
    groups = learner.offline, state.online, _share(learner, state)
    rows, seeds = steps * config.batch_size, itertools.count()

    def prepare():
        # Other rows at every call: those of the call before may be in a cache.
        key = jax.random.key(next(seeds))
        return jax.block_until_ready(begin_fit(state.experience.model, *groups, key, rows))

    def ours(fit) -> None:
        jax.block_until_ready(train_pass(fit, *groups, rows, steps, config))

    work, numpys = {"gigaflop": gigaflop(products)}, numpy_products(products, steps)
    return Case("1 step", steps, work, ours, numpys, prepare)


def standing_still(state: LearnerState) -> LearnerState:
    """With models that predict next to no change, so that every rollout has its full length."""

    def parts(s: LearnerState):
        networks = s.experience.model.ensemble.networks
        return networks.mean_head, networks.max_log_var

    head, high = parts(state)
    return eqx.tree_at(parts, state, (jax.tree.map(jnp.zeros_like, head), high - 10.0))


def rollout_case(sizes: Sizes) -> Case:
    learner, state = setup(sizes)
    state, config = standing_still(state), sizes.config
    model, chunk, length = config.model, config.rollout_chunk, config.rollout_length
    products = rollout_products(
        sizes.obs,
        sizes.action,
        model.hidden,
        actor_hidden=config.sac.hidden,
        batch=chunk,
        members=model.members,
    )

    def ours(_) -> dict:
        nonlocal state
        now = learner.moment(state, EPOCH)
        found = learner.models.imagine(state.experience, now, state.key, chunk)
        experience, key, metrics = found
        state = replace(state, experience=experience, key=key)
        return jax.block_until_ready((state, metrics))[1]

    work, numpys = {"gigaflop": gigaflop(products)}, numpy_products(products, length)
    return Case(f"{chunk} transitions", length, work, ours, numpys)


def _share(learner: Learner, state: LearnerState) -> jax.Array:
    now = Moment("online", EPOCH, state.agent, state.online)
    return jnp.float32(learner.task.draws(now).online_share())


@partial(jax.jit, static_argnames=("count",))
def draw_many(keys, groups, count: int) -> Transition:
    def draw(key):
        offline, online, share = groups
        rows = sample_rows(key, (count,), offline, online, share, train_only=False)
        return gather(offline, online, rows)

    return jax.lax.map(draw, keys)


@partial(jax.jit, static_argnames=("count",))
def rows_of_many(keys, groups, count: int) -> jax.Array:
    """The rows behind `draw_many`."""
    return jax.lax.map(lambda k: sample_rows(k, (count,), *groups, train_only=False), keys)


def sampling_case(sizes: Sizes, count: int) -> Case:
    """Draws of `count` rows in a compiled loop; NumPy gathers the same rows without drawing."""
    learner, state = setup(sizes)
    groups = learner.offline, state.online, _share(learner, state)
    keys = jax.random.split(jax.random.key(0), max(1, max(sizes.draws) // count))
    rows = np.asarray(rows_of_many(keys, groups, count))
    both = [jax.tree.leaves(group.data) for group in groups[:2]]
    columns = [np.concatenate(pair) for pair in zip(*both, strict=True)]

    def ours(_) -> Transition:
        return jax.block_until_ready(draw_many(keys, groups, count))

    def numpys() -> list:
        return [[column[chosen] for column in columns] for chosen in rows]

    gigabyte = count * sum(column[0].nbytes for column in columns) / 1e9
    return Case(f"{count} rows", len(rows), {"rows": count, "gigabyte": gigabyte}, ours, numpys)
