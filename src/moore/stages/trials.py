"""Trials within a dip budget: `moore.stages.budget` counts, this module keeps the policies.

The policy that was handed over is the reference. Every refresh offers a frozen copy of the newest
policy, unless the models call it worse than the acting one. Policies act without noise, so that the
cost of a trial is due to the policy.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from moore.experience.policy_comparison import doubt_about, tells_of_models
from moore.experience.protocol import Metrics
from moore.replay.buffer import Transition
from moore.stages import budget_summary
from moore.stages.budget import REFERENCE, DipBudget
from moore.stages.choosing import Turn
from moore.stages.learner import Learner, LearnerState
from moore.stages.promises import Promise, Promises
from moore.stages.standing import Standing, apart
from moore.trees import copied
from moore.units import Units


class Trials:
    """Decides who acts within a dip budget.

    Attributes:
        budget: the account and its decisions.
        policies: the policies that may act, by number.
        offered: number of the policy that was offered last, 0 if none was.
        handed_over: number of the policy that was handed over.
        promises: what the models said of policies that were offered, and how much of it came true.
        propose: told of a new challenger, where the account is kept in another process: that one
            offers it, and `take_up` repeats it here. It returns the number of the challenger, or
            None if there is none. Without `propose` it is offered at once.
    """

    account: type[DipBudget] = DipBudget
    handed_over = REFERENCE

    def __init__(
        self,
        learner: Learner,
        budget: DipBudget,
        policies: dict[int, PyTree],
        *,
        offered: int = 0,
        promises: Promises | None = None,
    ):
        self._learner = learner
        self.budget, self.policies, self.offered = budget, policies, offered
        self.promises = promises or Promises()
        self._tried = self._on_trial()
        self.propose: Callable[[PyTree], int | None] | None = None

    @classmethod
    def begun(cls, learner: Learner, budget: DipBudget, state: LearnerState) -> "Trials":
        """The trials of a new online stage; the policy that was handed over is the reference."""
        policies = {REFERENCE: copied(learner.policy(state))}
        return cls(learner, budget, policies, promises=promises_of(state))

    @property
    def known(self) -> budget_summary.Earned | None:
        """What the incumbent earns."""
        return budget_summary.of_incumbent(self.budget)

    def use(self, learner: Learner) -> None:
        self._learner = learner

    def turn(self, state: LearnerState) -> Turn:
        """The policy whose turn it is, without noise; nothing is planned if others decide."""
        del state
        policy = self.policies[self.budget.acting] if self.propose is None else self.decided
        return Turn(policy, lambda: policy, drawn=False)

    @property
    def decided(self) -> PyTree:
        """The policy that acts by what was decided so far."""
        return self.policies[self.budget.running.acting]

    def act(
        self, state: LearnerState, obs: np.ndarray, *, random: bool
    ) -> tuple[np.ndarray, LearnerState]:
        """The action without noise of the policy whose turn it is, or a random one."""
        if random:
            return self._learner.act(state, obs, random=True)
        return self._learner.act_mode(self.policies[self.budget.acting], obs), state

    def observed(
        self, state: LearnerState, transition: Transition | None, *, in_episode: bool
    ) -> LearnerState:
        """Books the reward. The incumbent is the policy that is evaluated and saved."""
        state = self._hear_verdict(state)  # another challenger may have taken its place before
        book(self.budget, self._learner.units, transition, in_episode=in_episode)
        return self._settled(self._hear_verdict(state))

    def _hear_verdict(self, state: LearnerState) -> LearnerState:
        """What came of a challenger tells what promises, and the agent's steps, are worth."""
        tried, self._tried = self._tried, self._on_trial()
        if tried is None or tried[0] == self.budget.challenger:
            return state
        policy, record = tried
        self._settle_promise(policy, record)
        if record.mean()[1] == 0.0:
            return state
        learner, won = self._learner, policy in self.budget.incumbents
        told = learner.algorithm.agent.after_trial(state.agent, won, learner.agent_config)
        return dataclasses.replace(state, agent=told)

    def _on_trial(self) -> tuple[int, Standing] | None:
        """The challenger and its record."""
        tried = self.budget.challenger
        return None if tried is None else (tried, self.budget.standings[tried])

    def _settle_promise(self, policy: int, record: Standing) -> None:
        promise, budget = self.promises.forget(policy), self.budget
        (gained, parts), known = record.mean(), {REFERENCE, *budget.standings}
        if promise is None or promise.against not in known or parts == 0.0:
            return
        other, other_parts = budget.record_of(promise.against)
        error = apart(parts, other_parts, spread=budget.earnings.spread, by=1.0, error=0.0)
        self.promises.settle(promise, gained - other, error)

    def consider(
        self, state: LearnerState, epoch: int, returns: Sequence[float], *, in_episode: bool
    ) -> tuple[LearnerState, Metrics]:
        """Offers the newest policy as a challenger."""
        del returns, in_episode
        learner, found = self._learner, {}
        predicted, error = None, 0.0
        if learner.models is not None:
            state, found = learner.compare_newest(state, epoch)
            state, found = self._told_of_models(state, found)
            out = learner.units.reward_out
            predicted, error = (
                float(out(found[f"gate/{name}"])) for name in ("gain", "standard_error")
            )
        same = predicted == error == 0.0  # the newest policy is the incumbent
        accepted = not same and self.budget.accepts(predicted=predicted, standard_error=error)
        if accepted:
            number = self._offer(learner.newest_policy(state))
            if predicted is not None and number is not None:
                self.promises.given[number] = Promise(predicted, self.budget.incumbent)
        return self._settled(state), found | {"gate/accepted": jnp.asarray(float(accepted))}

    def _offer(self, policy: PyTree) -> int | None:
        """Offers a policy here or elsewhere; its number, or None if nobody could take it."""
        if self.propose is not None:
            return self.propose(policy)
        self.take_up(self.offered + 1, copied(policy))
        return self.offered

    def take_up(self, number: int, policy: PyTree) -> None:
        """Offers a policy as a challenger, under a number that was not used before."""
        if self.budget.offer(number):
            for passed_over in range(self.offered + 1, number):
                self.promises.forget(passed_over)
            self.offered, self.policies[number] = number, policy

    def _told_of_models(self, state: LearnerState, found: Metrics) -> tuple[LearnerState, Metrics]:
        """The agent hears how much of the models' promises is expected not to come true."""
        learner, known, promises = self._learner, self.known, self.promises
        first = self.budget.incumbent == self.handed_over and not promises.learned
        if first and known is not None and tells_of_models(known.size, known.error):
            predicted = float(learner.units.reward_out(found["gate/return"] - found["gate/gain"]))
            promises.doubt_before = doubt_about(predicted, known.mean, known.size)
        doubt = promises.doubt
        told = learner.algorithm.agent.after_comparison(state.agent, doubt, learner.agent_config)
        return dataclasses.replace(state, agent=told), found | {"gate/doubt": jnp.asarray(doubt)}

    def new_episode(self, state: LearnerState) -> LearnerState:
        """Ends the episode early: what was earned counts, the rest of it does not."""
        self.budget.end(terminated=False)
        return self._settled(self._learner.new_episode(state))

    def metrics(self) -> dict[str, float]:
        return budget_summary.everything(self.budget)

    def _settled(self, state: LearnerState) -> LearnerState:
        """Drops policies that will not act again, and puts the incumbent into the gate."""
        for number in drop_others(self.policies, self.budget):
            self.promises.forget(number)
        incumbent = self.policies[self.budget.incumbent]
        if state.gate is None or state.gate.acting is incumbent:
            return state
        learner = self._learner
        agent = learner.algorithm.agent.adopt(state.agent, incumbent, learner.agent_config)
        gate = dataclasses.replace(state.gate, acting=incumbent)
        return dataclasses.replace(state, agent=agent, gate=gate)

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """As JSON and arrays, for a checkpoint."""
        arrays = {}
        for number, policy in self.policies.items():
            for place, leaf in enumerate(jax.tree.leaves(policy)):
                arrays[f"policies/{number}/{place}"] = np.asarray(leaf)
        facts = {
            "budget": budget_summary.pack(self.budget),
            "policies": sorted(self.policies),
            "offered": self.offered,
            "promises": self.promises.pack(),
        }
        return facts, arrays


