"""The contest: which policy is the incumbent, which one is tried, and what their records say.

Whether a challenger is better is decided by what both really earned in a few episodes, as
`belief.py` weighs it. That decision may be wrong and is then taken back; it is the account of
`budget.py` that keeps the budget.
"""

import math
from dataclasses import dataclass, field

from moore.stages.belief import LAST_STEPS, Gain, Verdict, usual_step, weighed
from moore.stages.earnings import Earnings
from moore.stages.evidence import spending
from moore.stages.failures import Failures, usual_loss
from moore.stages.standing import Standing, apart
from moore.stages.trial_rules import ROUNDING, Rules

REFERENCE = 0
# The agent itself, as it is after every update; no frozen copy, so it has no record.
EXPLORER = -1
# Number of former incumbents whose parameters are kept to go back to.
_PREDECESSORS = 3
# With fewer episodes of the reference nobody knows how far episodes scatter.
_LEAST_EPISODES = 2
# So that nothing is divided by 0 where nothing scatters.
_LEAST_SPREAD = 1e-12


@dataclass
class Contest:
    """Policies, by numbers, and their records.

    `offer` takes a new number for each frozen copy of the newest policy. The policies in `kept` may
    act later.

    Attributes:
        share: share of the reference's earnings that may be lost.
        earnings: what is known of the reference's earnings.
        rules: all other settings.
        incumbents: the reference and the promoted policies; the last one is the incumbent.
        standings: records of all policies that may still act, except the reference.
        challenger, waiting: the policy that is tried, and the next one; None: there is none.
        trials, promoted, demoted: numbers of these events so far.
        lost: number of challengers that were stopped, or earned less than the incumbent.
        failed: number of challengers since the last promotion that were given up.
        steps: (difference from the incumbent, variance of its error) of the last challengers.
        tests: number of verdicts of an anytime-valid test.
        failures: what policies have lost by failing now and then.
    """

    share: float
    earnings: Earnings
    rules: Rules
    incumbents: list[int] = field(default_factory=lambda: [REFERENCE])
    standings: dict[int, Standing] = field(default_factory=dict)
    challenger: int | None = None
    waiting: int | None = None
    trials: int = 0
    promoted: int = 0
    demoted: int = 0
    lost: int = 0
    failed: int = 0
    steps: list[list[float]] = field(default_factory=list)
    tests: int = 0
    failures: Failures = field(default_factory=Failures)

    @property
    def incumbent(self) -> int:
        return self.incumbents[-1]

    @property
    def reference_is_incumbent(self) -> bool:
        """Whether the reference is the incumbent."""
        return self.incumbent == REFERENCE

    @property
    def kept(self) -> set[int]:
        """Policies that may act later."""
        later = (self.challenger, self.waiting)
        return {*self.incumbents, *(policy for policy in later if policy is not None)}

    def offer(
        self, policy: int, *, predicted: float | None = None, standard_error: float = 0.0
    ) -> bool:
        """Takes a new challenger in place of the one that waits; returns whether it may try.

        Args:
            policy: a number that was not used before.
            predicted: its return minus that of the incumbent by the models, if they were asked.
            standard_error: standard error of `predicted`.
        """
        if not self.accepts(predicted=predicted, standard_error=standard_error):
            return False
        self.waiting = policy
        return True

    def accepts(self, *, predicted: float | None, standard_error: float) -> bool:
        """Whether a policy may try, by what the models predict; see `offer`."""
        worse = predicted is not None and predicted < -self.rules.screen * standard_error
        return self.share > 0.0 and not worse

    def call_challenger(self) -> None:
        """Replaces a challenger that has not proved better by the waiting policy."""
        if self.waiting is None:
            return
        if self.challenger is not None:
            verdict = self.verdict()
            if verdict is not None and verdict.step.mean > 0.0:
                return
            self._drop()
        self.challenger, self.waiting = self.waiting, None
        self.standings[self.challenger] = Standing()

    @property
    def is_settled(self) -> bool:
        """Whether another challenger may be tried against the incumbent."""
        own = self.standings.get(self.incumbent)
        if own is None or not self.failed:
            return True
        return own.fresh_begun.plus(own.fresh_joined).parts >= self.rules.settle - ROUNDING

    def record_of(self, policy: int) -> tuple[float, float]:
        """Gain per episode over the reference, and the number of episodes behind it."""
        if policy == REFERENCE:
            return 0.0, float(self.earnings.episodes)
        if policy in self.incumbents:
            gain = self.gain_of(policy)
            return gain.mean, self._scatter / gain.variance
        return self.standings[policy].mean()

    def gain_of(self, policy: int) -> Gain:
        """What is believed of the gain over the reference of one of the incumbents."""
        if policy == REFERENCE:
            return Gain(0.0, self._scatter / max(self.earnings.episodes, 1))
        standing = self.standings[policy]
        believed, (mean, parts) = Gain(*standing.believed), standing.fresh
        return believed.seen(mean, self._scatter / parts) if parts else believed

    @property
    def _scatter(self) -> float:
        """Variance of what the reference earns in an episode."""
        return max(self.earnings.spread, _LEAST_SPREAD) ** 2

    def verdict(self) -> Verdict | None:
        """What the record of the challenger tells; None: nothing yet."""
        assert self.challenger is not None
        mean, parts = self.record_of(self.challenger)
        if not parts or self.earnings.episodes < _LEAST_EPISODES:
            return None
        usual = usual_step(self.steps, self.spread)
        return weighed(self.gain_of(self.incumbent), usual, mean, self.spread**2 / parts)

    @property
    def spread(self) -> float:
        """Scatter of an episode: the reference's, or the incumbent's if that is larger."""
        own = self.standings.get(self.incumbent)
        return max(self.earnings.spread, _LEAST_SPREAD, 0.0 if own is None else own.spread)

    def judge_challenger(self) -> None:
        """Promotes the challenger, or gives it up, if its record says so."""
        assert self.challenger is not None
        verdict, parts = self.verdict(), self.record_of(self.challenger)[1]
        if verdict is None:
            return
        least = self.rules.least_ending if self.earnings.ends else self.rules.least_parts
        if parts >= least - ROUNDING and self._is_ahead(verdict):
            self._promote(verdict)
        elif verdict.step.deviations < -self.rules.lose:
            self.lost += 1
            self._drop()
        elif parts >= self.rules.most_parts:
            self._drop()

    def _is_ahead(self, verdict: Verdict) -> bool:
        assert self.challenger is not None
        if math.isfinite(self.rules.promote):
            step, level = verdict.step, self.earnings.level + verdict.incumbent.mean
            plausible = step.mean - self.rules.plausible * math.sqrt(step.variance)
            safe = plausible > -self.share * level and self._gains_more_than_failing_costs(verdict)
            return safe and step.deviations > self.rules.promote
        (mean, parts), (bar, of_bar) = map(self.record_of, (self.challenger, self.incumbent))
        return mean - bar > self._apart(parts, of_bar, math.inf, self.spread)

    def _gains_more_than_failing_costs(self, verdict: Verdict) -> bool:
        """Where episodes can end early its own episodes tell, three of them; falls are common."""
        if self.earnings.ends or not self.rules.failing:
            return True
        usual = usual_loss(self.earnings.worths, self.earnings.level)
        risk = self.failures.expected(usual) * self.earnings.level
        return verdict.challenger.mean >= self.rules.failing * risk

    def _promote(self, verdict: Verdict) -> None:
        assert self.challenger is not None
        self._learn(verdict)
        self.standings[self.challenger].believed = list(verdict.challenger)
        self.incumbents.append(self.challenger)
        self.promoted += 1
        self.challenger, self.failed = None, 0
        if len(self.incumbents) > _PREDECESSORS + 1:
            self.standings.pop(self.incumbents.pop(1))

    def _drop(self) -> None:
        assert self.challenger is not None
        if (verdict := self.verdict()) is not None:
            self._learn(verdict)
            self.failed += 1
        self.standings.pop(self.challenger)
        self.challenger = None

    def _learn(self, verdict: Verdict) -> None:
        """Keeps what the challenger has told of its kind, and of the incumbent."""
        assert self.challenger is not None
        mean, parts = self.record_of(self.challenger)
        before = self.gain_of(self.incumbent)
        self.steps.append([mean - before.mean, before.variance + self.spread**2 / parts])
        del self.steps[:-LAST_STEPS]
        if not self.reference_is_incumbent:
            own = self.standings[self.incumbent]
            own.believed = list(Gain(*own.believed).after(before, verdict.incumbent))

    def judge_incumbent(self) -> None:
        """Takes a promotion back if what the incumbent earned since then speaks against it."""
        mean, parts = self.standings[self.incumbent].fresh
        if parts < self.rules.least_fresh:
            return
        bar, bar_parts = self.record_of(self.incumbents[-2])
        # By the reference's scatter: the incumbent's own may be due to what speaks against it.
        scatter = self.earnings.spread
        if mean - bar < -self._apart(parts, bar_parts, self.rules.demote, scatter):
            self.standings.pop(self.incumbents.pop())
            self.demoted += 1

    def _apart(self, parts: float, other: float, by: float, spread: float) -> float:
        self.tests += math.isinf(by)
        error = spending(self.rules.error, max(self.tests, 1))
        return apart(parts, other, spread=spread, by=by, error=error)
