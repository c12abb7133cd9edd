"""The interface of an experience, which is where the batches of an agent come from.

Each kind has a state of its own (models, imagined data, priorities, ...) that only it reads. The
stages call the functions of `Experience` and need not know the kind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.clock import Clock
from moore.config import Config
from moore.data import row_file
from moore.data.episodes import TIME_LIMIT
from moore.dynamics.ensemble import Normaliser
from moore.dynamics.fit import FitReport
from moore.dynamics.imagine import TerminationFn
from moore.experience.on_disk import DiskLog
from moore.replay.buffer import Counts, Replay
from moore.replay.draws import Draws, EachRow, Groups, each_row
from moore.replay.priorities import RowScheme
from moore.replay.schemes import Scheme, uniform
from moore.tables import Section
from moore.units import AS_GIVEN, Units

Metrics = dict[str, Float[Array, "..."]]
Stage = Literal["offline", "online"]
OnPass = Callable[[int, tuple[float, ...]], None]


@dataclass(frozen=True, eq=False)
class Task:
    """What an experience is made for; it is fixed for a whole run.

    Attributes:
        config: configuration of the run.
        agent: update rule that learns from the batches.
        log: D_off on the device, in the agents' units; empty without a log, and a random part of
            one that lies on disk.
        terminated_fn: termination rule of imagined episodes.
        first_states: first states of the log's episodes (episodes, obs); None without a log.
        episode_steps: largest number of steps of an imagined episode.
        scheme: f(d, t), the sampling scheme of the online stage.
        units: conversion of the user's units to the agent's.
        clock: measures the time of each part of the run.
        disk: D_off, if it lies on disk.
    """

    config: Config
    agent: Agent
    log: Replay
    terminated_fn: TerminationFn
    first_states: Float[Array, "episodes obs"] | None = None
    episode_steps: int = TIME_LIMIT
    scheme: Scheme | RowScheme = field(default_factory=uniform)
    units: Units = AS_GIVEN
    clock: Clock = field(default_factory=Clock)
    disk: DiskLog | None = None
    _tables: dict[tuple[int, int], EachRow] = field(default_factory=dict, repr=False)

    @cached_property
    def agent_config(self) -> Any:
        """The agent's settings, in its units."""
        return self.units.settings_in(self.agent.config(self.config))

    @property
    def dims(self) -> tuple[int, int]:
        """Numbers of entries of an observation and of an action."""
        return self.log.data.obs.shape[1], self.log.data.action.shape[1]

    @property
    def online_rows(self) -> int:
        """Largest number of transitions that the online stage collects."""
        return max(self.config.online.epochs * self.config.online.steps_per_epoch, 1)

    @cached_property
    def logged(self) -> Replay | Counts:
        """What there is to know of D_off before something is drawn from it."""
        return self.log if self.disk is None else self.disk.counts

    def read(self, rows: Int[Array, "*shape"]) -> tuple[Replay, Int[Array, "*shape"]]:
        """A buffer that holds the logged ones among these joint rows, and their joint rows in it.

        In memory that is the log itself.
        """
        return (self.log, rows) if self.disk is None else self.disk.pool(rows)

    @property
    def range_on_disk(self) -> tuple[Float[Array, " obs"], Float[Array, " obs"]] | None:
        """The range of a log on disk, see `DiskLog`; None in memory."""
        return None if self.disk is None else self.disk.range

    def read_to_fit(self, key: PRNGKeyArray, *, first: bool) -> Replay:
        """The log for a fit of the models; of one on disk as many random rows as a fit may draw."""
        if self.disk is None:
            return self.log
        model = self.config.model
        steps = model.max_fit_steps if first else model.max_refit_steps
        rows = model.members * steps * model.batch_size
        return self.disk.window(key, min(rows, row_file.ROOM))

    def draws(self, now: "Moment") -> Draws:
        """Line 8: draws by the scheme from D_off and D_on; offline from the log alone.

        A scheme with a priority for every row is asked at each refit and at the beginning of an
        epoch.
        """
        epoch = 1 if now.stage == "offline" else now.epoch
        if isinstance(self.scheme, Scheme):
            return Groups(self.scheme, epoch, self.logged, now.online)
        refit_every = self.config.online.refit_every
        n_on = int(now.online.size) // refit_every * refit_every
        if (epoch, n_on) not in self._tables:
            self._tables.clear()
            table = each_row(self.scheme, epoch, self.log, now.online, n_on, self.units)
            self._tables[epoch, n_on] = table
        return self._tables[epoch, n_on]


