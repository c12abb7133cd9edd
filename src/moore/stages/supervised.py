"""Trials beside a controller that ran before: that one is the reference, and the account is told.

In a run the dip budget itself decides who acts. Where a supervisor decides (by a mode, a guard,
time-outs), the budget says only whether a policy may act, and is told in every step who did. So
the account is right whoever acted, and a trial that was cut short is no verdict.

Episodes of a log may count as the reference's if it has written them. Nobody else acts before it
has acted in a live episode, too; and if its live episodes earn something else, the log's count no
more: it was another controller, another plant, or another reward.
"""

import sys
import warnings
from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import PyTree

from moore.experience.policy_comparison import allowed
from moore.stages.budget import REFERENCE, DipBudget
from moore.stages.budget_summary import Earned
from moore.stages.choosing import Turn
from moore.stages.evidence import LEAST_SPREAD, cautious_deviation, radius
from moore.stages.learner import Learner, LearnerState
from moore.stages.trials import Trials
from moore.trees import copied

# A limit that nothing falls below: JSON, in which the account is stored, has no infinity.
_NO_LIMIT = -sys.float_info.max
# The policy that was handed over, as a challenger like those that come later.
_HANDED_OVER = 1
# Probability that live episodes of the reference are held to be unlike the log's by chance, in each
# of four bounds.
_UNLIKE = 0.005


@dataclass
class SupervisedBudget(DipBudget):
    """The account of a system in which somebody else decides who acts.

    Attributes:
        logged: number of the reference's first known episodes that a log has told.
        logged_course: sum over them of the worth at each mark.
    """

    logged: int = 0
    logged_course: list[float] = field(default_factory=list)

    @property
    def lets_others_act(self) -> bool:
        """Whether a policy may act in the next step."""
        if self.logged and self.logged == self.earnings.episodes:
            return False  # nobody has seen yet that the reference does what the log says
        return self.acting != REFERENCE and self.running.needed > _NO_LIMIT

    def candidate(self, known: Container[int]) -> int:
        """Which of these policies acts, or would act if the reference did not."""
        for number in (self.running.acting, self.incumbent, self.challenger, self.waiting):
            if number and number in known:
                return number
        return REFERENCE

    def told(self, *, by_reference: bool, free: bool, policy: int) -> None:
        """Told before `step` who acts in this step.

        Args:
            by_reference: whether the reference acts.
            free: whether policies may be tried; if not, no trial begins in this episode any more.
            policy: number of the policy that acts if the reference does not.
        """
        if not free:
            self._begin_no_trial()
        acting = self.acting
        if by_reference and acting != REFERENCE:
            self._give_way()
        elif not by_reference and acting == REFERENCE and self.running.others_since is None:
            self._take_over(policy)  # the user wants it to act, whatever it costs
            self.running.needed = _NO_LIMIT

    def step(self, reward: float, steps: int = 1) -> None:
        """As in `DipBudget`; a policy that could not begin at its mark begins after this step."""
        super().step(reward, steps)
        now = self.running
        if now.planned and now.acting == REFERENCE:
            self._change_over()

    def end(self, *, terminated: bool) -> None:
        """As in `DipBudget`; an episode in which no trial could begin is the reference's."""
        if self.running.others_since is None and not self.earnings.ends:
            self.running.trial_at = None
        known = self.earnings.episodes
        super().end(terminated=terminated)
        if self.logged and self.earnings.episodes > known:
            self._compare_with_log()

    def _compare_with_log(self) -> None:
        """The log's episodes do not count any more if the live ones earn something else."""
        worths, logged = self.earnings.worths, self.logged
        live = worths[logged:]
        of_log, of_live = sum(worths[:logged]) / logged, sum(live) / len(live)
        spread = cautious_deviation(worths[:logged]) if logged > 1 else abs(of_log)
        spread = max(spread, LEAST_SPREAD * abs(of_log))  # equal episodes are no exact knowledge
        chance = spread * (radius(float(logged), _UNLIKE) + radius(float(len(live)), _UNLIKE))
        if abs(of_live - of_log) <= chance:
            return
        floor = self.earnings.floor * self.earnings.length
        of_live, of_log = of_live + floor, of_log + floor
        warnings.warn(
            f"The controller earns {of_live:.4g} in a live episode and {of_log:.4g} in one of the "
            "log, which is no chance; the log does not count as its record any more.",
            stacklevel=2,
        )
        course = zip(self.earnings.course, self.logged_course, strict=True)
        left = [total - part for total, part in course]
        self.earnings = replace(self.earnings, worths=live, course=left)
        if self.rate is not None:
            worths, steps = self.rate.worths[logged:], self.rate.steps[logged:]
            self.rate = replace(self.rate, worths=worths, steps=steps)
        self.ledger.credit = self.yardstick.credit
        self.logged, self.logged_course = 0, []

    def take_back(self) -> None:
        """After an alarm: every promotion is taken back, and nobody waits to be tried."""
        if self.running.acting != REFERENCE:
            self._give_way()
        self._begin_no_trial()
        self.lost += self.challenger is not None and self.record_of(self.challenger)[1] > 0.0
        self.demoted += len(self.incumbents) - 1
        self.incumbents, self.challenger, self.waiting = [REFERENCE], None, None
        self.standings.clear()

    def _begin_no_trial(self) -> None:
        now = self.running
        if not now.planned:
            now.planned, now.units, now.own_units = True, self.ledger.units, self.ledger.own_units
        now.others_at = now.trial_at = None

    def _give_way(self) -> None:
        """The reference acts although a policy was to; what that one did so far counts."""
        now = self.running
        if now.steps == int(now.since[0]) == now.others_since:
            self._put_off()
            return
        self._record(now.steps)
        now.handed_back, now.acting = True, REFERENCE
        now.since = [float(now.steps), now.worth]

    def _put_off(self) -> None:
        """The policy has not begun yet; it may one step later, if parts of episodes count."""
        now = self.running
        tried = now.trial_since is not None
        self.trials -= tried
        self.ledger.nearest.pop()
        later = None if self.earnings.ends else now.steps + 1
        now.others_at, now.trial_at = later, later if tried else None
        now.acting, now.others_since, now.trial_since = REFERENCE, None, None
        now.since = [float(now.steps), now.worth]


