"""A session without an environment: the control system has the clock, and asks for actions."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moore.data.dataset import Dataset
from moore.data.live_records import Records
from moore.data.live_steps import Step, Steps, Unit, plain, plain_reward
from moore.errors import InputError
from moore.files import locked, whole_path
from moore.jax_settings import plain_jax
from moore.runs.policy import Policy
from moore.sessions.acting import Actor
from moore.sessions.blocks import records_of_episode, rows_of_log
from moore.sessions.feeder import Feeder
from moore.sessions.folder import (
    LOG,
    Facts,
    copy_to,
    found_folder,
    load,
    new_folder,
    read_facts,
    save_state,
    write_facts,
)
from moore.sessions.held import Held
from moore.sessions.journal import Journal
from moore.sessions.readings import each, flag_of, reward_of, rows_of, units_of
from moore.sessions.start import Start, begin
from moore.sessions.studying import Studying

# Steps of a unit that may wait for their rewards at a time.
PATIENCE = 1000
_NEW = {"fed": 0, "finished": [], "number": 0}


class Session:
    """A policy that acts in a live system and learns from it, one call at a time.

    Everything is in the user's units. Every step is written to `log` before anything learns from
    it. Calls come from one thread; `docs/session.md` explains every one.

    Example:
        >>> with moore.Session.from_run("runs/plant") as session:  # doctest: +SKIP
        ...     action = session.act(obs)
        ...     session.observe(reward=reward, next_obs=next_obs)
        ...     session.learn(seconds=0.5)
    """

    def __init__(self, folder: Path, facts: Facts, start: Start, info: dict):
        """Opens the folder; use `from_run` or `resume`, which call this."""
        self._folder, self._facts, self._setup = folder, facts, start.setup
        self._learning = start.learning
        world = start.setup.world
        self._actor = Actor(start.setup, facts.seed)
        self._held = Held(world.bounds, world.max_bad_readings)
        self._feeder = Feeder(
            start.setup, start.learning, skip=info["fed"], finished=info["finished"]
        )
        self._number, self._released = info["number"], []
        self._steps, self._open = Steps(PATIENCE), contextlib.ExitStack()
        with self._open as stack:
            stack.enter_context(locked(folder))
            self._repeat(records := Records(self.log))
            self._journal = Journal(self.log, self._header(), records)
            stack.callback(self._journal.close)
            self._studying = Studying(folder, start.learning, self._feeder, info)
            stack.callback(self._studying.close)
            self._break_off()
            self._learning.rehearse()
            self._actor.use(self._turn)
            self._open = stack.pop_all()

    @classmethod
    @plain_jax()
    def from_run(
        cls,
        run: str | Path,
        out: str | Path | None = None,
        *,
        dataset: Dataset | str | Path | None = None,
        at: str = "newest",
        seed: int | None = None,
        accept: tuple[str, ...] = (),
    ) -> "Session":
        """A new session that goes on from a run; nothing is written to the run's folder.

        Args:
            run: folder of a run whose offline stage is done.
            out: a new folder for the session; by default sessions/{run}__{time}.
            dataset: the run's log, if its file has moved or it was given as an object.
            at: "newest" goes on from the newest state of the run, "hand-over" from the end of its
                offline stage.
            seed: seed of the noise of the actions; by default that of the run.
            accept: ("hand-over",) to act although something speaks against the policy.

        Raises:
            InputError: there is no such run, something speaks against its policy, or the folder is
                not empty.
        """
        run = whole_path(run)
        start = begin(run, dataset=dataset, at=at, accept=tuple(accept))
        folder = new_folder(out, run)
        facts = write_facts(folder, run, start.setup.config.seed if seed is None else seed)
        session = cls(folder, facts, start, _NEW)
        session.save()
        return session

    @classmethod
    @plain_jax()
    def resume(
        cls,
        path: str | Path,
        *,
        run: str | Path | None = None,
        dataset: Dataset | str | Path | None = None,
    ) -> "Session":
        """Goes on with a saved session.

        Steps that were recorded after it was saved are taken from its log. The restored policy must
        give the actions that were stored with it.

        Args:
            path: folder of the session, or a copy that `save(path)` made.
            run: folder of the run that it started from, if it has moved.
            dataset: as for `from_run`.

        Raises:
            InputError: there is no such session, its files are damaged, or the restored policy acts
                differently.
        """
        folder = found_folder(path)
        facts = read_facts(folder)
        start, found = load(folder, facts, None if run is None else whole_path(run), dataset)
        return cls(folder, facts, start, found.info)

    @property
    def folder(self) -> Path:
        """The folder of the session."""
        return self._folder

    @property
    def log(self) -> Path:
        """The folder of its log, which `moore.load_dataset` reads."""
        return self._folder / LOG

    @property
    def policy(self) -> Policy:
        """The policy that acts now, as `moore.load_policy` would return it."""
        return self._actor.use(self._turn)

    @property
    def due(self) -> int:
        """Number of updates that the schedule of the run asks for and that were not made."""
        return self._studying.due

    @property
    def _turn(self):
        return self._learning.chooser.turn(self._learning.state)

    def act(self, obs: Any, *, unit: Unit | Sequence[Unit] | None = None) -> np.ndarray:
        """The action for an observation, within the bounds.

        If an entry of the observation is not finite, the last good action of the unit is given
        again, and nothing is learned from the step.

        Args:
            obs: (obs,), or (units, obs) for several units at once.
            unit: id of the unit, a whole number or a text, or a list of them; by default 0, or 0,
                1, 2, ...

        Returns:
            (action,), or (units, action), float32.

        Raises:
            InputError: another shape, too many bad readings in a row, or the step cannot be
                written to the disk.
        """
        self._check_open()
        rows, units, single = rows_of("obs", obs, self._setup.world.obs_dim, unit)
        self._refuse_several(units)
        good = np.isfinite(rows).all(axis=1)
        self._held.count(units, good)
        actions, density = self._held.actions(units), [None] * len(units)
        random, turn = self._learning.random, self._turn
        policy = "random" if random else self._actor.use(turn) and self._actor.id
        if good.any():
            drawn = self._actor.draw(rows[good], self._steps.last + 1, turn, random=random)
            for row, action, value in zip(
                np.flatnonzero(good), drawn.action, drawn.log_density, strict=True
            ):
                if np.isfinite(action).all():
                    actions[row], density[row] = action, value
        now = round(time.time(), 3)
        self._write(
            [
                {
                    "kind": "act",
                    "step": self._steps.last + 1 + row,
                    "unit": one,
                    "obs": plain(rows[row]),
                    "action": plain(actions[row]),
                    "log_density": density[row],
                    "policy": policy,
                    "gate": self._learning.verdict,
                    "time": now,
                }
                for row, one in enumerate(units)
            ]
        )
        return actions[0] if single else actions

    @plain_jax()
    def observe(
        self,
        *,
        reward: Any = None,
        next_obs: Any = None,
        terminated: Any = False,
        truncated: Any = False,
        unit: Unit | Sequence[Unit] | None = None,
    ) -> int | list[int]:
        """Tells what came of the newest action of a unit, or of several.

        Args:
            reward: the reward, or (units,); None: it comes later, by `reward`. A reward that is not
                finite was not measured, and nothing is learned from the step.
            next_obs: (obs,) or (units, obs), what followed; None: it is the next `act`'s
                observation.
            terminated: whether the system itself ended the episode, one flag or (units,).
            truncated: whether the episode was cut, one flag or (units,).
            unit: as for `act`.

        Returns:
            The number of the step, or of each unit's.

        Raises:
            InputError: another shape or type, the unit has no open action, an episode ends without
                `next_obs`, or the disk refuses.
        """
        self._check_open()
        rows = None
        if next_obs is not None:
            rows, units, single = rows_of("next_obs", next_obs, self._setup.world.obs_dim, unit)
        elif single := np.ndim(reward) == np.ndim(unit) == 0:
            units = units_of(unit, 1, single=True)
        else:
            units = units_of(unit, np.size(reward if np.ndim(reward) else unit), single=False)
        parts = {"reward": reward, "terminated": terminated, "truncated": truncated}
        rewards, *flags = (each(name, value, len(units)) for name, value in parts.items())
        records = []
        for row, one in enumerate(units):
            ends = [
                flag_of(name, flag[row])
                for name, flag in zip(("terminated", "truncated"), flags, strict=True)
            ]
            if rows is None and any(ends):
                raise InputError(
                    "next_obs is missing where the episode ends; give the last observation, "
                    "because no later one belongs to this episode."
                )
            records.append(
                {
                    "kind": "observe",
                    "step": self._running(one).number,
                    "next_obs": None if rows is None else plain(rows[row]),
                    "reward": plain_reward(reward_of(rewards[row])),
                    "terminated": ends[0],
                    "truncated": ends[1],
                }
            )
        self._write(records)
        self._feed()
        numbers = [record["step"] for record in records]
        return numbers[0] if single else numbers

    @plain_jax()
    def reward(self, step: int, reward: float) -> None:
        """Tells a reward that comes late.

        Steps of a unit are learned from in their order, so a step whose reward is missing holds up
        those after it; a reward of NaN says that it will never come. After 1000 steps it is taken
        for granted.

        Args:
            step: number of the step, from `observe`.
            reward: the reward.

        Raises:
            InputError: the step has a reward already, or is not known.
        """
        self._check_open()
        found, value = self._steps.find(step), reward_of(reward)
        if found is None or not found.seen or found.reward is not None or value is None:
            raise InputError(
                f"step {step!r} waits for no reward; give the number that observe() returned, and "
                "each reward once."
            )
        self._write([{"kind": "reward", "step": step, "reward": plain_reward(value)}])
        self._feed()

    @plain_jax()
    def gap(self, *, unit: Unit | None = None) -> None:
        """Tells that the unit's next step does not follow its last one.

        What lies between is not bridged. A new episode begins, as far as learning is concerned.
        """
        self._check_open()
        self._write([{"kind": "gap", "unit": units_of(unit, 1, single=True)[0]}])
        self._feed()

    @plain_jax()
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
        self._check_open()
        records = records_of_episode(
            obs, action, reward, world=self._setup.world, first=self._steps.last + 1,
            terminated=flag_of("terminated", terminated),
            truncated=not terminated if truncated is None else flag_of("truncated", truncated),
            policy=policy, log_density=log_density, unit=units_of(unit, 1, single=True)[0],
        )  # fmt: skip
        return self._take_block(records)

    @plain_jax()
    def add_log(self, source: Dataset | str | Path, *, unit: Unit = "episodes") -> int:
        """Takes the rows of another log, for instance of the days since the last round.

        Args:
            source: everything that `moore.load_dataset` takes.
            unit: id of the unit that acted.

        Returns:
            The number of steps.

        Raises:
            InputError: the log cannot be read, or does not fit.
        """
        self._check_open()
        one = units_of(unit, 1, single=True)[0]
        records = rows_of_log(source, self._setup.world, first=self._steps.last + 1, unit=one)
        return len(self._take_block(records))

    def _take_block(self, records: list[dict]) -> list[int]:
        self._write(records)
        self._feed()
        return [record["step"] for record in records if record["kind"] == "act"]

    @plain_jax()
    def learn(self, *, updates: int | None = None, seconds: float | None = None) -> int:
        """Learns from the steps so far; the next action may be another policy's.

        Without arguments it does what the schedule of the run asks for: updates after every step,
        and refits of the models (if there are any) after every `refit_every` steps. With an
        argument it makes as much of that as fits, and goes on beyond it if there is room.

        Args:
            updates: number of gradient updates; they come in whole groups, so there may be a few
                more.
            seconds: time that it may take; what has begun then is finished.

        Returns:
            The number of updates that were made.

        Raises:
            InputError: both arguments are given, or one is negative.
        """
        self._check_open()
        self._feed()
        self._journal.sync()
        made = self._studying.learn(updates=updates, seconds=seconds)
        self._actor.use(self._turn)
        return made

    @plain_jax()
    def save(self, path: str | Path | None = None) -> Path:
        """Saves what was learned, and a copy of the whole session to `path` if it is given.

        Returns:
            The folder that `resume` takes.

        Raises:
            InputError: something else is at `path`, or the disk refuses.
        """
        self._check_open()
        self._studying.check_sound()
        self._feed()
        self._journal.sync()
        self._number += 1
        info = {"number": self._number, "session": self._facts.id, **self._studying.info}
        info |= {"fed": self._feeder.fed, "finished": self._feeder.finished}
        save_state(self._folder, self._number, self._setup, self._learning, self.policy, info)
        target = self._folder if path is None else whole_path(path)
        if target != self._folder:
            copy_to(target, self._folder, self._facts)
        return target

    def close(self) -> None:
        """Ends the session. What was learned since `save` is lost, no step is."""
        self._open.close()
        self._closed = True

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        """Saves the session, unless an error ends it, and closes it."""
        try:
            if kind is None:
                self.save()
        finally:
            self.close()

    _closed = False

    def _check_open(self) -> None:
        if self._closed:
            raise InputError(
                f"this session is closed; go on with moore.Session.resume({str(self._folder)!r})."
            )

    def _header(self) -> dict:
        """The facts about the session that its log holds."""
        world = self._setup.world
        return {
            "session": self._facts.id,
            "env_id": world.env_id,
            "action_low": world.bounds.low.tolist(),
            "action_high": world.bounds.high.tolist(),
            "patience": PATIENCE,
        }

    def _refuse_several(self, units: list[Unit]) -> None:
        """A dip budget counts one episode after the other."""
        several = {*units, *(unit for unit in self._steps.open if unit != "episodes")}
        if self._setup.config.dip_budget is not None and len(several) > 1:
            raise InputError(
                "the run has a dip budget, which counts one episode after the other; use one unit, "
                "or a session for each."
            )

    def _running(self, unit: Unit) -> Step:
        step = self._steps.newest(unit)
        if step is None or step.seen or step.lost:
            raise InputError(
                f"unit {unit!r} has no action whose outcome is open; call act() first, and "
                "observe() once after it."
            )
        return step

    def _write(self, records: list[dict]) -> None:
        """Writes records, then takes them; what comes out is fed to the learner later."""
        self._journal.write(records)
        for record in records:
            self._take(record)

    def _take(self, record: dict) -> None:
        for step in self._steps.take(record):
            self._released.append(step)
        own = record["kind"] == "act" and record["policy"] is not None
        if own and None not in record["obs"]:
            self._held.keep(record["unit"], np.asarray(record["action"], np.float32))

    def _feed(self) -> None:
        steps, self._released = self._released, []
        for step in steps:
            self._feeder.add(step)
            if step.ends:
                self._held.end_episode(step.unit)

    def _repeat(self, records: Records) -> None:
        """Takes the records of earlier times; the learner has some of their steps already."""
        for record in records:
            self._take(record)
            self._feed()

    def _break_off(self) -> None:
        """The first steps of every unit do not follow those of an earlier time."""
        if self._steps.open:
            self._write([{"kind": "gap", "unit": unit} for unit in self._steps.open])
            self._feed()
