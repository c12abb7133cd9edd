"""Two agents in turn: one learns from the log, the other one goes on in the system.

The second begins with the policy that the first hands over, unless it has learned from the log
before (`moore.stages.from_log`): then it goes on from there, beside that policy. Each has a section
of its own in a configuration.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray, PyTree

from moore.agents.agent import Agent, Metrics


@dataclass(frozen=True)
class InTurnConfig:
    """The settings of both. What is asked for by its name alone is the offline agent's."""

    offline: Any
    online: Any

    @property
    def discount(self) -> float:
        return self.offline.discount

    @property
    def hidden(self) -> tuple[int, ...]:
        return self.offline.hidden


class InTurnState(eqx.Module):
    """The states of both agents; that of the first is None after the hand-over."""

    offline: PyTree | None
    online: PyTree


@dataclass(frozen=True)
class _InTurn:
    """What the functions of such an agent are made of."""

    first: Agent
    then: Agent

    def init(
        self, key: PRNGKeyArray, obs_dim: int, action_dim: int, config: InTurnConfig
    ) -> InTurnState:
        key_first, key_then = jax.random.split(key)
        first = self.first.init(key_first, obs_dim, action_dim, config.offline)
        then = self.then.init(key_then, obs_dim, action_dim, config.online)
        # So that the networks have the widths of the policy that it will adopt.
        return InTurnState(
            first, self.then.begin_with(then, self.first.policy(first), config.online)
        )

    def hand_over(self, state: InTurnState, config: InTurnConfig) -> InTurnState:
        """Ends the first agent's training; the second one adopts its policy."""
        ended = self.first.hand_over(state.offline, config.offline)
        policy = self.first.policy(ended)
        return InTurnState(None, self.then.adopt(state.online, policy, config.online))

    def policy(self, state: InTurnState) -> PyTree:
        if state.offline is None:
            return self.then.policy(state.online)
        return self.first.policy(state.offline)

    def update(
        self, state: InTurnState, batch: Any, key: PRNGKeyArray, config: InTurnConfig
    ) -> tuple[InTurnState, Metrics]:
        if state.offline is None:
            learned, metrics = self.then.update(state.online, batch, key, config.online)
            return InTurnState(None, learned), metrics
        learned, metrics = self.first.update(state.offline, batch, key, config.offline)
        return InTurnState(learned, state.online), metrics

    def passed_on(self, of: Callable[[Agent], Callable[..., PyTree]]) -> Callable[..., InTurnState]:
        """What takes a state and returns the next one, of the agent whose turn it is.

        `of`: gives that function of an agent.
        """

        def call(state: InTurnState, *arguments: Any) -> InTurnState:
            if state.offline is None:
                own = (x.online if isinstance(x, InTurnConfig) else x for x in arguments)
                return InTurnState(None, of(self.then)(state.online, *own))
            own = (x.offline if isinstance(x, InTurnConfig) else x for x in arguments)
            return InTurnState(of(self.first)(state.offline, *own), state.online)

        return call


@dataclass(frozen=True, kw_only=True)
class InTurnAgent(Agent):
    """An agent that is one before the hand-over and another one after it; `in_turn` makes it."""

    both: _InTurn

    @property
    def first(self) -> Agent:
        """The agent of the offline stage."""
        return self.both.first

    @property
    def parts(self) -> tuple[Agent, ...]:
        return (*self.both.first.parts, *self.both.then.parts)

    @property
    def sections(self) -> tuple[str, ...]:
        return (*self.both.first.sections, *self.both.then.sections)

    def config(self, config: Any) -> InTurnConfig:
        return InTurnConfig(self.both.first.config(config), self.both.then.config(config))


def in_turn(first: Agent, then: Agent) -> InTurnAgent:
    """An agent that learns as `first` before the hand-over and as `then` after it.

    It has the name of the first. Both must have policies of the same kind, which act in the same
    way. The second one's `adopt` must make a policy its own if it has learned nothing yet.
    """
    both = _InTurn(first, then)
    return InTurnAgent(
        name=first.name,
        settings=first.settings,
        init=both.init,
        update=both.update,
        policy=both.policy,
        act=first.act,
        act_mode=first.act_mode,
        summarise_data=both.passed_on(lambda agent: agent.summarise_data),
        follow=both.passed_on(lambda agent: agent.follow),
        begin_with=both.passed_on(lambda agent: agent.begin_with),
        adopt=both.passed_on(lambda agent: agent.adopt),
        after_verdict=both.passed_on(lambda agent: agent.after_verdict),
        unjudged=both.passed_on(lambda agent: agent.unjudged),
        hand_over=both.hand_over,
        new_episode=both.passed_on(lambda agent: agent.new_episode),
        actor=first.actor,
        keeps_rows=first.keeps_rows or then.keeps_rows,
        long_horizon=first.long_horizon,
        both=both,
    )