def book(
    budget: DipBudget, units: Units, transition: Transition | None, *, in_episode: bool
) -> None:
    """Books a step in the system; `transition` is in the agents' units, None if not measured."""
    reward = math.nan
    if transition is not None:
        reward = float(units.reward_out(transition.reward))
    budget.step(reward)
    if not in_episode:
        budget.end(terminated=transition is not None and bool(transition.terminated))


def drop_others(policies: dict[int, PyTree], budget: DipBudget) -> set[int]:
    """Drops the policies that will not act again, and returns their numbers."""
    dropped = policies.keys() - budget.kept - {REFERENCE}
    for number in dropped:
        del policies[number]
    return dropped


def promises_of(state: LearnerState) -> Promises:
    """What is known of the models' promises at the hand-over."""
    gate = state.gate
    return Promises() if gate is None else Promises(float(gate.doubt), bool(gate.passed))


def unpack_trials(
    learner: Learner,
    state: LearnerState,
    facts: dict[str, Any],
    arrays: dict[str, np.ndarray],
    kind: type[Trials] = Trials,
) -> Trials:
    """The trials that `Trials.pack` has packed; `state` gives the structure of a policy."""
    structure = jax.tree.structure(learner.policy(state))
    policies = {}
    for number in facts["policies"]:
        leaves = [arrays[f"policies/{number}/{i}"] for i in range(structure.num_leaves)]
        policies[number] = jax.tree.unflatten(structure, [jnp.asarray(x) for x in leaves])
    budget = budget_summary.unpack(facts["budget"], kind.account)
    return kind(
        learner,
        budget,
        policies,
        offered=facts["offered"],
        promises=Promises.unpack(facts["promises"]),
    )
