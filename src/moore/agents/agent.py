"""The interface of an agent: an update rule, as pure functions over a frozen state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.agents.nets import Actor
from moore.replay.buffer import Replay

Metrics = dict[str, Float[Array, "..."]]


@runtime_checkable
class Init(Protocol):
    """The state before any update, for these numbers of entries of observations and actions."""

    def __call__(self, key: PRNGKeyArray, obs_dim: int, action_dim: int, config: Any) -> PyTree: ...


@runtime_checkable
class Update(Protocol):
    """Makes one gradient step on a batch; metrics are scalars, or arrays that are averaged."""

    def __call__(
        self, state: PyTree, batch: Any, key: PRNGKeyArray, config: Any
    ) -> tuple[PyTree, Metrics]: ...


@runtime_checkable
class SummariseData(Protocol):
    """Called before each epoch: summarises the data as a whole."""

    def __call__(self, state: PyTree, offline: Replay, online: Replay, config: Any) -> PyTree: ...


@runtime_checkable
class Follow(Protocol):
    """Called before gradient steps: reads the online rows that are new."""

    def __call__(self, state: PyTree, online: Replay, config: Any) -> PyTree: ...


@runtime_checkable
class BeginWith(Protocol):
    """Called before learning with a clone of the log, if there is one to begin with.

    `doubt`: how far the models may be trusted near it: 0 if they know what it earns, 1 if they are
    as wrong about it as they may be, or nothing is known.
    """

    def __call__(
        self, state: PyTree, policy: PyTree, config: Any, doubt: float = 1.0
    ) -> PyTree: ...


@runtime_checkable
class Adopt(Protocol):
    """Called when another policy acts from now on: at the hand-over, and after trials."""

    def __call__(self, state: PyTree, acting: PyTree, config: Any) -> PyTree: ...


@runtime_checkable
class AfterVerdict(Protocol):
    """Called online when one of its policies was judged.

    `won`: it was tried and promoted. If not, it has clearly lost its trial, or the models refuse
    it.
    """

    def __call__(self, state: PyTree, won: bool, config: Any) -> PyTree: ...


@runtime_checkable
class Unjudged(Protocol):
    """Called before it learns from the log alone, where no trial judges its steps."""

    def __call__(self, state: PyTree, config: Any) -> PyTree: ...


@runtime_checkable
class Act(Protocol):
    """A sampled action in (-1, 1)."""

    def __call__(
        self, policy: PyTree, obs: Float[Array, "*batch obs"], key: PRNGKeyArray, /
    ) -> Float[Array, "*batch action"]: ...


@runtime_checkable
class ActMode(Protocol):
    """The action in (-1, 1) without noise."""

    def __call__(
        self, policy: PyTree, obs: Float[Array, "*batch obs"], /
    ) -> Float[Array, "*batch action"]: ...


@runtime_checkable
class Value(Protocol):
    """The value of these states under the policy, by the critics."""

    def __call__(
        self, state: PyTree, obs: Float[Array, "batch obs"], key: PRNGKeyArray
    ) -> Float[Array, " batch"]: ...


@runtime_checkable
class ScoresActions(Protocol):
    """Whether the agent uses the density of logged actions under a tanh policy."""

    def __call__(self, config: Any) -> bool: ...


@runtime_checkable
class HandOver(Protocol):
    """Makes the online stage's first state from the last one of the offline stage."""

    def __call__(self, state: PyTree, config: Any) -> PyTree: ...


@runtime_checkable
class NewEpisode(Protocol):
    """Told that the running episode was abandoned."""

    def __call__(self, state: PyTree) -> PyTree: ...


def summarises_nothing(state: PyTree, offline: Replay, online: Replay, config: Any) -> PyTree:
    """`summarise_data` of an agent that needs no summary of the data."""
    del offline, online, config
    return state


def follows_nothing(state: PyTree, online: Replay, config: Any) -> PyTree:
    """For an agent that learns only from its batches."""
    del online, config
    return state


def begins_afresh(state: PyTree, policy: PyTree, config: Any, doubt: float = 1.0) -> PyTree:
    """For an agent that does not begin with a known policy."""
    del policy, config, doubt
    return state


def goes_its_own_way(state: PyTree, acting: PyTree, config: Any) -> PyTree:
    """For an agent that learns on whoever acts."""
    del acting, config
    return state


def learns_nothing_of_verdicts(state: PyTree, won: bool, config: Any) -> PyTree:
    """For an agent that does not ask how its policies were judged."""
    del won, config
    return state


def goes_on(state: PyTree, config: Any) -> PyTree:
    """For an agent that does not change at the hand-over, or before it learns from the log."""
    del config
    return state


def scores_no_actions(config: Any) -> bool:
    """Says no: the agent never needs the density of a logged action under its policy."""
    del config
    return False


def scores_logged_actions(config: Any) -> bool:
    """Says yes: the agent always needs the density of logged actions under its policy."""
    del config
    return True


def scores_in_warm_up(config: Any) -> bool:
    """For an agent whose actor imitates the log during its warm-up, if it has one."""
    return config.warm_up > 0


def ignores_episodes(state: PyTree) -> PyTree:
    """For an agent that does not use episodes."""
    return state


@dataclass(frozen=True)
class Agent:
    """An update rule.

    Attributes:
        name: name of the rule and of its section in a configuration.
        settings: makes this section with its default values.
        init, update, policy, act, act_mode: see the protocols; `policy` returns the part of a state
            that acting needs.
        value: see the protocol; None if the critics do not evaluate the policy.
        summarise_data, follow, hand_over, new_episode: see the protocols; by default nothing is
            done.
        begin_with, adopt, after_verdict, unjudged: see the protocols; by default nothing is done.
        scores_actions: see the protocol; such agents have difficulties with actions at the bounds.
        actor: class of its policies, by which a saved one is read.
        keeps_rows: whether it keeps something for every row of the log, which then must be in
            memory.
        long_horizon: whether `horizons_per_episode` may raise its discount.
    """

    name: str
    settings: Callable[[], Any]
    init: Init
    update: Update
    policy: Callable[[PyTree], PyTree]
    act: Act
    act_mode: ActMode
    value: Value | None = None
    summarise_data: SummariseData = summarises_nothing
    follow: Follow = follows_nothing
    begin_with: BeginWith = begins_afresh
    adopt: Adopt = goes_its_own_way
    after_verdict: AfterVerdict = learns_nothing_of_verdicts
    unjudged: Unjudged = goes_on
    hand_over: HandOver = goes_on
    new_episode: NewEpisode = ignores_episodes
    scores_actions: ScoresActions = scores_no_actions
    actor: type = Actor
    keeps_rows: bool = False
    long_horizon: bool = False

    @property
    def parts(self) -> "tuple[Agent, ...]":
        """The agents that it consists of: itself, or those that take turns."""
        return (self,)

    @property
    def sections(self) -> tuple[str, ...]:
        """Names of its sections of a run's configuration."""
        return (self.name,)

    def config(self, config: Any) -> Any:
        """Its settings in a run's configuration."""
        return getattr(config, self.name)
