"""Rollouts of the newest policy before the hand-over, real rows of log and system after it.

The models are refitted online all the same, since they are asked about new policies.
For an agent that changes at the hand-over (`moore.agents.in_turn`).
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from moore.agents.in_turn import InTurnAgent
from moore.dynamics.chains import SECTION
from moore.dynamics.ensemble import Normaliser
from moore.experience import diagnostics
from moore.experience.defaults import learns_no_notes
from moore.experience.imagination import Imagination
from moore.experience.on_policy import OnPolicy, OnPolicyState
from moore.experience.protocol import (
    Batches,
    ExperienceKind,
    Metrics,
    Moment,
    OnPass,
    Refreshed,
    Task,
)
from moore.experience.replay import RealRows
from moore.replay.buffer import Replay


@dataclass(frozen=True, eq=False)
class RealOnline:
    """Chains of rollouts offline, and draws from D_off and D_on by the scheme online."""

    task: Task

    @cached_property
    def _offline(self) -> OnPolicy:
        agent = self.task.agent
        assert isinstance(agent, InTurnAgent)
        return OnPolicy(dataclasses.replace(self.task, agent=agent.first))

    @cached_property
    def _models(self) -> Imagination:
        return Imagination(self.task)

    @property
    def spread(self) -> Normaliser | None:
        """What `imagined_bound` counts in."""
        return self._models.spread

    def within(self, online: Replay) -> diagnostics.ObsRange | None:
        """What imagined observations are cut to."""
        return self._models.within(online)

    def begin(self, key: PRNGKeyArray) -> OnPolicyState:
        """Fresh models, and no rows yet."""
        return self._offline.begin(key)

    def hand_over(self, state: OnPolicyState) -> OnPolicyState:
        """The models go on, with next to no room for rows: online no round is made."""
        return self._offline.empty(state.imagination, 1)

    def start(
        self, state: OnPolicyState, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
    ) -> tuple[OnPolicyState, PRNGKeyArray, Refreshed]:
        """Offline the models are fitted to the log; online nothing is to be prepared."""
        if now.stage == "online":
            return state, key, Refreshed()
        return self._offline.start(state, _before(now), key, on_pass)

    def refresh(
        self, state: OnPolicyState, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
    ) -> tuple[OnPolicyState, PRNGKeyArray, Refreshed]:
        """Offline a round of rollouts, online a refit of the models."""
        if now.stage == "offline":
            return self._offline.refresh(state, _before(now), key)
        found = self._models.surprise(state.imagination, now)
        models, key, report = self._models.fit(
            state.imagination, now, self.task.draws(now), key, on_pass
        )
        return dataclasses.replace(state, imagination=models), key, Refreshed(report, found)

    def batches(self, state: OnPolicyState, now: Moment, key: PRNGKeyArray, count: int) -> Batches:
        """Offline passes over the round, online rows by the scheme."""
        if now.stage == "offline":
            return self._offline.batches(state, _before(now), key, count)
        batch = self.task.agent_config.online.batch_size
        log, planned = self.task.read(self.task.draws(now).rows(key, (count, batch)))
        return Batches(RealRows(), None, None, planned, log)

    noted = learns_no_notes

    def pack_hand_over(self, state: OnPolicyState) -> dict:
        return self._models.pack_hand_over(state.imagination)

    def unpack_hand_over(self, fresh: OnPolicyState, kept: dict) -> OnPolicyState:
        models = self._models.unpack_hand_over(fresh.imagination, kept)
        return dataclasses.replace(fresh, imagination=models)

    def compare_policies(
        self,
        state: OnPolicyState,
        now: Moment,
        key: PRNGKeyArray,
        acting: PyTree,
        bar: Float[Array, ""],
    ) -> tuple[Bool[Array, ""], PyTree, PRNGKeyArray, Metrics]:
        """See `Imagination.compare_policies`."""
        return self._models.compare_policies(state.imagination, now, key, acting, bar)


def _before(now: Moment) -> Moment:
    """The moment as the agent of the offline stage sees it."""
    return dataclasses.replace(now, agent=now.agent.offline)


KIND = ExperienceKind(
    "real_online", RealOnline, has_models=True, from_disk=True, sections=(SECTION,)
)
