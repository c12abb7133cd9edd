"""Rows of the newest policy alone: chains of rollouts in the models, made anew before every update.

Algorithm 1 fills D_model with rollouts of many policies, and an off-policy agent learns from them.
Here D_model holds the last round of one policy. The models and their fit are those of
`moore.experience.imagination`; so are the starts, which are drawn from D_off, but for the share
that begins where episodes begin. This is the offline half of `moore.experience.real_online`.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property, partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.agents import ppo
from moore.agents.ppo import PPOBatch, PPOConfig, PPOState
from moore.dynamics.chains import ChainsConfig, Trajectory, roll_chains, usual_distance
from moore.dynamics.fit import ModelState, inputs_and_targets
from moore.dynamics.imagine import TerminationFn
from moore.experience import diagnostics
from moore.experience.defaults import notes_nothing
from moore.experience.imagination import Imagination, ImaginationState
from moore.experience.protocol import (
    Batches,
    Metrics,
    Moment,
    OnPass,
    Refreshed,
    Task,
)
from moore.lockstep.program import program
from moore.replay.buffer import Replay, take
from moore.replay.sampler import gather

# States that are drawn for chains to begin from, and rows of the log that tell what is usual.
STARTS, USUAL_ROWS = 2000, 2000


class OnPolicyState(eqx.Module):
    """M, the rows of the last round, and where its chains stand.

    `chains` (chains, obs) means nothing before the first round: then `begun` is false.
    """

    imagination: ImaginationState
    rows: PPOBatch
    chains: Float[Array, "chains obs"]
    begun: Bool[Array, ""]

    @property
    def model(self) -> ModelState:
        return self.imagination.model

    @property
    def penalty_coef(self) -> Float[Array, ""]:
        return self.imagination.penalty_coef


@dataclass(frozen=True)
class OfTheRound:
    """A batch is the rows that were drawn for it."""

    def draw(
        self, pool: PPOBatch, notes: None, offline: Replay, online: Replay,
        planned: Int[Array, " batch"], key: PRNGKeyArray,
    ) -> tuple[PPOBatch, None, Metrics]:  # fmt: skip
        del notes, offline, online, key
        return jax.tree.map(lambda column: column[planned], pool), None, {}

    learned = notes_nothing


@dataclass(frozen=True, eq=False)
class OnPolicy:
    """Chains of rollouts of the newest policy; `task` names PPO as the agent."""

    task: Task

    @cached_property
    def _models(self) -> Imagination:
        return Imagination(self.task)

    def empty(self, imagination: ImaginationState, count: int) -> OnPolicyState:
        """These models, and room for a round of `count` chains, or of one for each elite."""
        config = self.task.config
        obs_dim, action_dim = self.task.dims
        elites = config.model.elites
        chains = max(count // elites, 1) * elites
        rows = chains * config.rollout_length
        nothing = PPOBatch(
            jnp.zeros((rows, obs_dim)), jnp.zeros((rows, action_dim)), *jnp.zeros((3, rows))
        )
        return OnPolicyState(
            imagination, nothing, jnp.zeros((chains, obs_dim)), jnp.zeros((), bool)
        )

    def begin(self, key: PRNGKeyArray) -> OnPolicyState:
        """Fresh models, and no rows yet."""
        state = self._models.begin(key, room=1)
        return self.empty(state, self.task.config.offline.rollout_batch)

    def start(
        self, state: OnPolicyState, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
    ) -> tuple[OnPolicyState, PRNGKeyArray, Refreshed]:
        """Fits the models to the log."""
        models, key, fitted = self._models.start(state.imagination, now, key, on_pass)
        return dataclasses.replace(state, imagination=models), key, fitted

    def refresh(
        self, state: OnPolicyState, now: Moment, key: PRNGKeyArray
    ) -> tuple[OnPolicyState, PRNGKeyArray, Refreshed]:
        """The newest policy makes a round of rows."""
        state, key, imagined = self.collect(state, now, key)
        return state, key, Refreshed(None, imagined)

    def collect(
        self, state: OnPolicyState, now: Moment, key: PRNGKeyArray
    ) -> tuple[OnPolicyState, PRNGKeyArray, Metrics]:
        """One round: every chain goes `rollout_length` steps further."""
        task = self.task
        with task.clock("imagine"):
            key, key_starts, key_round = jax.random.split(key, 3)
            assert task.first_states is not None  # it learns from a log
            log, rows = task.read(task.draws(now).rows(key_starts, (STARTS,)))
            chains, learned, metrics = collect_round(
                now.agent,
                state.model,
                state.chains,
                state.begun,
                log,
                now.online,
                task.first_states,
                rows,
                task.log,
                self._models.seen_range(now.online),
                key_round,
                agent_config=task.agent_config,
                chains_config=task.config.chains,
                terminated_fn=task.terminated_fn,
                length=task.config.rollout_length,
                widening=task.config.imagined_range or 0.0,
            )
            jax.block_until_ready(metrics)
        begun = jnp.ones((), bool)
        return OnPolicyState(state.imagination, learned, chains, begun), key, metrics

    def batches(self, state: OnPolicyState, now: Moment, key: PRNGKeyArray, count: int) -> Batches:
        """Passes over the rows of the round, each in an order of its own."""
        del now
        planned = _passes(
            key,
            rows=state.rows.target.shape[0],
            batch=self.task.agent_config.batch_size,
            count=count,
        )
        return Batches(OfTheRound(), state.rows, None, planned)


@partial(jax.jit, static_argnames=("rows", "batch", "count"))
def _passes(key: PRNGKeyArray, *, rows: int, batch: int, count: int) -> Int[Array, "count batch"]:
    """Which rows each of `count` batches holds; none twice before all were used once."""
    keys = jax.random.split(key, -(-count * batch // rows))
    order = jax.vmap(lambda k: jax.random.permutation(k, rows))(keys)
    return order.reshape(-1)[: count * batch].reshape(count, batch)


@program(
    static_argnames=(
        "agent_config", "chains_config", "terminated_fn", "length", "widening",
    ),
)  # fmt: skip
def collect_round(
    agent: PPOState,
    model: ModelState,
    chains: Float[Array, "chains obs"],
    begun: Bool[Array, ""],
    log: Replay,
    online: Replay,
    first_states: Float[Array, "episodes obs"],
    rows: Int[Array, " starts"],
    usual_rows: Replay,
    seen: diagnostics.ObsRange,
    key: PRNGKeyArray,
    *,
    agent_config: PPOConfig,
    chains_config: ChainsConfig,
    terminated_fn: TerminationFn,
    length: int,
    widening: float,
) -> tuple[Float[Array, "chains obs"], PPOBatch, Metrics]:
    """A round of rows, where its chains stand, and what there is to say of it.

    Chains begin at `rows` of `log` and `online`; what is usual is told by `usual_rows`.
    """
    key_first, key_which, key_usual, key_chains = jax.random.split(key, 4)
    count = rows.shape[0]
    first = first_states[jax.random.randint(key_first, (count,), 0, first_states.shape[0])]
    at_first = jax.random.bernoulli(key_which, chains_config.first_share, (count,))
    fresh = jnp.where(at_first[:, None], first, gather(log, online, rows).obs)
    begin = fresh[jnp.arange(chains.shape[0]) % count]

    elites = model.ensemble.elites.shape[0]
    places = jax.random.randint(
        key_usual, (USUAL_ROWS // elites * elites,), 0, usual_rows.train_size
    )
    known = take(usual_rows.data, usual_rows.train_rows[places])
    outputs = inputs_and_targets(known)[1]
    obs, action = jnp.asarray(known.obs), jnp.asarray(known.action)
    usual = usual_distance(model.ensemble, obs, action, outputs, chains_config.usual)
    chains, steps = roll_chains(
        model.ensemble,
        lambda obs, k: ppo.draw_action(agent.actor, obs, k),
        terminated_fn,
        jnp.where(begun, chains, begin),
        fresh,
        key_chains,
        length=length,
        usual=usual,
        config=chains_config,
        within=diagnostics.widened(seen, widening),
    )
    learned = ppo.rows_of(
        agent, steps.obs, steps.action, steps.reward, steps.next_obs, steps.terminated, steps.cut,
        agent_config,
    )  # fmt: skip
    metrics = _round_metrics(steps, learned, chains_config) | {
        "model/usual_distance": usual.distance,
        "replay/online_share": jnp.mean(rows >= log.capacity),
    }
    return chains, learned, metrics


def _round_metrics(steps: Trajectory, rows: PPOBatch, config: ChainsConfig) -> Metrics:
    spread = jnp.maximum(jnp.var(rows.target), jnp.finfo(jnp.float32).tiny)
    return {
        "model/excess_uncertainty": jnp.mean(steps.excess),
        "model/imagined_reward": jnp.mean(steps.reward + config.price * steps.excess),
        "model/imagined_terminated": jnp.mean(steps.terminated),
        "model/imagined_out_of_range": jnp.mean(steps.outside),
        "losses/value_unexplained": jnp.var(rows.advantage) / spread,
    }
