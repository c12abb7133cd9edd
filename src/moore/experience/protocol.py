"""What an experience is: where the batches of an agent come from.

Each kind has a state of its own (models, imagined data, priorities, ...) that only it looks into.
The stages call the five functions of `Experience`, whatever the kind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.clock import Clock
from moore.config import Config
from moore.data.episodes import TIME_LIMIT
from moore.dynamics.fit import FitReport
from moore.dynamics.imagine import TerminationFn
from moore.replay.buffer import Replay
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
    """What an experience is made for: fixed for a whole run.

    Attributes:
        config: of the run.
        agent: whose batches they are.
        log: D_off on the device, in the agents' units; empty without a log.
        terminated_fn: the rule that ends imagined episodes.
        first_states: where the log's episodes begin (episodes, obs); None without a log.
        episode_steps: the longest that an imagined episode may be.
        scheme: f(d, t), the sampling scheme of the online stage.
        units: how the user's units become the agents'.
        clock: where the time goes.
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
    _tables: dict[tuple[int, int], EachRow] = field(default_factory=dict, repr=False)

    @cached_property
    def agent_config(self) -> Any:
        """The agent's settings, in its units."""
        return self.units.settings_in(self.agent.config(self.config))

    @property
    def dims(self) -> tuple[int, int]:
        """Entries of an observation and of an action."""
        return self.log.data.obs.shape[1], self.log.data.action.shape[1]

    @property
    def online_rows(self) -> int:
        """Transitions that the online stage may collect."""
        return max(self.config.online.epochs * self.config.online.steps_per_epoch, 1)

    def draws(self, now: "Moment") -> Draws:
        """Line 8: what the scheme draws from D_off and D_on; offline that is the log alone.

        Priorities of single rows are those of the last refit, or of the beginning of the epoch.
        """
        epoch = 1 if now.stage == "offline" else now.epoch
        if isinstance(self.scheme, Scheme):
            return Groups(self.scheme, epoch, self.log, now.online)
        refit_every = self.config.online.refit_every
        n_on = int(now.online.size) // refit_every * refit_every
        if (epoch, n_on) not in self._tables:
            self._tables.clear()
            table = each_row(self.scheme, epoch, self.log, now.online, n_on, self.units)
            self._tables[epoch, n_on] = table
        return self._tables[epoch, n_on]


@dataclass(frozen=True, eq=False)
class Moment:
    """What an experience sees of the rest of a run at one moment.

    Attributes:
        stage: which one is under way.
        epoch: of that stage.
        agent: the state that the last update has left.
        online: D_on.
    """

    stage: Stage
    epoch: int
    agent: PyTree
    online: Replay


class Refreshed(NamedTuple):
    """What happened in lines 12 to 16: the fit's report, if models were fitted, and metrics."""

    report: FitReport | None = None
    metrics: Metrics = {}  # noqa: RUF012


@runtime_checkable
class Drawing(Protocol):
    """How one batch is made inside the compiled loop of gradient steps; hashable."""

    def draw(
        self,
        pool: PyTree,
        notes: PyTree,
        offline: Replay,
        online: Replay,
        planned: PyTree,
        key: PRNGKeyArray,
    ) -> tuple[Any, PyTree, Metrics]:
        """A batch, the notes after it, and metrics.

        `pool`: what does not change within the loop. `notes`: what does. `planned`: this step's
        part of what was drawn before the loop.
        """  # fmt: skip

    def learned(self, notes: PyTree, batch: Any, agent: PyTree) -> tuple[PyTree, Metrics]:
        """The notes after the step, and metrics; `agent` as it was before the step."""


class Batches(NamedTuple):
    """The batches of some gradient steps: how they are made, and what of.

    `pool`, `notes`: see `Drawing`. `planned`: with a leading axis, one entry a step.
    """

    how: Drawing
    pool: PyTree
    notes: PyTree
    planned: PyTree


@runtime_checkable
class Experience(Protocol):
    """Where batches come from. `start` and `refresh` take the run's key and return it moved on."""

    def begin(self, key: PRNGKeyArray) -> PyTree:
        """A fresh state, before the offline stage."""

    def start(
        self, state: PyTree, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
    ) -> tuple[PyTree, PRNGKeyArray, Refreshed]:
        """Before the first epoch of a stage: line 2 offline, a full D_model online."""

    def refresh(
        self, state: PyTree, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
    ) -> tuple[PyTree, PRNGKeyArray, Refreshed]:
        """Lines 12 to 16: once in an offline epoch, every phi steps of the online stage."""

    def hand_over(self, state: PyTree) -> PyTree:
        """Lines 4 and 5: what was learned goes on, what was made for one stage starts empty."""

    def batches(self, state: PyTree, now: Moment, key: PRNGKeyArray, count: int) -> Batches:
        """Line 18: the batches of the next `count` gradient steps."""

    def noted(self, state: PyTree, notes: PyTree) -> PyTree:
        """The state after gradient steps that have left these notes."""

    def pack_hand_over(self, state: PyTree) -> PyTree:
        """What a checkpoint of the hand-over holds of the state."""

    def unpack_hand_over(self, fresh: PyTree, kept: PyTree) -> PyTree:
        """A fresh state with what `pack_hand_over` has kept, as at the end of the offline stage."""


@dataclass(frozen=True)
class ExperienceKind:
    """A kind of experience, as the table of algorithms names it.

    Attributes:
        name: of the kind.
        build: makes the experience of a run.
        has_models: whether it fits models of the system and imagines in them.
        by_scheme: whether batches follow the run's sampling scheme; otherwise the kind's own rule.
        sections: settings of its own, in files of `moore.dynamics`, where a configuration finds
            them; beside those of models and gate.
    """

    name: str
    build: Callable[[Task], Experience]
    has_models: bool = False
    by_scheme: bool = True
    sections: tuple[Section, ...] = ()
