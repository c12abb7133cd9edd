"""Imagination: batches from rollouts in an ensemble of models, with a penalty on their uncertainty.

The state is what Algorithm 1 calls M and D_model, and the coefficient lambda of the penalty.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from moore.dynamics.ensemble import Normaliser
from moore.dynamics.fit import FitReport, ModelState, fit_ensemble, init_model
from moore.dynamics.pessimistic import Halt
from moore.errors import InputError
from moore.experience import diagnostics, rollouts
from moore.experience.defaults import learns_no_notes
from moore.experience.partly_imagined import PartlyImagined
from moore.experience.penalty_calibration import calibrate_penalty
from moore.experience.policy_comparison import compare_policies
from moore.experience.protocol import Batches, Metrics, Moment, OnPass, Refreshed, Task
from moore.experience.settings import (
    RolloutSettings,
    online_room,
    rollout_length,
    rollout_settings,
)
from moore.replay.buffer import Replay, Ring, empty_ring
from moore.replay.draws import Draws, EachRow, Groups
from moore.replay.sampler import gather
from moore.replay.schemes import uniform


class ImaginationState(eqx.Module):
    """M, D_model and lambda, and the limit at which rollouts halt, if there is one."""

    model: ModelState
    imagined: Ring
    penalty_coef: Float[Array, ""]
    halt: Halt | None = None


@dataclass(frozen=True, eq=False)
class Imagination:
    """An ensemble of models and the rollouts that are imagined in it.

    Attributes:
        task: what the experience is made for.
        halt_of: finds after every fit where rollouts halt; with None they never halt.
    """

    task: Task
    halt_of: Callable[[ModelState, Task], Halt] | None = None

    @cached_property
    def spread(self) -> Normaliser | None:
        """Means and standard deviations of the log, the unit of `imagined_bound`."""
        with jax.ensure_compile_time_eval():  # it may be asked for while shapes are traced
            return diagnostics.logged_spread(self.task.log, self.task.config.imagined_bound)

    @cached_property
    def _logged_range(self) -> diagnostics.ObsRange:
        with jax.ensure_compile_time_eval():
            return self.task.range_on_disk or diagnostics.observed_range(self.task.log)

    def seen_range(self, online: Replay) -> diagnostics.ObsRange:
        """The range of the observations of the log and the online data."""
        low, high = self._logged_range
        acted_low, acted_high = diagnostics.observed_range(online)
        return jnp.minimum(low, acted_low), jnp.maximum(high, acted_high)

    def within(self, online: Replay) -> diagnostics.ObsRange | None:
        """The range that imagined observations are clipped to; None if there is none."""
        share = self.task.config.imagined_range
        return None if share is None else diagnostics.widened(self.seen_range(online), share)

    def begin(self, key: PRNGKeyArray, room: int | None = None) -> ImaginationState:
        """Untrained models, and an empty D_model.

        `room`: its rows; by default as many as the offline stage keeps, if there is a log.
        """
        task, config, offline = self.task, self.task.config, self.task.config.offline
        if room is None and int(task.log.size):
            room = offline.retain_epochs * offline.rollout_batch * config.rollout_length
        return ImaginationState(
            model=init_model(key, *task.dims, config.model),
            imagined=empty_ring(room or 1, *task.dims),
            penalty_coef=jnp.asarray(config.penalty_coef),
            # Nothing is imagined before the first fit.
            halt=None if self.halt_of is None else Halt(jnp.zeros(()), jnp.zeros(())),
        )

    def _with_model(
        self, model: ModelState, imagined: Ring, penalty_coef: Float[Array, ""]
    ) -> ImaginationState:
        halt = None if self.halt_of is None else self.halt_of(model, self.task)
        return ImaginationState(model, imagined, penalty_coef, halt)

    def hand_over(self, state: ImaginationState) -> ImaginationState:
        """Keeps the models and empties D_model, which gets the size of the online stage."""
        online = self.task.config.online
        longest = max(self._length(1), self._length(online.epochs))
        penalty_coef = state.penalty_coef
        if online.penalty_coef is not None:
            penalty_coef = jnp.asarray(online.penalty_coef)
        imagined = empty_ring(online_room(self.task.config, longest), *self.task.dims)
        return dataclasses.replace(state, imagined=imagined, penalty_coef=penalty_coef)

    def start(
        self,
        state: ImaginationState,
        now: Moment,
        key: PRNGKeyArray,
        on_pass: OnPass | None = None,
    ) -> tuple[ImaginationState, PRNGKeyArray, Refreshed]:
        """Offline, fits the models to the log alone; online, fills D_model.

        Online, updates start with the first step but the first refit comes phi steps later. So the
        models of the offline stage fill D_model with one batch of rollouts, or as many as it has
        room for (`start_full`). Without a log there are no such models.
        """
        online = self.task.config.online
        if now.stage == "offline":
            log_alone = Groups(uniform(), 1, self.task.log, now.online)
            state, key, report = self.fit(state, now, log_alone, key, on_pass)
            return state, key, Refreshed(report)
        if int(self.task.log.size):
            refits = online.retain_epochs * online.refits_per_epoch
            for _ in range(refits if online.start_full else 1):
                state, key, _ = self.imagine(state, now, key)
        return state, key, Refreshed()

    def refresh(
        self,
        state: ImaginationState,
        now: Moment,
        key: PRNGKeyArray,
        on_pass: OnPass | None = None,
    ) -> tuple[ImaginationState, PRNGKeyArray, Refreshed]:
        """Offline, calibrates lambda if the settings ask for it; online, refits the models.

        Then rollouts of the newest policy go into D_model.
        """
        if now.stage == "offline":
            state, key = self.calibrate_penalty(state, now, key)
            state, key, imagined = self.imagine(state, now, key)
            return state, key, Refreshed(None, imagined)
        found = self.surprise(state, now)
        state, key, report = self.fit(state, now, self.task.draws(now), key, on_pass)
        state, key, imagined = self.imagine(state, now, key)
        return state, key, Refreshed(report, found | imagined)

    def batches(
        self, state: ImaginationState, now: Moment, key: PRNGKeyArray, count: int
    ) -> Batches:
        config, size = self.task.config, self.task.agent_config.batch_size
        share = (config.offline if now.stage == "offline" else config.online).real_ratio
        real_rows = int(share * size)
        log, planned = None, jax.device_put(np.zeros((count, 0), np.int32))
        if real_rows:
            log, planned = self.task.read(self.task.draws(now).rows(key, (count, real_rows)))
        return Batches(PartlyImagined(size, real_rows), state.imagined, None, planned, log)

    noted = learns_no_notes

    def pack_hand_over(self, state: ImaginationState) -> dict:
        return {"model": state.model, "penalty_coef": state.penalty_coef}

    def unpack_hand_over(self, fresh: ImaginationState, kept: dict) -> ImaginationState:
        """A calibrated lambda is handed over; a given one is taken from the configuration."""
        measured = self.task.config.penalty_coverage is not None
        penalty_coef = kept["penalty_coef"] if measured else fresh.penalty_coef
        return self._with_model(kept["model"], fresh.imagined, penalty_coef)

    def fit(
        self,
        state: ImaginationState,
        now: Moment,
        drawn: Draws,
        key: PRNGKeyArray,
        on_pass: OnPass | None = None,
    ) -> tuple[ImaginationState, PRNGKeyArray, FitReport]:
        """Lines 2 and 13: goes on training the models on rows drawn from D_off and D_on.

        The first fit may take more steps, and it also measures how inputs are standardised.
        """
        model = self.task.config.model
        first = not int(optax.tree.get(state.model.opt_state, "count"))
        if not first and model.refit_learning_rate is not None:
            model = dataclasses.replace(model, learning_rate=model.refit_learning_rate)
        with self.task.clock("fit" if now.stage == "offline" else "refit"):
            key, key_fit = jax.random.split(key)
            fitted, report = fit_ensemble(
                state.model,
                self.task.read_to_fit(key_fit, first=first),
                now.online,
                drawn.online_share(train_only=True),
                key_fit,
                model,
                draw=drawn.rows if isinstance(drawn, EachRow) else None,
                keep_normaliser=not first and not model.refit_normaliser,
                max_steps=model.max_fit_steps if first else model.max_refit_steps,
                on_pass=on_pass,
            )
            return self._with_model(fitted, state.imagined, state.penalty_coef), key, report

    def calibrate_penalty(
        self, state: ImaginationState, now: Moment, key: PRNGKeyArray
    ) -> tuple[ImaginationState, PRNGKeyArray]:
        """Calibrates lambda if `penalty_coverage` is given, once the critics are trained."""
        config = self.task.config
        if config.penalty_coverage is None or now.epoch == 1:
            return state, key
        key, key_calibration = jax.random.split(key)
        penalty_coef = calibrate_penalty(
            now.agent,
            state.model.ensemble,
            self.task.log,
            key_calibration,
            agent=self.task.agent,
            terminated_fn=self.task.terminated_fn,
            settings=self._rollouts(1),
            coverage=config.penalty_coverage,
            spread=self.spread,
        )
        return dataclasses.replace(state, penalty_coef=penalty_coef), key

    def imagine(
        self,
        state: ImaginationState,
        now: Moment,
        key: PRNGKeyArray,
        count: int | None = None,
        length: int | None = None,
    ) -> tuple[ImaginationState, PRNGKeyArray, Metrics]:
        """Lines 14 to 16: rollouts from states of D_off and D_on into D_model.

        D_model keeps the rollouts of the retained epochs at this H, as in MBPO.

        Args:
            state: state of the imagination.
            now: gives the newest policy, which acts, and the data in which rollouts start.
            key: random key of the run.
            count: number of rollouts; by default that of the stage.
            length: H; by default that of the stage and the epoch.

        Raises:
            InputError: no transition is usable.
        """
        task, config = self.task, self.task.config
        stage = config.offline if now.stage == "offline" else config.online
        count = stage.rollout_batch if count is None else count
        ring = state.imagined
        with task.clock("imagine"):
            if now.stage == "online":
                length = self._length(now.epoch) if length is None else length
                ring = rollouts.make_room(ring, online_room(config, length))
            key, key_starts, key_rollout = jax.random.split(key, 3)
            log, rows = task.read(task.draws(now).rows(key_starts, (count,)))
            imagined, metrics = rollouts.imagine(
                ring,
                task.agent.policy(now.agent),
                state.model,
                log,
                now.online,
                self._logged_range,
                rows,
                state.penalty_coef,
                key_rollout,
                agent=task.agent,
                terminated_fn=task.terminated_fn,
                settings=self._rollouts(count, length),
                agent_state=now.agent,
                spread=self.spread,
                halt=state.halt,
            )
            if int(imagined.size) == 0:
                raise InputError(
                    "no imagined transition is usable: the models' predictions are not finite or "
                    f"lie beyond imagined_bound ({config.imagined_bound:g})."
                )
            return dataclasses.replace(state, imagined=imagined), key, metrics

    def compare_policies(
        self,
        state: ImaginationState,
        now: Moment,
        key: PRNGKeyArray,
        acting: PyTree,
        bar: Float[Array, ""],
    ) -> tuple[Bool[Array, ""], PyTree, PRNGKeyArray, Metrics]:
        """Whether the newest policy may act instead of `acting`, who acts, and metrics."""
        task, gate = self.task, self.task.config.gate
        key, key_starts, key_rollout = jax.random.split(key, 3)
        if gate.horizon is None:
            first, shape = task.first_states, (gate.rollouts,)
            assert first is not None  # without a log there is no gate
            starts = first[jax.random.randint(key_starts, shape, 0, len(first))]
            steps, discount = task.episode_steps, 1.0
        else:
            log, rows = task.read(task.draws(now).rows(key_starts, (gate.rollouts,)))
            starts = jnp.asarray(gather(log, now.online, rows).obs)
            steps, discount = gate.horizon, task.agent_config.discount
        in_trials = bool(task.config.dip_budget) and now.stage == "online"
        accepted, acting, metrics = compare_policies(
            acting,
            task.agent.policy(now.agent),
            state.model.ensemble,
            starts,
            state.penalty_coef if gate.penalised else None,
            key_rollout,
            agent=task.agent,
            terminated_fn=task.terminated_fn,
            settings=dataclasses.replace(
                self._rollouts(gate.rollouts, steps),
                # Another member at each step is like noise, and in trials policies act without.
                one_member=in_trials and task.config.one_member,
            ),
            discount=discount,
            confidence=gate.confidence,
            bar=bar,
            calibrated=gate.calibrated and now.stage == "offline",
            agent_state=now.agent,
            spread=self.spread,
            within=self.within(now.online),
            drawn=not in_trials,
        )
        return accepted, acting, key, metrics

    def surprise(self, state: ImaginationState, now: Moment) -> Metrics:
        """How well the models predict the transitions collected since the last refit."""
        if not self.task.config.diagnostics:
            return {}
        with self.task.clock("diagnose"):
            count = self.task.config.online.refit_every
            return rollouts.surprise_of_newest(state.model.ensemble, now.online, count)

    def _rollouts(self, count: int, length: int | None = None) -> RolloutSettings:
        task = self.task
        return rollout_settings(task.config, task.agent_config.discount, count, length)

    def _length(self, epoch: int) -> int:
        return rollout_length(self.task.config, epoch)