@dataclass(frozen=True, eq=False)
class Moment:
    """What an experience may see of the run at one moment.

    Attributes:
        stage: the stage that is under way.
        epoch: number of the epoch in this stage.
        agent: state of the agent after the last update.
        online: D_on.
    """

    stage: Stage
    epoch: int
    agent: PyTree
    online: Replay


class Refreshed(NamedTuple):
    """Results of lines 12 to 16: the report of the fit, if models were fitted, and metrics."""

    report: FitReport | None = None
    metrics: Metrics = {}  # noqa: RUF012


@runtime_checkable
class Drawing(Protocol):
    """Draws one batch inside the compiled loop of gradient steps; must be hashable."""

    def draw(
        self,
        pool: PyTree,
        notes: PyTree,
        offline: Replay,
        online: Replay,
        planned: PyTree,
        key: PRNGKeyArray,
    ) -> tuple[Any, PyTree, Metrics]:
        """A batch, the notes after drawing it, and metrics.

        `pool` does not change within the loop, `notes` may change at every step, and `planned` is
        this step's part of what was drawn before the loop.
        """  # fmt: skip

    def learned(self, notes: PyTree, batch: Any, agent: PyTree) -> tuple[PyTree, Metrics]:
        """The notes after a gradient step, and metrics; `agent` is the state before the step."""


class Batches(NamedTuple):
    """How the batches of some gradient steps are drawn, and what they are drawn from.

    `pool` and `notes` are explained at `Drawing`. `planned` has one entry for each step. `log` is
    the buffer that joint rows belong to; None: the task's.
    """

    how: Drawing
    pool: PyTree
    notes: PyTree
    planned: PyTree
    log: Replay | None = None


@runtime_checkable
class Experience(Protocol):
    """Where batches come from. `start` and `refresh` take the run's key and return the next one."""

    def begin(self, key: PRNGKeyArray) -> PyTree:
        """The state before the offline stage."""

    def start(
        self, state: PyTree, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
    ) -> tuple[PyTree, PRNGKeyArray, Refreshed]:
        """Prepares the first epoch of a stage: line 2 offline, and a filled D_model online."""

    def refresh(
        self, state: PyTree, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
    ) -> tuple[PyTree, PRNGKeyArray, Refreshed]:
        """Lines 12 to 16 of Algorithm 1: once an offline epoch, and every phi online steps."""

    def hand_over(self, state: PyTree) -> PyTree:
        """Lines 4 and 5: keeps what was learned and empties what belongs to one stage."""

    def batches(self, state: PyTree, now: Moment, key: PRNGKeyArray, count: int) -> Batches:
        """Line 18: the batches of the next `count` gradient steps."""

    def noted(self, state: PyTree, notes: PyTree) -> PyTree:
        """The state after gradient steps, from the notes that they left."""

    def pack_hand_over(self, state: PyTree) -> PyTree:
        """The part of the state that a checkpoint of the hand-over stores."""

    def unpack_hand_over(self, fresh: PyTree, kept: PyTree) -> PyTree:
        """The state at the end of the offline stage, from a fresh one and the stored part."""


@runtime_checkable
class Models(Protocol):
    """An experience whose models can be asked. Its states have `model` and `penalty_coef`."""

    @property
    def spread(self) -> Normaliser | None:
        """What `imagined_bound` counts in."""

    def within(self, online: Replay) -> tuple[Float[Array, " obs"], Float[Array, " obs"]] | None:
        """What imagined observations are cut to."""

    def compare_policies(
        self, state: PyTree, now: Moment, key: PRNGKeyArray, acting: PyTree, bar: Float[Array, ""]
    ) -> tuple[Bool[Array, ""], PyTree, PRNGKeyArray, Metrics]:
        """Whether the newest policy may act instead of `acting`, who acts, and why."""


@dataclass(frozen=True)
class ExperienceKind:
    """A kind of experience, as the table of algorithms names it.

    Attributes:
        name: name of the kind.
        build: makes the experience of a run from its task.
        has_models: whether it fits models of the system and makes rollouts in them.
        by_scheme: whether batches follow the sampling scheme of the run; if not, the kind has its
            own rule.
        from_disk: whether it can draw from a log on disk.
        sections: further sections of settings that the kind needs, besides those of the models and
            the gate. They are defined in files of `moore.dynamics`, where a configuration finds
            them.
    """

    name: str
    build: Callable[[Task], Experience]
    has_models: bool = False
    by_scheme: bool = True
    from_disk: bool = False
    sections: tuple[Section, ...] = ()
