"""What learns: the state of a run and the compiled operations on it.

The operations are those of Algorithm 1: `act` and `observe` face the system, `refit`, `imagine` and
`update` learn. Each takes a frozen state and returns a new one; big buffers are donated, so the old
state must not be used again.
"""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.algorithms import Agent, Algorithm
from moore.config import Config
from moore.dynamics.fit import FitReport, ModelState, fit_ensemble, init_model
from moore.dynamics.imagine import TerminationFn, rollout
from moore.errors import InputError
from moore.replay.buffer import (
    Replay,
    Ring,
    Transition,
    append,
    empty_replay,
    empty_ring,
    push,
)
from moore.replay.sampler import gather, sample, sample_ring, sample_rows
from moore.replay.schedule import Scheme

Metrics = dict[str, Float[Array, ""]]


class LearnerState(eqx.Module):
    """Everything that learning changes, and so everything that a checkpoint needs of it."""

    agent: PyTree
    model: ModelState | None
    imagined: Ring
    online: Replay
    key: PRNGKeyArray


@dataclass
class Clock:
    """Seconds spent in each named part of a run."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, part: str):
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - start


@partial(jax.jit, static_argnames=("agent",))
def _act(agent_state: PyTree, obs: Array, key: PRNGKeyArray, agent: Agent):
    key, key_action = jax.random.split(key)
    return agent.act(agent_state, obs, key_action), key


@partial(jax.jit, static_argnames=("action_dim",))
def _act_randomly(key: PRNGKeyArray, action_dim: int):
    key, key_action = jax.random.split(key)
    return jax.random.uniform(key_action, (action_dim,), minval=-1.0, maxval=1.0), key


@partial(jax.jit, static_argnames=("holdout_fraction",), donate_argnames=("online",))
def _observe(
    online: Replay, transition: Transition, key: PRNGKeyArray, holdout_fraction: float
) -> tuple[Replay, PRNGKeyArray]:
    key, key_split = jax.random.split(key)
    return append(online, transition, key_split, holdout_fraction=holdout_fraction), key


@partial(
    jax.jit,
    static_argnames=("agent", "terminated_fn", "config", "count"),
    donate_argnames=("imagined",),
)
def _imagine(
    imagined: Ring,
    agent_state: PyTree,
    model: ModelState,
    offline: Replay,
    online: Replay,
    online_share: Float[Array, ""],
    key: PRNGKeyArray,
    *,
    agent: Agent,
    terminated_fn: TerminationFn,
    config: Config,
    count: int,
) -> tuple[Ring, PRNGKeyArray, Metrics]:
    """`count` rollouts into D_model, a chunk at a time so that memory stays bounded."""
    key, key_starts, key_rollout = jax.random.split(key, 3)
    rows = sample_rows(key_starts, (count,), offline, online, online_share, train_only=False)
    chunks = -(-count // config.rollout_chunk)
    # The last chunk is filled up with repeats of row 0, which are not kept.
    padded = jnp.zeros(chunks * config.rollout_chunk, jnp.int32).at[:count].set(rows)
    wanted = jnp.arange(chunks * config.rollout_chunk) < count

    def roll_chunk(ring: Ring, chunk):
        chunk_rows, chunk_wanted, chunk_key = chunk
        starts = gather(offline, online, chunk_rows).obs
        transitions, happened, uncertainty = rollout(
            model.ensemble,
            lambda obs, k: agent.act(agent_state, obs, k),
            terminated_fn,
            starts,
            chunk_key,
            length=config.rollout_length,
            penalty_coef=config.penalty_coef,
            obs_bound=config.imagined_bound,
        )
        happened = happened & chunk_wanted
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), transitions)
        ring = push(ring, flat, happened.reshape(-1))
        goes_on = happened & ~transitions.terminated
        due = jnp.concatenate([chunk_wanted[None], goes_on[:-1]])
        return ring, (happened, due, uncertainty, transitions.reward, transitions.terminated)

    shape = (chunks, config.rollout_chunk)
    imagined, outcome = jax.lax.scan(
        roll_chunk,
        imagined,
        (padded.reshape(shape), wanted.reshape(shape), jax.random.split(key_rollout, chunks)),
    )
    metrics = _rollout_metrics(*outcome, config)
    metrics["model/rollout_steps"] = outcome[0].sum() / count
    metrics["replay/online_share"] = jnp.mean(rows >= offline.capacity)
    return imagined, key, metrics


def _rollout_metrics(happened, due, uncertainty, reward, terminated, config: Config) -> Metrics:
    """Statistics over the imagined transitions that happened, and over those that were due."""
    total = jnp.maximum(happened.sum(), 1)
    mean = jnp.where(happened, uncertainty, 0.0).sum() / total
    p20, p80 = jnp.nanpercentile(
        jnp.where(happened, uncertainty, jnp.nan), jnp.asarray([20.0, 80.0])
    )
    return {
        "model/uncertainty_mean": mean,
        "model/uncertainty_p20": p20,
        "model/uncertainty_p80": p80,
        "model/imagined_reward": jnp.where(happened, reward, 0.0).sum() / total
        + config.penalty_coef * mean,
        "model/imagined_terminated": (terminated & happened).sum() / total,
        # Not finite, or beyond the bound: the rollout ended there and nothing was kept.
        "model/imagined_dropped": (due & ~happened).sum() / jnp.maximum(due.sum(), 1),
    }


@partial(
    jax.jit,
    static_argnames=("agent", "agent_config", "updates", "real_rows", "batch_size"),
    donate_argnames=("agent_state",),
)
def _update(
    agent_state: PyTree,
    imagined: Ring,
    offline: Replay,
    online: Replay,
    online_share: Float[Array, ""],
    key: PRNGKeyArray,
    *,
    agent: Agent,
    agent_config,
    updates: int,
    real_rows: int,
    batch_size: int,
) -> tuple[PyTree, PRNGKeyArray, Metrics]:
    """`updates` gradient steps in one compiled loop; undone as a whole if not finite."""

    def step(state: PyTree, step_key: PRNGKeyArray):
        key_imagined, key_real, key_update = jax.random.split(step_key, 3)
        parts = []
        if real_rows:
            parts.append(sample(key_real, real_rows, offline, online, online_share))
        if real_rows < batch_size:
            parts.append(sample_ring(key_imagined, batch_size - real_rows, imagined))
        batch = jax.tree.map(lambda *columns: jnp.concatenate(columns), *parts)
        return agent.update(state, batch, key_update, agent_config)

    key, key_updates = jax.random.split(key)
    new_state, metrics = jax.lax.scan(step, agent_state, jax.random.split(key_updates, updates))
    leaves = jax.tree.leaves(eqx.filter((new_state, metrics), eqx.is_inexact_array))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new_state, agent_state)
    means = {f"losses/{name}": jnp.mean(value) for name, value in metrics.items()}
    means["losses/q_target_max"] = jnp.max(metrics["q_target_max"])
    # A diverged update is undone and counted; its losses would only hide in the means.
    means = {name: jnp.where(finite, value, jnp.nan) for name, value in means.items()}
    means["losses/skipped_updates"] = jnp.where(finite, 0.0, updates)
    return kept, key, means


@dataclass(frozen=True)
class Learner:
    """The operations of Algorithm 1 for one log, algorithm and configuration.

    Attributes:
        config: of the run.
        algorithm: a row of the table.
        offline: the log D_off, on the device; actions scaled to [-1, 1]. Empty without a log.
        terminated_fn: the rule that ends imagined rollouts; takes actions in [-1, 1].
        clock: where the time went.
    """

    config: Config
    algorithm: Algorithm
    offline: Replay
    terminated_fn: TerminationFn
    clock: Clock = field(default_factory=Clock)

    @property
    def scheme(self) -> Scheme:
        return self.algorithm.scheme(self.config)

    @property
    def imagines(self) -> bool:
        """Whether the agent learns from imagined transitions; otherwise there are no models."""
        return self.algorithm.experience == "imagination"

    @property
    def dims(self) -> tuple[int, int]:
        """Entries of an observation and of an action."""
        return self.offline.data.obs.shape[1], self.offline.data.action.shape[1]

    def init(self, key: PRNGKeyArray) -> LearnerState:
        """A fresh agent and ensemble, D_model of the offline stage, no online data."""
        offline = self.config.offline
        key, key_agent, key_model = jax.random.split(key, 3)
        agent_config = self.algorithm.agent.config(self.config)
        model = init_model(key_model, *self.dims, self.config.model) if self.imagines else None
        return LearnerState(
            agent=self.algorithm.agent.init(key_agent, *self.dims, agent_config),
            model=model,
            imagined=self._empty_imagined(offline.retain_epochs, offline.rollout_batch),
            online=empty_replay(1, *self.dims, max_holdout=1),
            key=key,
        )

    def hand_over(self, state: LearnerState) -> LearnerState:
        """Lines 4 and 5: everything learned goes on, D_on and D_model start empty."""
        online = self.config.online
        refits = online.steps_per_epoch // online.refit_every
        steps = max(online.epochs * online.steps_per_epoch, 1)
        return dataclasses.replace(
            state,
            imagined=self._empty_imagined(online.retain_epochs, refits * online.rollout_batch),
            online=empty_replay(steps, *self.dims, max_holdout=self.config.model.max_holdout),
        )

    def _empty_imagined(self, epochs: int, rollouts: int) -> Ring:
        """D_model with room for the rollouts of so many epochs; one row where nothing is."""
        rows = epochs * rollouts * self.config.rollout_length if self.imagines else 1
        return empty_ring(rows, *self.dims)

    def online_share(self, epoch: int, state: LearnerState) -> float:
        """Line 8: the share of the next draws that comes from D_on, over all rows."""
        return self.scheme.online_share(epoch, int(state.online.size), self._log_rows)

    @cached_property
    def _log_rows(self) -> int:
        return int(self.offline.size)

    def act(
        self, state: LearnerState, obs: np.ndarray, *, random: bool = False
    ) -> tuple[np.ndarray, LearnerState]:
        """Line 10: a sampled action in [-1, 1] for one observation; `random`: a uniform one."""
        with self.clock("act"):
            if random:
                action, key = _act_randomly(state.key, self.dims[1])
            else:
                action, key = _act(state.agent, obs, state.key, self.algorithm.agent)
            return np.asarray(action), dataclasses.replace(state, key=key)

    def observe(self, state: LearnerState, transition: Transition) -> LearnerState:
        """Line 11: the transition joins D_on."""
        with self.clock("observe"):
            fraction = self.config.model.holdout_fraction
            online, key = _observe(state.online, transition, state.key, fraction)
            return dataclasses.replace(state, online=online, key=key)

    def fit(
        self, state: LearnerState, *, on_pass: Callable | None = None
    ) -> tuple[LearnerState, FitReport]:
        """Line 2: the offline fit of the ensemble, on the log alone."""
        return self._fit(state, 0.0, self.config.model.max_fit_steps, "fit", on_pass)

    def refit(self, state: LearnerState, epoch: int) -> tuple[LearnerState, FitReport]:
        """Line 13: the ensemble goes on learning from D_off and D_on, drawn by priority."""
        share = self.scheme.online_share(
            epoch, int(state.online.train_size), int(self.offline.train_size)
        )
        return self._fit(state, share, self.config.model.max_refit_steps, "refit", None)

    def _fit(self, state: LearnerState, share: float, max_steps: int, part: str, on_pass):
        with self.clock(part):
            key, key_fit = jax.random.split(state.key)
            model, report = fit_ensemble(
                state.model,
                self.offline,
                state.online,
                share,
                key_fit,
                self.config.model,
                max_steps=max_steps,
                on_pass=on_pass,
            )
            return dataclasses.replace(state, model=model, key=key), report

    def imagine(self, state: LearnerState, epoch: int, count: int) -> tuple[LearnerState, Metrics]:
        """Lines 14 to 16: `count` rollouts from states of D_off and D_on into D_model."""
        with self.clock("imagine"):
            imagined, key, metrics = _imagine(
                state.imagined,
                state.agent,
                state.model,
                self.offline,
                state.online,
                jnp.asarray(self.online_share(epoch, state), jnp.float32),
                state.key,
                agent=self.algorithm.agent,
                terminated_fn=self.terminated_fn,
                config=_rollout_settings(self.config, count),
                count=count,
            )
            if int(imagined.size) == 0:
                raise InputError(
                    "no imagined transition is usable: the models' predictions are not finite or "
                    f"lie beyond imagined_bound ({self.config.imagined_bound:g})."
                )
            return dataclasses.replace(state, imagined=imagined, key=key), metrics

    def update(
        self, state: LearnerState, epoch: int, updates: int, real_ratio: float
    ) -> tuple[LearnerState, Metrics]:
        """Line 18: gradient updates of agent and critics on batches of D_model, or of replay."""
        with self.clock("update"):
            agent_config = self.algorithm.agent.config(self.config)
            real_ratio = real_ratio if self.imagines else 1.0
            share = self.online_share(epoch, state) if real_ratio else 0.0
            agent_state, key, metrics = _update(
                state.agent,
                state.imagined,
                self.offline,
                state.online,
                jnp.asarray(share, jnp.float32),
                state.key,
                agent=self.algorithm.agent,
                agent_config=agent_config,
                updates=updates,
                real_rows=int(real_ratio * agent_config.batch_size),
                batch_size=agent_config.batch_size,
            )
            jax.block_until_ready(metrics)
            return dataclasses.replace(state, agent=agent_state, key=key), metrics


def _rollout_settings(config: Config, count: int) -> Config:
    """The part of a configuration that a compiled rollout depends on, the rest at its defaults.

    So two runs that differ elsewhere share one compiled program.
    """
    return Config(
        penalty_coef=config.penalty_coef,
        rollout_length=config.rollout_length,
        imagined_bound=config.imagined_bound,
        rollout_chunk=min(config.rollout_chunk, count),
    )
