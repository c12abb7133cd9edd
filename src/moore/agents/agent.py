"""What an agent is: an update rule, as pure functions over a frozen state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.replay.buffer import Replay

Metrics = dict[str, Float[Array, "..."]]


@runtime_checkable
class Init(Protocol):
    """A fresh state, for so many entries of an observation and of an action."""

    def __call__(self, key: PRNGKeyArray, obs_dim: int, action_dim: int, config: Any) -> PyTree: ...


@runtime_checkable
class Update(Protocol):
    """One gradient step on a batch; its metrics are scalars, or arrays that are averaged."""

    def __call__(
        self, state: PyTree, batch: Any, key: PRNGKeyArray, config: Any
    ) -> tuple[PyTree, Metrics]: ...


@runtime_checkable
class SummariseData(Protocol):
    """Before each epoch: takes note of the data as a whole."""

    def __call__(self, state: PyTree, offline: Replay, online: Replay, config: Any) -> PyTree: ...


@runtime_checkable
class Follow(Protocol):
    """Before gradient steps: takes note of the online rows that are new."""

    def __call__(self, state: PyTree, online: Replay, config: Any) -> PyTree: ...


@runtime_checkable
class BeginWith(Protocol):
    """The state before learning, where a clone of the log is worth beginning with."""

    def __call__(self, state: PyTree, policy: PyTree, config: Any) -> PyTree: ...


@runtime_checkable
class AfterTrial(Protocol):
    """A trial in the system is over; `acting`: who acts now, the tried policy if it has won."""

    def __call__(self, state: PyTree, acting: PyTree, won: bool, config: Any) -> PyTree: ...


@runtime_checkable
class Act(Protocol):
    """An action in (-1, 1), sampled."""

    def __call__(
        self, policy: PyTree, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
    ) -> Float[Array, "*batch action"]: ...


@runtime_checkable
class ActMode(Protocol):
    """An action in (-1, 1), deterministic."""

    def __call__(
        self, policy: PyTree, obs: Float[Array, "*batch obs"]
    ) -> Float[Array, "*batch action"]: ...


@runtime_checkable
class Value(Protocol):
    """What the critics say that the policy earns from these states on."""

    def __call__(
        self, state: PyTree, obs: Float[Array, "batch obs"], key: PRNGKeyArray
    ) -> Float[Array, " batch"]: ...


@runtime_checkable
class ScoresActions(Protocol):
    """Whether, with these settings, the density of logged actions under a tanh policy is taken."""

    def __call__(self, config: Any) -> bool: ...


@runtime_checkable
class HandOver(Protocol):
    """What changes between the offline and the online stage."""

    def __call__(self, state: PyTree, config: Any) -> PyTree: ...


@runtime_checkable
class NewEpisode(Protocol):
    """The running episode was left without an end."""

    def __call__(self, state: PyTree) -> PyTree: ...


def summarises_nothing(state: PyTree, offline: Replay, online: Replay, config: Any) -> PyTree:
    """Of an agent to which nothing of the data as a whole matters."""
    del offline, online, config
    return state


def follows_nothing(state: PyTree, online: Replay, config: Any) -> PyTree:
    """Of an agent that learns from its batches alone."""
    del online, config
    return state


def begins_afresh(state: PyTree, policy: PyTree, config: Any) -> PyTree:
    """Of an agent that does not begin with a known policy."""
    del policy, config
    return state


def learns_nothing_of_trials(state: PyTree, acting: PyTree, won: bool, config: Any) -> PyTree:
    """Of an agent that learns from rows alone."""
    del acting, won, config
    return state


def goes_on(state: PyTree, config: Any) -> PyTree:
    """Of an agent that learns on unchanged after the hand-over."""
    del config
    return state


def scores_no_actions(config: Any) -> bool:
    """Of an agent to which actions at the border of the bounds are like all others."""
    del config
    return False


def scores_logged_actions(config: Any) -> bool:
    """Of an agent that learns by the likelihood of logged actions."""
    del config
    return True


def scores_in_warm_up(config: Any) -> bool:
    """Of an agent whose actor imitates the log during its warm-up, if it has one."""
    return config.warm_up > 0


def ignores_episodes(state: PyTree) -> PyTree:
    """Of an agent to which it does not matter where episodes begin."""
    return state


@dataclass(frozen=True)
class Agent:
    """An update rule.

    Attributes:
        name: of the rule, and of its section in a configuration.
        settings: makes that section at its defaults.
        init, update, policy, act, act_mode: see the protocols; `policy` is the part of a state that
            acting needs.
        value: None where there are no critics that speak of the policy.
        summarise_data, follow, hand_over, new_episode: between updates; by default nothing.
        begin_with, after_trial: what a clone of the log is to it before it learns, and what trials
            in the system are to it; by default nothing.
        scores_actions: whether logged actions at the border of the bounds are a difficulty.
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
    after_trial: AfterTrial = learns_nothing_of_trials
    hand_over: HandOver = goes_on
    new_episode: NewEpisode = ignores_episodes
    scores_actions: ScoresActions = scores_no_actions

    def config(self, config: Any) -> Any:
        """The agent's section of a run's configuration."""
        return getattr(config, self.name)
