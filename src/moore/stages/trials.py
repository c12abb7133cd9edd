"""Trials within a dip budget: `moore.stages.budget` counts, this module keeps the policies.

The policy that was handed over is the reference. Every refresh offers a frozen copy of the newest
policy, unless the models call it worse than the acting one by more than they are wrong about that.
Policies on the way to what the log has taught (`from_log.py`), and now and then to what a rehearsal
in the models has (`rehearsal.py`), are tried first.
Policies act without noise, so that the cost of a trial is due to the policy.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from moore.experience.protocol import Metrics, OnPass
from moore.replay.buffer import Transition
from moore.stages import budget_summary
from moore.stages.booking import book, drop_others
from moore.stages.budget import EXPLORER, REFERENCE, DipBudget
from moore.stages.choosing import Turn
from moore.stages.learner import Learner, LearnerState
from moore.stages.line_search import LineSearch
from moore.stages.rehearsal import rehearse
from moore.stages.trial_plan import is_rich
from moore.trees import copied

# A line search goes no farther if its last policy is believed to be so many standard deviations
# below the incumbent.
_LOOKS_WORSE = 0.5


class Trials:
    """Decides who acts within a dip budget.

    Attributes:
        budget: the account and its decisions.
        policies: the policies that may act, by number.
        offered: number of the policy that was offered last, 0 if none was.
        search: trials on the way to a policy that was not learned from trials.
        rehearsed: the epoch in which the last search began; None: there was none.
        taught: whether the agent has learned from the log before anything acted, and the system
            has not told yet whether that was right.
        propose: told of a new challenger, where the account is kept in another process: that one
            offers it, and `take_up` repeats it here. It returns the number of the challenger, or
            None if there is none. Without `propose` it is offered at once.
    """

    account: type[DipBudget] = DipBudget

    def __init__(
        self,
        learner: Learner,
        budget: DipBudget,
        policies: dict[int, PyTree],
        *,
        offered: int = 0,
        search: LineSearch | None = None,
        rehearsed: int | None = None,
        taught: bool = False,
    ):
        self._learner = learner
        self.budget, self.policies, self.offered = budget, policies, offered
        self.search, self.rehearsed = search or LineSearch(), rehearsed
        self.taught = taught
        self._tried, self._incumbent = self._on_trial(), budget.incumbent
        self.propose: Callable[[PyTree], int | None] | None = None

    @classmethod
    def begun(cls, learner: Learner, budget: DipBudget, state: LearnerState) -> "Trials":
        """The trials of a new online stage; the policy that was handed over is the reference."""
        policies = {REFERENCE: copied(learner.policy(state))}
        taught = not eqx.tree_equal(learner.newest_policy(state), policies[REFERENCE])
        return cls(learner, budget, policies, taught=bool(taught))

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
        """The action without noise of the policy whose turn it is, the agent's, or a random one."""
        if random:
            return self._learner.act(state, obs, random=True)
        if self.budget.acting == EXPLORER:
            return self._learner.explore(state, obs)
        return self._learner.act_mode(self.policies[self.budget.acting], obs), state

    def observed(
        self, state: LearnerState, transition: Transition | None, *, in_episode: bool
    ) -> LearnerState:
        """Books the reward. The incumbent is the policy that is evaluated and saved."""
        state = self._hear_verdict(state)  # another challenger may have taken its place before
        book(self.budget, self._learner.units, transition, in_episode=in_episode)
        return self._settled(self._hear_verdict(state))

    def _hear_verdict(self, state: LearnerState) -> LearnerState:
        """The agent hears of a challenger that was promoted, or has lost; others tell nothing."""
        (tried, lost), self._tried = self._tried, self._on_trial()
        if tried is None or tried == self.budget.challenger:
            return state
        won, has_lost = tried in self.budget.incumbents, self.budget.lost > lost
        if tried not in self.search.tried:
            return self._told(state, won=won) if won or has_lost else state
        if has_lost:  # the agent's reach is about its own steps
            self.search.end()
            state = self._unlearned(state)
        return state

    def _unlearned(self, state: LearnerState) -> LearnerState:
        """Where the system has refused what the log taught, the agent begins with who acts."""
        refused = self.taught and self.budget.incumbent not in self.search.tried
        self.taught = False
        if not refused:
            return state
        agent, config = self._learner.algorithm.agent, self._learner.agent_config
        acting = self.policies[self.budget.incumbent]
        return dataclasses.replace(state, agent=agent.begin_with(state.agent, acting, config))

    def _told(self, state: LearnerState, *, won: bool) -> LearnerState:
        """The agent hears how one of its policies was judged."""
        learner = self._learner
        told = learner.algorithm.agent.after_verdict(state.agent, won, learner.agent_config)
        return dataclasses.replace(state, agent=told)

    def _on_trial(self) -> tuple[int | None, int]:
        """The challenger, and how many have lost so far."""
        return self.budget.challenger, self.budget.lost

    def consider(
        self,
        state: LearnerState,
        epoch: int,
        returns: Sequence[float],
        *,
        in_episode: bool,
        on_pass: OnPass | None = None,
    ) -> tuple[LearnerState, Metrics]:
        """Offers a challenger: one of the line search, or the newest policy, unless refused."""
        del returns, in_episode
        learner = self._learner
        found: Metrics = {}
        predicted, error = None, 0.0
        if learner.models is not None:
            state, found = learner.compare_newest(state, epoch)
            predicted, error = self._told_by_models(found)
        newest = learner.newest_policy(state)
        same = bool(eqx.tree_equal(newest, self.policies[self.budget.incumbent]))
        worse = not self.budget.accepts(predicted=predicted, standard_error=error)
        if worse and self.budget.share > 0.0:
            state = self._told(state, won=False)
        state = self._led(state, worse=worse)
        state, accepted = self._seeks(state, epoch, on_pass), not (same or worse)
        if not self._searches() and accepted:
            self._offer(newest)
        return self._settled(state), found | {"gate/accepted": jnp.asarray(float(accepted))}

    def _led(self, state: LearnerState, *, worse: bool) -> LearnerState:
        """Where the agent itself explores, its next steps begin where it has come.

        Otherwise they begin at the policy that acts, which it is to improve: where the account is
        poor, where the models call it worse, and where it was stopped when it acted itself.
        """
        if not self.budget.explores:
            return state
        agent, config = self._learner.algorithm.agent, self._learner.agent_config
        goes_on = is_rich(self.budget) and not (worse or self.budget.astray)
        incumbent = self.policies[self.budget.incumbent]
        lead = self._learner.newest_policy(state) if goes_on else incumbent
        return dataclasses.replace(state, agent=agent.adopt(state.agent, lead, config))

    def _seeks(self, state: LearnerState, epoch: int, on_pass: OnPass | None) -> LearnerState:
        """Begins a line search, if that is due: the first towards what the log taught, if any."""
        if not self._may_seek(epoch):
            return state
        learner, first, self.rehearsed = self._learner, self.rehearsed is None, epoch
        if first and self.taught:
            goal = copied(learner.newest_policy(state))
        else:
            state = self._unlearned(state)
            earned = None if self.known is None else float(learner.units.reward_in(self.known.mean))
            epochs = learner.config.online.rehearsal_epochs
            state, goal = rehearse(learner, state, epochs=epochs, earned=earned, on_pass=on_pass)
        if goal is not None:
            self.search.begin(self.policies[self.budget.incumbent], goal)
        return state

    def _may_seek(self, epoch: int) -> bool:
        """Whether another line search is due, and policies may be tried at all."""
        budget, search, config = self.budget, self.search, self._learner.config.online
        enough = budget.share > 0.0 and budget.earnings.episodes >= budget.rules.known
        early = self.rehearsed is not None and epoch < self.rehearsed + config.rehearse_every
        under_way = search.last is not None and search.last in (budget.waiting, budget.challenger)
        # Where the account is kept elsewhere, nobody tells here who has lost.
        elsewhere = self.propose is not None
        may = bool(config.rehearsal_epochs) and enough and not (early or elsewhere)
        return may and not (search.left or under_way)

    def _searches(self) -> bool:
        """Whether a line search is under way; offers its next policy if that is due."""
        search, budget = self.search, self.budget
        budget.searched = search.last
        if search.last is not None and search.last == budget.waiting:
            return True
        if search.last is not None and search.last == budget.challenger:
            verdict = budget.verdict()
            if verdict is None or (search.left and verdict.step.mean > 0.0):
                return True  # it has not acted yet, or may still win
            if verdict.step.deviations < -_LOOKS_WORSE:
                search.end()
        if not search.left:
            return False
        number = budget.searched = self.offered + 1
        self.take_up(number, search.take(number))
        return True

    def _told_by_models(self, found: Metrics) -> tuple[float, float]:
        """How much more the newest policy earns an episode by the models, and their error.

        The error is that about the incumbent too, which has really acted: a loss that is smaller
        than it says nothing.
        """
        out = self._learner.units.reward_out
        gain, error, newest = (
            float(out(found[f"gate/{name}"])) for name in ("gain", "standard_error", "return")
        )
        return gain, math.hypot(error, self._error_about_incumbent(newest - gain))

    def _error_about_incumbent(self, predicted: float) -> float:
        """How far this is from what it earns in an episode; infinite as long as nobody knows."""
        return math.inf if self.known is None else predicted - self.known.mean

    def _offer(self, policy: PyTree) -> int | None:
        """Offers a policy here or elsewhere; its number, or None if nobody could take it."""
        if self.propose is not None:
            return self.propose(policy)
        self.take_up(self.offered + 1, copied(policy))
        return self.offered

    def take_up(self, number: int, policy: PyTree) -> None:
        """Offers a policy as a challenger, under a number that was not used before."""
        if self.budget.offer(number):
            self.offered, self.policies[number] = number, policy

    @property
    def over(self) -> bool:
        """Whether a policy was stopped, and the next episode can begin at once."""
        return self.budget.running.over

    def new_episode(self, state: LearnerState) -> LearnerState:
        """Ends the episode early: what was earned counts, the rest of it does not."""
        self.budget.end(terminated=False)
        return self._settled(self._learner.new_episode(state))

    def metrics(self) -> dict[str, float]:
        searched = float(len(self.search.tried))
        return budget_summary.everything(self.budget) | {"budget/searched": searched}

    def _settled(self, state: LearnerState) -> LearnerState:
        """Drops policies that will not act again, and puts the incumbent into the gate."""
        drop_others(self.policies, self.budget)
        number, before = self.budget.incumbent, self._incumbent
        incumbent, self._incumbent = self.policies[number], number
        if state.gate is None or state.gate.acting is incumbent:
            return state
        agent, config = self._learner.algorithm.agent, self._learner.agent_config
        # A policy of the line search is far from what the agent has learned, so it begins anew.
        leaves = before in self.search.tried and before not in self.budget.incumbents
        far = leaves or number in self.search.tried
        learned = (agent.begin_with if far else agent.adopt)(state.agent, incumbent, config)
        gate = dataclasses.replace(state.gate, acting=incumbent)
        return dataclasses.replace(state, agent=learned, gate=gate)

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """As JSON and arrays, for a checkpoint."""
        arrays = {}
        stored = {f"policies/{number}": policy for number, policy in self.policies.items()}
        stored |= {f"line/{place}": policy for place, policy in enumerate(self.search.left)}
        for name, policy in stored.items():
            for place, leaf in enumerate(jax.tree.leaves(policy)):
                arrays[f"{name}/{place}"] = np.asarray(leaf)
        facts = {
            "budget": budget_summary.pack(self.budget),
            "policies": sorted(self.policies),
            "offered": self.offered,
            "line": {"left": len(self.search.left), "tried": self.search.tried},
            "rehearsed": self.rehearsed,
            "taught": self.taught,
        }
        return facts, arrays


def unpack_trials(
    learner: Learner,
    state: LearnerState,
    facts: dict[str, Any],
    arrays: dict[str, np.ndarray],
    kind: type[Trials] = Trials,
) -> Trials:
    """The trials that `Trials.pack` has packed; `state` gives the structure of a policy."""
    known, structure = jax.tree.flatten(learner.policy(state))

    def policy(name: str) -> PyTree:
        leaves = [arrays[f"{name}/{i}"] for i in range(len(known))]
        return jax.tree.unflatten(structure, [jnp.asarray(x) for x in leaves])

    policies = {number: policy(f"policies/{number}") for number in facts["policies"]}
    left = [policy(f"line/{place}") for place in range(facts["line"]["left"])]
    return kind(
        learner,
        budget_summary.unpack(facts["budget"], kind.account),
        policies,
        offered=facts["offered"],
        search=LineSearch(left, facts["line"]["tried"]),
        rehearsed=facts["rehearsed"],
        taught=facts["taught"],
    )
