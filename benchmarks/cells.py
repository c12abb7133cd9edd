"""Many learners in one program: the inner operations with a leading axis of cells.

A cell is a learner's state: its agent, its models, its imagined data, its online data and its key.
All cells share the log.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from cases import EPOCH, standing_still, synthetic
from cases import Sizes as CaseSizes
from products import ensemble_products, gigaflop, rollout_products, sac_products

from moore.algorithms import find
from moore.config import Config
from moore.dynamics.fit import Fit, begin_fit, train_pass
from moore.envs.termination import never
from moore.experience import rollouts
from moore.experience.diagnostics import observed_range
from moore.experience.learning import gradient_steps
from moore.experience.partly_imagined import PartlyImagined
from moore.experience.protocol import Task
from moore.experience.settings import rollout_settings
from moore.presets import preset
from moore.replay.buffer import Replay, Ring, full_replay
from moore.replay.schemes import moore
from moore.stages.learner import Learner, LearnerState

# Number formats of the models that are timed and compared.
FORMATS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Sizes:
    """What is timed.

    Attributes:
        obs, action: entries of an observation and of an action.
        log_rows, online_rows, imagined_rows: in each buffer.
        updates, steps: updates of the agent, and steps of the models, in a call.
        rollouts: rollouts in a call of each cell.
        product: side of the square matrices whose product tells what the device reaches.
        config: of the run that seeds an hour are counted for.
    """

    obs: int = 17
    action: int = 6
    log_rows: int = 100_000
    online_rows: int = 25_000
    imagined_rows: int = 100_000
    updates: int = 100
    steps: int = 50
    rollouts: int = 10_000
    product: int = 4096
    config: Config = field(
        default_factory=lambda: preset("laptop/halfcheetah-medium-replay", algorithm="moore")
    )


def small() -> Sizes:
    """Sizes that say nothing about speed; every program is the same but for its shapes."""
    config = preset("laptop/halfcheetah-medium-replay", algorithm="moore")
    config = dataclasses.replace(
        config,
        sac=dataclasses.replace(config.sac, hidden=(16, 16), batch_size=16),
        model=dataclasses.replace(
            config.model,
            hidden=(16, 16),
            weight_decay=(0.0,) * 4,
            batch_size=16,
            members=3,
            elites=2,
        ),
    )
    return Sizes(4, 2, 200, 50, 200, 3, 2, 20, 64, config)


@dataclass(frozen=True)
class Timed:
    """A program that is timed.

    Attributes:
        unit: what is counted.
        units: of one call, all cells together.
        gigaflop: of the matrix products of one call.
        call: does it once.
        memory: bytes that the compiled program needs, its arguments included; None: unknown.
    """

    unit: str
    units: int
    gigaflop: float
    call: Callable[[], Any]
    memory: int | None


class Cells:
    """The learners, and their programs."""

    def __init__(self, sizes: Sizes, count: int, compute: str):
        """`count` cells whose models compute in the format `compute`."""
        model = dataclasses.replace(sizes.config.model, compute=compute)
        self.sizes, self.count = sizes, count
        self.config = dataclasses.replace(sizes.config, model=model)
        row = find("moore")
        log = self.log_of(sizes.log_rows, 1)
        self.learner = Learner(row, Task(self.config, row.agent, log, never, scheme=moore()))
        self.log = log
        self.keys = jax.random.split(jax.random.key(0), count)
        self.state = self._stacked()
        online_share = moore().online_share(EPOCH, sizes.online_rows, sizes.log_rows)
        self.share = jnp.full((), online_share, jnp.float32)

    def log_of(self, rows: int, seed: int) -> Replay:
        """Made rows, one of them held out."""
        data = synthetic(rows, CaseSizes(obs=self.sizes.obs, action=self.sizes.action), seed)
        known, key = np.ones(rows, bool), jax.random.key(seed)
        return full_replay(data, known, key, holdout_fraction=0.2, max_holdout=1)

    def _stacked(self) -> LearnerState:
        sizes, state = self.sizes, jax.jit(jax.vmap(self.learner.init))(self.keys)
        # Models that predict no change: every rollout has its full length.
        state = standing_still(state)
        rows = synthetic(sizes.imagined_rows, CaseSizes(obs=sizes.obs, action=sizes.action), seed=2)
        size, cursor = (jnp.asarray(n, jnp.int32) for n in (sizes.imagined_rows, 0))
        ring = Ring(rows, size, cursor, jnp.asarray(sizes.imagined_rows, jnp.int32))
        both = self._repeated((ring, self.log_of(sizes.online_rows, 3)))
        return eqx.tree_at(lambda s: (s.experience.imagined, s.online), state, both)

    def _repeated(self, tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jnp.tile(leaf[None], (self.count, *(1,) * leaf.ndim)), tree
        )

    def update(self) -> Timed:
        """Updates of the agent on batches from D_model."""
        learner, sizes, state = self.learner, self.sizes, self.state
        sac = learner.agent_config
        how, planned = PartlyImagined(sac.batch_size, 0), jnp.zeros((sizes.updates, 0), jnp.int32)

        def one(agent, imagined, online, key, log):
            keys = jax.random.split(key, sizes.updates)
            learned, _, metrics = gradient_steps(
                agent, None, imagined, planned, log, online, keys,
                how=how, agent=learner.algorithm.agent, agent_config=sac,
            )  # fmt: skip
            return learned, metrics

        shared = state.experience.imagined, state.online, self.keys, self.log
        flop = gigaflop(sac_products(sizes.obs, sizes.action, sac.hidden, sac.batch_size))
        return self._timed("update", sizes.updates, flop * sizes.updates, one, state.agent, shared)

    def fit(self) -> Timed:
        """Steps of the ensemble."""
        sizes, model, share = self.sizes, self.config.model, self.share
        draws = sizes.steps * model.batch_size

        def one(fit: Fit, online, log):
            trained, _, error = train_pass(fit, log, online, share, draws, sizes.steps, model)
            return trained, error

        def begin(state, online, key, log):
            return begin_fit(state, log, online, share, key, draws)

        state, axes = self.state, (0, 0, 0, None)
        fits = jax.jit(jax.vmap(begin, in_axes=axes))(
            state.experience.model, state.online, self.keys, self.log
        )
        # Networks and their best ones are the same arrays, and both are given away.
        fits = jax.tree.map(jnp.copy, fits)
        shape = {"batch": model.batch_size, "members": model.members}
        flop = gigaflop(ensemble_products(sizes.obs, sizes.action, model.hidden, **shape))
        shared = state.online, self.log
        return self._timed("model step", sizes.steps, flop * sizes.steps, one, fits, shared)

    def imagine(self) -> Timed:
        """Rollouts into D_model."""
        learner, sizes, config, state = self.learner, self.sizes, self.config, self.state
        agent, model = learner.algorithm.agent, config.model
        settings = rollout_settings(config, learner.agent_config.discount, sizes.rollouts)
        seen, coef = observed_range(self.log), jnp.full((), config.penalty_coef)
        steps = sizes.rollouts * config.rollout_length

        def one(ring, policy, networks, online, key, log):
            key_rows, key_rollout = jax.random.split(key)
            rows = jax.random.randint(key_rows, (sizes.rollouts,), 0, log.capacity)
            return rollouts.imagine(
                ring, policy, networks, log, online, seen, rows, coef, key_rollout,
                agent=agent, terminated_fn=learner.task.terminated_fn, settings=settings,
            )  # fmt: skip

        products = rollout_products(
            sizes.obs, sizes.action, model.hidden, actor_hidden=learner.agent_config.hidden,
            batch=sizes.rollouts, members=model.members,
        )  # fmt: skip
        shared = (agent.policy(state.agent), state.experience.model, state.online, self.keys,
                  self.log)  # fmt: skip
        flop = gigaflop(products) * config.rollout_length
        ring = state.experience.imagined
        return self._timed("imagined step", steps, flop, one, ring, shared)

    def _timed(self, unit: str, units: int, flop: float, one: Callable, changed: Any, shared: Any):
        """The operation of all cells in a compiled program that overwrites `changed`."""
        changed = jax.tree.map(jnp.copy, changed)
        axes = (0, *(0,) * (len(shared) - 1), None)
        program = jax.jit(jax.vmap(one, in_axes=axes), donate_argnums=0)
        compiled = program.lower(changed, *shared).compile()

        def call() -> None:
            nonlocal changed
            changed, told = compiled(changed, *shared)
            jax.block_until_ready((changed, told))

        count = self.count
        return Timed(unit, units * count, flop * count, call, program_bytes(compiled))


def program_bytes(compiled: Any) -> int | None:
    """Bytes of a compiled program on its device: arguments, results, and what it needs between."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    both = found.argument_size_in_bytes + found.output_size_in_bytes
    return both + found.temp_size_in_bytes - found.alias_size_in_bytes


def product(side: int, compute: str) -> Timed:
    """The product of two square matrices: what the device reaches."""
    a, b = (jax.random.normal(jax.random.key(n), (side, side)).astype(compute) for n in (0, 1))
    multiply = jax.jit(jnp.matmul)
    flop = 2 * side**3 / 1e9
    return Timed("product", 1, flop, lambda: jax.block_until_ready(multiply(a, b)), None)


def seconds(timed: Timed, repeats: int) -> Iterator[float]:
    """Seconds of each call; the first one is left out."""
    for number in range(1 + repeats):
        begin = time.perf_counter()
        timed.call()
        if number:
            yield time.perf_counter() - begin
