"""What learns: the state of a run and the compiled operations on it.

The operations are those of Algorithm 1: `act` and `observe` face the system, `refit`, `imagine` and
`update` learn. Each takes a frozen state and returns a new one; big buffers are donated, so the old
state must not be used again.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.algorithms import Algorithm
from moore.config import Config
from moore.data.episodes import TIME_LIMIT
from moore.dynamics.ensemble import Normaliser
from moore.dynamics.fit import FitReport, fit_ensemble, init_model
from moore.dynamics.imagine import TerminationFn
from moore.errors import InputError
from moore.replay.buffer import Replay, Ring, Transition, empty_replay, empty_ring
from moore.replay.draws import Draws, EachRow, Groups, each_row
from moore.replay.priorities import RowScheme
from moore.replay.sampler import gather
from moore.replay.schemes import Scheme, uniform
from moore.stages import diagnostics, programs
from moore.stages.clock import Clock
from moore.stages.coverage import covering_penalty
from moore.stages.gate import (
    NOTHING_ASKED,
    finished,
    given_up,
    judge,
    new_record,
    replaced,
)
from moore.stages.programs import Metrics
from moore.stages.reported import in_users_units
from moore.stages.state import LearnerState as LearnerState
from moore.units import AS_GIVEN, Units


@dataclass(frozen=True)
class Learner:
    """The operations of Algorithm 1 for one log, algorithm and configuration.

    Everything here is in the agents' units: buffers, states, actions, rewards, returns.

    Attributes:
        config: of the run.
        algorithm: a row of the table.
        offline: the log D_off, on the device; actions scaled to [-1, 1]. Empty without a log.
        terminated_fn: the rule that ends imagined rollouts.
        first_states: where the log's episodes begin (episodes, obs); None without a log.
        episode_steps: the longest that an imagined episode may be.
        units: how the user's units become these.
        clock: where the time went.
        parsed_scheme: the scheme, if it has been read already; None: the configuration's.
    """

    config: Config
    algorithm: Algorithm
    offline: Replay
    terminated_fn: TerminationFn
    first_states: Float[Array, "episodes obs"] | None = None
    episode_steps: int = TIME_LIMIT
    units: Units = AS_GIVEN
    clock: Clock = field(default_factory=Clock)
    parsed_scheme: Scheme | RowScheme | None = None
    _tables: dict[tuple[int, int], EachRow] = field(default_factory=dict, repr=False)

    @cached_property
    def scheme(self) -> Scheme | RowScheme:
        return self.parsed_scheme or self.algorithm.scheme(self.config)

    @cached_property
    def agent_config(self) -> Any:
        return self.units.settings_in(self.algorithm.agent.config(self.config))

    @property
    def imagines(self) -> bool:
        """Whether the agent learns from imagined transitions; otherwise there are no models."""
        return self.algorithm.experience == "imagination"

    @property
    def gated(self) -> bool:
        """Whether a new policy acts only if the models let it."""
        return self.imagines and self.config.gate.enabled

    @cached_property
    def _logged_range(self) -> diagnostics.Range:
        return diagnostics.observed_range(self.offline)

    @cached_property
    def spread(self) -> Normaliser | None:
        """What `imagined_bound` counts in: the log's means and standard deviations."""
        return diagnostics.logged_spread(self.offline, self.config.imagined_bound)

    def reported(self, metrics: dict) -> dict:
        """Metrics of these operations in the user's units."""
        return in_users_units(metrics, self.units, uncertainty=self.config.uncertainty)

    @property
    def dims(self) -> tuple[int, int]:
        """Entries of an observation and of an action."""
        return self.offline.data.obs.shape[1], self.offline.data.action.shape[1]

    def init(self, key: PRNGKeyArray) -> LearnerState:
        """A fresh agent and ensemble, D_model of the offline stage, no online data."""
        offline = self.config.offline
        key, key_agent, key_model = jax.random.split(key, 3)
        model = init_model(key_model, *self.dims, self.config.model) if self.imagines else None
        agent = self.algorithm.agent.init(key_agent, *self.dims, self.agent_config)
        acting = self.algorithm.agent.policy(agent) if self.gated else None
        state = LearnerState(
            agent=agent,
            model=model,
            imagined=self._empty_imagined(
                offline.retain_epochs * offline.rollout_batch * self.config.rollout_length
            ),
            online=empty_replay(1, *self.dims, max_holdout=1),
            key=key,
            penalty_coef=jnp.asarray(self.config.penalty_coef),
            acting=diagnostics.copied(acting),
            record=new_record(NOTHING_ASKED) if self.gated else None,
        )
        return self.look(state)  # which may fix the shapes of what the agent notes

    def hand_over(self, state: LearnerState) -> LearnerState:
        """Lines 4 and 5: everything learned goes on, D_on and D_model start empty."""
        online = self.config.online
        longest = max(self.rollout_length(1), self.rollout_length(online.epochs))
        steps = max(online.epochs * online.steps_per_epoch, 1)
        agent = self.algorithm.agent
        if agent.hand_over is not None:
            handed = agent.hand_over(state.agent, self.agent_config)
            state = dataclasses.replace(state, agent=handed)
        if online.penalty_coef is not None:
            state = dataclasses.replace(state, penalty_coef=jnp.asarray(online.penalty_coef))
        bar = np.inf if self.config.gate.earned else NOTHING_ASKED
        state = dataclasses.replace(
            state,
            imagined=self._empty_imagined(self._online_room(longest)),
            online=empty_replay(steps, *self.dims, max_holdout=self.config.model.max_holdout),
            record=new_record(bar) if self.gated else None,
        )
        return self.look(state)

    def rollout_length(self, epoch: int) -> int:
        """H of an online epoch."""
        schedule = self.config.online.rollout_schedule
        if schedule is None:
            return self.config.rollout_length
        first, last, short, long = schedule
        grown = short + (epoch - first) / (last - first) * (long - short)
        return int(min(max(grown, min(short, long)), max(short, long)))

    def newest_policy(self, state: LearnerState) -> PyTree:
        """The policy that the last update has left, whether it may act or not."""
        return self.algorithm.agent.policy(state.agent)

    def policy(self, state: LearnerState) -> PyTree:
        """The policy that acts: the newest one, or the last that the gate has let through."""
        return self.newest_policy(state) if state.acting is None else state.acting

    def look(self, state: LearnerState) -> LearnerState:
        """Before each epoch: the agent takes note of the data as a whole."""
        agent = self.algorithm.agent
        seen = programs.look(state.agent, self.offline, state.online, agent, self.agent_config)
        return dataclasses.replace(state, agent=seen)

    def cover(self, state: LearnerState) -> LearnerState:
        """Sets lambda from the log, where `penalty_coverage` is given."""
        if self.config.penalty_coverage is None or not self.imagines:
            return state
        key, key_cover = jax.random.split(state.key)
        penalty_coef = covering_penalty(
            state.agent,
            state.model.ensemble,
            self.offline,
            key_cover,
            agent=self.algorithm.agent,
            terminated_fn=self.terminated_fn,
            config=programs.rollout_settings(self.config, 1),
            coverage=self.config.penalty_coverage,
            spread=self.spread,
        )
        return dataclasses.replace(state, key=key, penalty_coef=penalty_coef)

    def pass_gate(
        self,
        state: LearnerState,
        epoch: int,
        returns: Sequence[float] = (),
        *,
        in_episode: bool = True,
    ) -> tuple[LearnerState, Metrics]:
        """The newest policy acts from now on, if there is no gate or the models let it.

        `returns`: of the episodes that ended since the last time, in the user's rewards.
        `in_episode`: one is running.
        """
        if state.acting is None:
            return state, {}
        with self.clock("gate"):
            gate = self.config.gate
            key, key_starts, key_rollout = jax.random.split(state.key, 3)
            if gate.horizon is None:
                shape, episodes = (gate.rollouts,), len(self.first_states)
                starts = self.first_states[jax.random.randint(key_starts, shape, 0, episodes)]
                steps, discount = self.episode_steps, 1.0
            else:
                rows = self.draws(epoch, state).rows(key_starts, (gate.rollouts,))
                starts = gather(self.offline, state.online, rows).obs
                steps, discount = gate.horizon, self.config.sac.discount
            settings = programs.rollout_settings(self.config, gate.rollouts)
            earned = [self.units.reward_in(value) for value in returns]
            record = finished(state.record, earned) if gate.earned else state.record
            accepted, acting, metrics = judge(
                state.acting,
                self.newest_policy(state),
                state.model.ensemble,
                starts,
                state.penalty_coef if gate.penalised else None,
                key_rollout,
                agent=self.algorithm.agent,
                terminated_fn=self.terminated_fn,
                config=dataclasses.replace(settings, rollout_length=steps),
                discount=discount,
                confidence=gate.confidence,
                bar=record.bar,
                agent_state=state.agent,
                spread=self.spread,
            )
            record = replaced(record, in_episode=in_episode) if accepted else record
            return dataclasses.replace(state, key=key, acting=acting, record=record), metrics

    def new_episode(self, state: LearnerState) -> LearnerState:
        """The running episode was left without an end, and another begins."""
        record = None if state.record is None else given_up(state.record)
        forget = self.algorithm.agent.new_episode
        agent = state.agent if forget is None else forget(state.agent)
        return dataclasses.replace(state, agent=agent, record=record)

    def _online_room(self, length: int) -> int:
        """Rows of the online D_model: the retained epochs' rollouts of that length."""
        online = self.config.online
        refits = online.steps_per_epoch // online.refit_every
        return online.retain_epochs * refits * online.rollout_batch * length

    def _empty_imagined(self, rows: int) -> Ring:
        """D_model with room for so many steps; for one where nothing is imagined."""
        return empty_ring(rows if self.imagines else 1, *self.dims)

    def draws(self, epoch: int, state: LearnerState) -> Draws:
        """Line 8: what the scheme draws from D_off and D_on at epoch t.

        Priorities of single rows are those of the last refit, or of the epoch's beginning.
        """
        if isinstance(self.scheme, Scheme):
            return Groups(self.scheme, epoch, self.offline, state.online)
        refit_every = self.config.online.refit_every
        n_on = int(state.online.size) // refit_every * refit_every
        if (epoch, n_on) not in self._tables:
            self._tables.clear()
            table = each_row(self.scheme, epoch, self.offline, state.online, n_on, self.units)
            self._tables[epoch, n_on] = table
        return self._tables[epoch, n_on]

    def act(
        self, state: LearnerState, obs: np.ndarray, *, random: bool = False
    ) -> tuple[np.ndarray, LearnerState]:
        """Line 10: a sampled action in [-1, 1] for one observation; `random`: a uniform one."""
        with self.clock("act"):
            if random:
                action, key = programs.act_randomly(state.key, self.dims[1])
            else:
                policy = self.policy(state)
                action, key = programs.act(policy, obs, state.key, self.algorithm.agent)
            return np.asarray(action), dataclasses.replace(state, key=key)

    def observe(self, state: LearnerState, transition: Transition) -> LearnerState:
        """Line 11: the transition joins D_on."""
        with self.clock("observe"):
            fraction = self.config.model.holdout_fraction
            online, key = programs.observe(state.online, transition, state.key, fraction)
            return dataclasses.replace(state, online=online, key=key)

    def fit(
        self, state: LearnerState, *, on_pass: Callable | None = None
    ) -> tuple[LearnerState, FitReport]:
        """Line 2: the offline fit of the ensemble, on the log alone."""
        log_alone = Groups(uniform(), 1, self.offline, state.online)
        return self._fit(state, log_alone, self.config.model.max_fit_steps, "fit", on_pass)

    def refit(
        self,
        state: LearnerState,
        epoch: int,
        *,
        first: bool = False,
        on_pass: Callable | None = None,
    ) -> tuple[LearnerState, FitReport]:
        """Line 13: the ensemble goes on learning from D_off and D_on, drawn by priority.

        `first`: nothing was fitted before, so the cap is that of the offline fit.
        """
        model = self.config.model
        cap = model.max_fit_steps if first else model.max_refit_steps
        return self._fit(state, self.draws(epoch, state), cap, "refit", on_pass)

    def _fit(self, state: LearnerState, drawn: Draws, max_steps: int, part: str, on_pass):
        with self.clock(part):
            key, key_fit = jax.random.split(state.key)
            model, report = fit_ensemble(
                state.model,
                self.offline,
                state.online,
                drawn.online_share(train_only=True),
                key_fit,
                self.config.model,
                draw=drawn.rows if isinstance(drawn, EachRow) else None,
                keep_normaliser=part == "refit" and not self.config.model.refit_normaliser,
                max_steps=max_steps,
                on_pass=on_pass,
            )
            return dataclasses.replace(state, model=model, key=key), report

    def imagine(
        self, state: LearnerState, epoch: int, count: int, length: int | None = None
    ) -> tuple[LearnerState, Metrics]:
        """Lines 14 to 16: `count` rollouts from states of D_off and D_on into D_model.

        `length`: H; by default that of the offline stage. D_model keeps what the retained epochs
        give at this H, as MBPO's does.
        """
        with self.clock("imagine"):
            settings, ring = programs.rollout_settings(self.config, count), state.imagined
            if length is not None:
                settings = dataclasses.replace(settings, rollout_length=length)
                ring = programs.make_room(ring, self._online_room(length))
            key, key_starts, key_rollout = jax.random.split(state.key, 3)
            imagined, metrics = programs.imagine(
                ring,
                self.newest_policy(state),
                state.model,
                self.offline,
                state.online,
                self._logged_range,
                self.draws(epoch, state).rows(key_starts, (count,)),
                state.penalty_coef,
                key_rollout,
                agent=self.algorithm.agent,
                terminated_fn=self.terminated_fn,
                config=settings,
                agent_state=state.agent,
                spread=self.spread,
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
            agent, agent_config = self.algorithm.agent, self.agent_config
            real_rows = int((real_ratio if self.imagines else 1.0) * agent_config.batch_size)
            if agent.learn is not None:
                real_rows = 0  # it draws for itself
            key, key_real, key_update = jax.random.split(state.key, 3)
            real = jnp.zeros((updates, 0), jnp.int32)
            if real_rows:
                real = self.draws(epoch, state).rows(key_real, (updates, real_rows))
            agent_state, metrics = programs.update(
                state.agent,
                state.imagined,
                self.offline,
                state.online,
                real,
                key_update,
                agent=agent,
                agent_config=agent_config,
                batch_size=agent_config.batch_size,
            )
            jax.block_until_ready(metrics)
            return dataclasses.replace(state, agent=agent_state, key=key), metrics
