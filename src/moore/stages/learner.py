"""The learner: the operations of Algorithm 1 on the state of a run.

`act` and `observe` face the system; `start`, `refresh` and `update` learn. Each takes a frozen
state and returns a new one; big buffers are donated, so the old state must not be used again.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from moore.algorithms import Algorithm
from moore.clock import Clock
from moore.config import Config
from moore.dynamics.imagine import TerminationFn
from moore.experience.learning import gradient_steps
from moore.experience.policy_comparison import NO_BAR
from moore.experience.protocol import Experience, Metrics, Models, Moment, OnPass, Refreshed, Task
from moore.replay.buffer import Replay, Transition, empty_replay
from moore.stages import acting
from moore.stages.gate import after_abandoned_episode, gate_of, no_returns_yet
from moore.stages.reported import in_users_units
from moore.stages.state import LearnerState as LearnerState
from moore.trees import copied, strongly_typed
from moore.units import Units


@dataclass(frozen=True)
class Learner:
    """The operations of Algorithm 1 for one algorithm and one task.

    Everything here is in the agents' units: buffers, states, actions, rewards, returns.

    Attributes:
        algorithm: row of the table of algorithms: an agent and a kind of experience.
        task: log, configuration, scheme, units, ...
    """

    algorithm: Algorithm
    task: Task

    @property
    def config(self) -> Config:
        return self.task.config

    @property
    def agent_config(self) -> Any:
        """The agent's settings, in its units."""
        return self.task.agent_config

    @property
    def offline(self) -> Replay:
        """The log D_off; empty without one."""
        return self.task.log

    @property
    def units(self) -> Units:
        """Conversion of the user's units to the agent's."""
        return self.task.units

    @property
    def clock(self) -> Clock:
        """Measures the time of each part of the run."""
        return self.task.clock

    @cached_property
    def experience(self) -> Experience:
        return self.algorithm.experience.build(self.task)

    @property
    def models(self) -> Models | None:
        """The experience if it has models, otherwise None."""
        return self.experience if isinstance(self.experience, Models) else None

    @property
    def gated(self) -> bool:
        """Whether a new policy acts only after the models or trials have accepted it."""
        return self.asks_models or bool(self.config.dip_budget)

    @property
    def asks_models(self) -> bool:
        """Whether the models are asked before a new policy acts."""
        return self.models is not None and self.config.gate.enabled

    @property
    def terminated_fn(self) -> TerminationFn:
        """Termination rule of imagined episodes."""
        return self.task.terminated_fn

    @property
    def episode_steps(self) -> int:
        """Largest number of steps of an imagined episode."""
        return self.task.episode_steps

    def changed(self, **parts: Any) -> "Learner":
        """This learner with other parts of the task."""
        return dataclasses.replace(self, task=dataclasses.replace(self.task, **parts))

    def reported(self, metrics: dict) -> dict:
        """The metrics in the user's units."""
        return in_users_units(metrics, self.units, uncertainty=self.config.uncertainty)

    @property
    def dims(self) -> tuple[int, int]:
        """Numbers of entries of an observation and of an action."""
        return self.task.dims

    def init(self, key: PRNGKeyArray) -> LearnerState:
        """A fresh agent and experience without online data."""
        key, key_agent, key_experience = jax.random.split(key, 3)
        agent = self.algorithm.agent.init(key_agent, *self.dims, self.agent_config)
        gate = None
        if self.gated:
            gate = gate_of(copied(self.algorithm.agent.policy(agent)), NO_BAR)
        state = LearnerState(
            agent=agent,
            experience=self.experience.begin(key_experience),
            online=empty_replay(1, *self.dims, max_holdout=1),
            key=key,
            gate=gate,
        )
        # This may fix the shapes of the agent's notes.
        return self.summarise_data(strongly_typed(state))

    def hand_over(self, state: LearnerState) -> LearnerState:
        """Lines 4 and 5: keeps everything that was learned and begins with an empty D_on."""
        gate = state.gate
        if gate is not None:
            bar = np.inf if self.config.gate.earned else NO_BAR
            gate = dataclasses.replace(gate, acting_returns=no_returns_yet(bar))
        rows, most = self.task.online_rows, self.config.model.max_holdout
        agent = self.algorithm.agent.hand_over(state.agent, self.agent_config)
        if gate is not None:
            agent = self.algorithm.agent.adopt(agent, gate.acting, self.agent_config)
        state = dataclasses.replace(
            state,
            agent=agent,
            experience=self.experience.hand_over(state.experience),
            online=empty_replay(rows, *self.dims, max_holdout=most),
            gate=gate,
            stage="online",
        )
        return self.summarise_data(state)

    def summarise_data(self, state: LearnerState) -> LearnerState:
        """Before each epoch: lets the agent summarise the data as a whole."""
        agent = self.algorithm.agent
        seen = acting.summarise_data(
            state.agent, self.offline, state.online, agent, self.agent_config
        )
        return dataclasses.replace(state, agent=seen)

    def newest_policy(self, state: LearnerState) -> PyTree:
        """The policy after the last update, whether it may act or not."""
        return self.algorithm.agent.policy(state.agent)

    def policy(self, state: LearnerState) -> PyTree:
        """The policy that acts: the newest one, or the last one that passed the gate."""
        return self.newest_policy(state) if state.gate is None else state.gate.acting

    def moment(self, state: LearnerState, epoch: int) -> Moment:
        """What the experience may see of the state at an epoch of the stage under way."""
        return Moment(state.stage, epoch, state.agent, state.online)

    def start(
        self, state: LearnerState, epoch: int = 1, *, on_pass: OnPass | None = None
    ) -> tuple[LearnerState, Refreshed]:
        """Prepares the first epoch of a stage: line 2 offline, and a filled D_model online."""
        now = self.moment(state, epoch)
        experience, key, found = self.experience.start(state.experience, now, state.key, on_pass)
        return dataclasses.replace(state, experience=experience, key=key), found

    def refresh(
        self, state: LearnerState, epoch: int, *, on_pass: OnPass | None = None
    ) -> tuple[LearnerState, Refreshed]:
        """Lines 12 to 16: lets the experience take in the new data."""
        now = self.moment(state, epoch)
        experience, key, found = self.experience.refresh(state.experience, now, state.key, on_pass)
        return dataclasses.replace(state, experience=experience, key=key), found

    def update(self, state: LearnerState, epoch: int, updates: int) -> tuple[LearnerState, Metrics]:
        """Line 18: gradient updates of agent and critics."""
        with self.clock("update"):
            key, key_batches, key_steps = jax.random.split(state.key, 3)
            now = self.moment(state, epoch)
            batches = self.experience.batches(state.experience, now, key_batches, updates)
            agent, notes, metrics = gradient_steps(
                state.agent,
                batches.notes,
                batches.pool,
                batches.planned,
                self.offline if batches.log is None else batches.log,
                state.online,
                jax.random.split(key_steps, updates),
                how=batches.how,
                agent=self.algorithm.agent,
                agent_config=self.agent_config,
            )
            jax.block_until_ready(metrics)
            experience = self.experience.noted(state.experience, notes)
            return dataclasses.replace(state, agent=agent, experience=experience, key=key), metrics

    def compare_newest(self, state: LearnerState, epoch: int) -> tuple[LearnerState, Metrics]:
        """Compares the newest policy with the acting one in the models; replaces nothing."""
        with self.clock("gate"):
            _, _, key, metrics = self.ask_models(state, epoch, NO_BAR)
            jax.block_until_ready(metrics)
            return dataclasses.replace(state, key=key), metrics

    def ask_models(
        self, state: LearnerState, epoch: int, bar: float | Float[Array, ""]
    ) -> tuple[Bool[Array, ""], PyTree, PRNGKeyArray, Metrics]:
        """Whether the newest policy may act instead of the acting one, who acts, and why."""
        now, who, models = self.moment(state, epoch), self.policy(state), self.models
        assert models is not None  # whoever has none asks none
        return models.compare_policies(state.experience, now, state.key, who, jnp.asarray(bar))

    def new_episode(self, state: LearnerState) -> LearnerState:
        """Told that the running episode was abandoned and another one begins."""
        gate = state.gate
        if gate is not None:
            returns = after_abandoned_episode(gate.acting_returns)
            gate = dataclasses.replace(gate, acting_returns=returns)
        agent = self.algorithm.agent.new_episode(state.agent)
        return dataclasses.replace(state, agent=agent, gate=gate)

    def cut(self, state: LearnerState) -> LearnerState:
        """Ends the episode of the newest row of D_on, since the next row does not follow it.

        The given state's D_on is used up.
        """
        if not int(state.online.size):
            return state
        return dataclasses.replace(state, online=acting.cut_newest(state.online))

    def act(
        self, state: LearnerState, obs: np.ndarray, *, random: bool = False
    ) -> tuple[np.ndarray, LearnerState]:
        """Line 10: a sampled action in [-1, 1] for one observation; with `random` a uniform one."""
        with self.clock("act"):
            if random:
                action, key = acting.act_randomly(state.key, self.dims[1])
            else:
                policy = self.policy(state)
                action, key = acting.act(policy, obs, state.key, self.algorithm.agent)
            return np.asarray(action), dataclasses.replace(state, key=key)

    def act_mode(self, policy: PyTree, obs: np.ndarray) -> np.ndarray:
        """The action in [-1, 1] of a policy without noise."""
        with self.clock("act"):
            return np.asarray(acting.act_mode(policy, obs, self.algorithm.agent))

    def explore(self, state: LearnerState, obs: np.ndarray) -> tuple[np.ndarray, LearnerState]:
        """The action in [-1, 1] of the newest policy, with `online.exploration_noise` around it."""
        with self.clock("act"):
            noise = jnp.asarray(self.config.online.exploration_noise)
            newest = self.newest_policy(state)
            action, key = acting.act_around(newest, obs, state.key, noise, self.algorithm.agent)
            return np.asarray(action), dataclasses.replace(state, key=key)

    def observe(self, state: LearnerState, transition: Transition) -> LearnerState:
        """Line 11: adds the transition to D_on."""
        with self.clock("observe"):
            fraction = self.config.model.holdout_fraction
            online, key = acting.observe(state.online, transition, state.key, fraction)
            return dataclasses.replace(state, online=online, key=key)
