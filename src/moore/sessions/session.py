"""A session without an environment: the control system has the clock, and asks for actions."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moore.data.dataset import Dataset
from moore.errors import TurnError
from moore.files import whole_path
from moore.formats.live_steps import Unit, plain_reward
from moore.runs.policy import Policy
from moore.sessions.blocks import outcomes, records_of_episode, rows_of_log
from moore.sessions.learner_report import LearnerReport
from moore.sessions.one_by_one import alone, one_by_one
from moore.sessions.opening import Opened
from moore.sessions.readings import Ids, flag_of, reward_of, rows_of, step_of, units_of
from moore.sessions.telling import Status
from moore.sessions.watched import UnitStanding


class Session(Opened):
    """A policy that acts in a live system and learns from it, one call at a time.

    Everything is in the user's units. Every step is written to `log` before anything learns from
    it. Calls may come from several threads: one waits for the other.
    `docs/session.md` explains every one.

    Examples:
        >>> with moore.Session.from_run("runs/plant") as session:  # doctest: +SKIP
        ...     action = session.act(obs)
        ...     session.observe(reward=reward, next_obs=next_obs)
        ...     session.learn(seconds=0.5)
    """

    @property
    def folder(self) -> Path:
        """The folder of the session."""
        return self._operation.folder

    @property
    def log(self) -> Path:
        """The folder of its log, for `moore.load_dataset`."""
        return self._operation.log

    @property
    @alone
    def policy(self) -> Policy:
        """The policy that acts now, or would act if the old controller did not."""
        return self._operation.policy

    @property
    def due(self) -> int:
        """Number of updates that the schedule of the run asks for and that were not made."""
        return self._operation.studying.due

    @property
    @alone
    def status(self) -> Status:
        """How the session stands."""
        return self._operation.status

    @property
    def learner(self) -> LearnerReport:
        """How far learning is, and whether it goes on."""
        return self._operation.studying.report

    @property
    def mode(self) -> str | None:
        """off, shadow, canary or on; None without a controller that ran before."""
        return self._operation.mode

    @property
    def standing(self) -> dict[Unit, UnitStanding]:
        """For every unit who acted last and why; empty without a controller that ran before."""
        return self._operation.standing

    @property
    @alone
    def budget(self) -> float | None:
        """What trials may still lose, in the units of rewards; None without a loss budget."""
        account = self._operation.studying.account
        return None if account is None else max(account.affordable(), 0.0)

    @property
    def overdue(self) -> str:
        """Why `act` should have been called by now, as a sentence; empty if it need not.

        A timer in another thread may read it, for a call that does not come cannot notice itself.
        """
        supervisor = self._operation.supervisor
        return "" if supervisor is None else supervisor.overdue

    @alone
    def restart_learner(self) -> None:
        """Starts a learner process that has ended, or hangs, again from the newest saved state."""
        self._opened().restart_learner()

    @alone
    def act(self, obs: Any, *, unit: Ids = None, observed_at: float | None = None) -> np.ndarray:
        """The action for an observation, within the bounds.

        If an entry of the observation is not finite, the last good action of the unit is given
        again, and nothing is learned from the step.

        Args:
            obs: (obs,), or (units, obs) for several units at once.
            unit: id of the unit, a whole number or a text, or a list of them; by default 0, or 0,
                1, 2, ...
            observed_at: when it was measured, in seconds of the session's clock; for time-outs.

        Returns:
            (action,), or (units, action), float32.

        Raises:
            InputError: another shape, too many bad readings in a row, or the step cannot be
                written to the disk and no old controller stands by, which would act then.
        """
        operation = self._opened()
        width, names = operation.world.obs_dim, operation.likeness.columns
        rows, units, single = rows_of("obs", obs, width, unit, names)
        begin = time.perf_counter()
        actions = operation.act(rows, units, observed_at)
        operation.bulletin.took(time.perf_counter() - begin)
        return actions[0] if single else actions

    @one_by_one
    def observe(
        self,
        *,
        reward: Any = None,
        next_obs: Any = None,
        terminated: Any = False,
        truncated: Any = False,
        signals: Any = None,
        unit: Ids = None,
    ) -> int | list[int]:
        """Tells what came of the newest action of a unit, or of several.

        Args:
            reward: the reward, or (units,); None: it comes later, by `reward`. A reward that is not
                finite was not measured, and nothing is learned from the step.
            next_obs: (obs,) or (units, obs), what followed; None: it is the next `act`'s
                observation.
            terminated: whether the system itself ended the episode, one flag or (units,).
            truncated: whether the episode was cut, one flag or (units,).
            signals: readings of the signals that the guard watches, {name: value}, or one for each
                unit.
            unit: as for `act`.

        Returns:
            The number of the step, or of each unit's; 0 where it is not recorded, because the disk
            refused and the old controller acted.

        Raises:
            InputError: another shape or type, the unit has no open action, an episode ends without
                `next_obs`, or the disk refuses.
        """
        operation, rows = self._opened(), None
        if next_obs is not None:
            width, names = operation.world.obs_dim, operation.likeness.columns
            rows, units, single = rows_of("next_obs", next_obs, width, unit, names)
        elif single := np.ndim(reward) == np.asarray(unit).ndim == 0:
            units = units_of(unit, 1, single=True)
        else:
            several = np.asarray(reward if np.ndim(reward) else unit)
            units = units_of(unit, several.size, single=False)
        told = {"reward": reward, "terminated": terminated, "truncated": truncated}
        numbers = operation.observe(units, lambda steps: outcomes(steps, rows, **told), signals)
        self._pause(np.any(terminated) or np.any(truncated))
        return numbers[0] if single else numbers

    @one_by_one
    def reward(self, step: int | np.integer, reward: float) -> None:
        """Tells a reward that comes late.

        Steps of a unit are learned from in their order, so a step whose reward is missing holds up
        those after it. A reward of NaN says that it will never come. When 1000 later steps wait for
        it, the step is given up: nothing is learned from it.

        Args:
            step: number of the step, from `observe`.
            reward: the reward.

        Raises:
            InputError: the step has a reward already, or is not known.
        """
        operation = self._opened()
        number, value = step_of(step), reward_of(reward)
        found = operation.steps.find(number)
        if found is None or not found.seen or found.reward is not None or value is None:
            raise TurnError(
                f"step {step!r} waits for no reward; give the number that observe() returned, and "
                "each reward once."
            )
        operation.take([{"kind": "reward", "step": number, "reward": plain_reward(value)}])

    @one_by_one
    def gap(self, *, unit: Unit | None = None) -> None:
        """Tells that the unit's next step does not follow its last one.

        What lies between is not bridged. A new episode begins, as far as learning is concerned.
        """
        operation = self._opened()
        operation.take([{"kind": "gap", "unit": units_of(unit, 1, single=True)[0]}])

    @one_by_one
    def observe_episode(
        self,
        obs: Any,
        action: Any,
        reward: Any,
        *,
        terminated: bool = False,
        truncated: bool | None = None,
        policy: str | None = None,
        log_density: Sequence[float | None] | None = None,
        unit: Unit = "episodes",
    ) -> list[int]:
        """Takes a whole episode, or a part of one, in which somebody else acted.

        Args:
            obs: (steps + 1, obs), with the observation after the last action.
            action: (steps, action), within the bounds.
            reward: (steps,).
            terminated: whether the system itself ended the episode.
            truncated: whether it was cut; by default it was, unless it was terminated. False if
                the next block goes on with it.
            policy: who acted, as a text for the log.
            log_density: logarithms of the densities of the actions, if they are known.
            unit: id of the unit; its blocks must be given in order.

        Returns:
            The numbers of the steps.

        Raises:
            InputError: shapes do not fit, an action lies outside the bounds, or the disk refuses.
        """
        operation = self._opened()
        records = records_of_episode(
            obs, action, reward, world=operation.world, first=operation.steps.last + 1,
            terminated=flag_of("terminated", terminated),
            truncated=not terminated if truncated is None else flag_of("truncated", truncated),
            policy=policy, log_density=log_density, unit=units_of(unit, 1, single=True)[0],
        )  # fmt: skip
        operation.likeness.tell_known(records)
        operation.take(records)
        self._pause()
        return [record["step"] for record in records if record["kind"] == "act"]

    @one_by_one
    def add_log(
        self, source: Dataset | str | Path, *, unit: Unit = "episodes", accept: tuple[str, ...] = ()
    ) -> int:
        """Takes the rows of another log, for instance of the days since the last round.

        Args:
            source: everything that `moore.load_dataset` takes.
            unit: id of the unit that acted.
            accept: names of findings about the log which would otherwise refuse it; known-rows,
                to take rows again that the session has.

        Returns:
            The number of steps.

        Raises:
            InputError: the log cannot be read, does not fit, or holds rows that the session has.
        """
        operation, one = self._opened(), units_of(unit, 1, single=True)[0]
        first = operation.steps.last + 1
        fits: dict[str, Any] = {"world": operation.world, "columns": operation.policy.columns}
        fits |= {"known": operation.logs_taken, "own": operation.log}
        fits["likeness"] = operation.likeness
        operation.take(rows_of_log(source, **fits, first=first, unit=one, accept=accept))
        self._pause()
        return operation.steps.last + 1 - first

    @one_by_one
    def set_mode(self, mode: str) -> None:
        """Says from the next action on how far the new policy is trusted.

        Args:
            mode: "off", "shadow", "canary" or "on"; docs/modes.md says who acts in which.

        Raises:
            InputError: there is no such mode, the session has no controller that ran before, or
                the run has no loss budget for "canary".
        """
        self._opened().set_mode(mode)

    @one_by_one
    def trust_again(self) -> None:
        """Lets the new policy act again after an alarm of the guard, if no gate can decide that.

        Raises:
            InputError: the run has a gate or a loss budget, so the next policy that is accepted
                is trusted again by itself.
        """
        self._opened().trust_again()

    @one_by_one
    def learn(self, *, updates: int | None = None, seconds: float | None = None) -> int:
        """Learns from the steps so far; the next action may be another policy's.

        Without arguments it does what the schedule of the run asks for: updates after every step,
        and refits of the models (if there are any) after every `refit_every` steps. With an
        argument it makes as much of that as fits, and goes on beyond it if there is room.
        With a learner process it orders more than the schedule, and does not wait.

        Args:
            updates: number of gradient updates, rounded up to whole groups.
            seconds: time that it may take; what has begun then is finished.

        Returns:
            The number of updates that were made, by a learner process since the last call.

        Raises:
            InputError: both arguments are given, or one is negative.
        """
        return self._opened().learn(updates=updates, seconds=seconds)

    @one_by_one
    def save(self, path: str | Path | None = None) -> Path:
        """Saves what was learned, and a copy of the whole session to `path` if it is given.

        Returns:
            The folder that `resume` takes.

        Raises:
            InputError: something else is at `path`, or the disk refuses.
        """
        return self._opened().save(None if path is None else whole_path(path))

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        """Saves the session, unless an error ends it, and closes it."""
        try:
            if kind is None:
                self.save()
        finally:
            self.close()