def supervised(budget: DipBudget, *, by_log: bool = False) -> SupervisedBudget:
    """An account with the same earnings, rules and ledger that hears from outside who acts.

    Args:
        budget: what is known before the first step.
        by_log: whether the episodes known of the reference are those of a log, so that live ones
            must be like them.
    """
    made = SupervisedBudget(
        budget.share, budget.earnings, budget.rules, ledger=budget.ledger, rate=budget.rate
    )
    if by_log:
        made.logged, made.logged_course = made.earnings.episodes, list(made.earnings.course)
    return made


class SupervisedTrials(Trials):
    """Trials whose reference is the controller that ran before, which is no policy of the learner.

    Where it is asked for a policy instead (by the models, as the one that newer policies are
    compared with), the policy that was handed over stands in. That one is the first challenger.
    """

    budget: SupervisedBudget
    account = SupervisedBudget

    @classmethod
    def begun(cls, learner: Learner, budget: DipBudget, state: LearnerState) -> "SupervisedTrials":
        """The trials of a new session."""
        policy = copied(learner.policy(state))
        policies = {REFERENCE: policy, _HANDED_OVER: policy}
        trials = cls(learner, budget, policies, offered=_HANDED_OVER)
        budget.offer(_HANDED_OVER)
        return trials

    @property
    def known(self) -> Earned | None:
        """What the incumbent earns, if it is a policy that the models can be asked about."""
        return None if self.budget.incumbent == REFERENCE else super().known

    def _error_about_incumbent(self, predicted: float) -> float:
        """Where nobody knows what it earns, as far as the offline stage would still believe them.

        Else any newer policy would take the place of the one that was handed over, before anybody
        has tried that one, however bad the models call it.
        """
        return super()._error_about_incumbent(predicted) if self.known else allowed(abs(predicted))

    def turn(self, state: LearnerState) -> Turn:
        """The policy that acts, or would act if the old controller did not."""
        del state
        policy = self.decided
        return Turn(policy, lambda: policy, drawn=False)

    @property
    def decided(self) -> PyTree:
        """The policy of `turn`, for which nothing is planned."""
        return self.policies[self.budget.candidate(self.policies)]

    def told(self, *, by_reference: bool, free: bool) -> None:
        """Told before `observed` who acted; see `SupervisedBudget.told`."""
        candidate = self.budget.candidate(self.policies)
        self.budget.told(by_reference=by_reference, free=free, policy=candidate)

    def alarmed(self, state: LearnerState) -> LearnerState:
        """Makes the reference the incumbent again, after an alarm of the guard."""
        self.budget.take_back()
        return self._settled(state)

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        facts, arrays = super().pack()
        return facts | {"supervised": True}, arrays
