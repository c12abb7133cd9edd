"""The dip budget: decides which policy acts in a live system, and when another one is tried.

The reference is the controller that ran before. Other policies may act as long as the account of
`ledger.py` would stay above its line even if they earned nothing for the rest of the running
episode:

- a *challenger*, a frozen copy of the newest policy, acts for the last part of an episode or for a
  whole one, and is stopped as soon as it falls behind what the acting policy earns there;
- a challenger that earned more is promoted and becomes the *incumbent*;
- an incumbent that earns less than its predecessor did is replaced by it again;
- where trials bring nothing any more, and the account is rich, the agent itself acts in every
  other episode: it *explores*.

Who is better is decided in `contest.py`. After Wu, Shariff, Lattimore, Szepesvari 2016
(Conservative Bandits) and Garcelon et al. 2020 (Conservative Exploration in Reinforcement
Learning); frozen challengers and gated deployment: Karampatziakis, Mineiro, Ramdas 2021. The
guarantee: docs/theory.md, section 8.
"""

import math
from dataclasses import dataclass, field

from moore.stages.contest import EXPLORER as EXPLORER
from moore.stages.contest import REFERENCE as REFERENCE
from moore.stages.contest import Contest
from moore.stages.earnings import Earnings
from moore.stages.ledger import Ledger
from moore.stages.rate import Rate
from moore.stages.trial_plan import plan_episode
from moore.stages.trial_rules import ROUNDING, Running

# A trial is not stopped for being behind by less than this part of an episode.
_SLACK = 0.02


@dataclass
class DipBudget(Contest):
    """The account, and the decision who acts. Made by `runs/budgeting.py`.

    Call `acting` before every step, `step` after it, `end` when an episode is over, and `offer`
    with a new number for each frozen copy of the newest policy.

    Attributes:
        ledger: the account.
        spent: sum over trials and explorations of how much less they earned than the incumbent
            would have.
        running: the running episode.
        rate: what the reference earns a step, where the account counts steps; None: it counts
            episodes.
        explores: whether the agent itself may act, too.
        explored: number of episodes in which it did.
        explored_last: whether it did in the last one.
        astray: whether it was stopped, or fell, when it did the last time.
        searched: number of the policy of a line search that was offered last; None: none was.
    """

    ledger: Ledger = field(kw_only=True)
    spent: float = 0.0
    running: Running = field(default_factory=Running)
    rate: Rate | None = None
    explores: bool = False
    explored: int = 0
    explored_last: bool = False
    astray: bool = False
    searched: int | None = None

    def __post_init__(self) -> None:
        self.ledger.credit = self.yardstick.credit

    @property
    def yardstick(self) -> Earnings | Rate:
        """What the account compares others with."""
        return self.earnings if self.rate is None else self.rate

    @property
    def acting(self) -> int:
        """The policy that acts on the next step."""
        if not self.running.planned:
            plan_episode(self)
            self._change_over()
        return self.running.acting

    def withhold(self) -> None:
        """The reference acts in the rest of the running episode, and nobody is to blame for it."""
        now = self.running
        if not now.planned:
            plan_episode(self, alone=True)
        now.others_at = now.trial_at = None
        if now.acting != REFERENCE:
            self._stop(REFERENCE)

    def step(self, reward: float, steps: int = 1) -> None:
        """Books what the acting policy earned in one step, or in several up to the next mark.

        A reward that is not finite was not measured; it counts as the mean reward of the episode.
        """
        acting, now = self.acting, self.running
        gained = reward - self.earnings.floor * steps
        if not math.isfinite(gained):
            gained = now.worth * steps / now.steps if now.steps else 0.0
        now.steps += steps
        now.worth += gained
        self._account(gained, now.steps)
        marks = self.earnings.marks
        at_mark = len(now.course) < len(marks) and now.steps >= marks[len(now.course)]
        if at_mark:
            now.course.append(now.worth)
        if now.steps >= self.earnings.length:
            self.end(terminated=False)
        elif acting != REFERENCE and self._overdrawn():
            self._stop(REFERENCE)
        elif acting != REFERENCE and self._is_behind():
            self._stop(self.incumbent if self._is_guest() else REFERENCE, failed=True)
        elif at_mark:
            self._change_over()

    def end(self, *, terminated: bool) -> None:
        """Ends the episode; with `terminated` it ended early, and the rest of it earns nothing.

        After `length` steps an episode ends by itself, and this need not be called.
        """
        now, length = self.running, self.earnings.length
        if now.steps == 0:
            return
        raw, until = now.worth, length if terminated else now.steps
        if terminated:
            now.left_out = -self.earnings.floor * (length - now.steps)
            now.worth += now.left_out
            if self.yardstick.charges_rest:
                self._account(now.left_out, length)
        self._record(until)
        if until == length:
            self._keep_course(self.earnings.padded(now.course, raw, now.steps))
        if now.others_since is None and now.trial_at is None and until == length:
            self.earnings.add(now.course, raw, now.steps)
            if self.rate is not None:
                self.rate.add(raw, now.steps)
            self.ledger.credit = self.yardstick.credit
        if now.trial_since is not None and self.challenger is not None:
            self.judge_challenger()
        elif not self.reference_is_incumbent:
            self.judge_incumbent()
        if now.acting == EXPLORER and terminated:
            usual = self.earnings.level + self.record_of(self.incumbent)[0]
            self.astray = now.worth < (1.0 - self.rules.stop_loss) * usual
        self.explored_last = now.explores
        self.running = Running()

    def affordable(self, further: float = 0.0) -> float:
        """Worth above the line if nothing were earned in this many more units of the account.

        They count as the reference's, at the worst level that its record allows. Where steps can
        earn less than the floor, what an episode may lose so is set aside twice: for the others,
        and a share of it for the reference's own stretches.
        """
        bounds = self.yardstick.level_within(self.rules.error)
        if math.isinf(bounds[1]):
            return -math.inf
        aside = (1.0 + self.share) * self.earnings.drawdown
        return min(self.ledger.margin(level, further=further) for level in bounds) - aside

    # --- the running episode

    @property
    def _cuts(self) -> bool:
        return self.rate is not None and self.rate.cuts

    def _overdrawn(self) -> bool:
        """Whether the line may be broken if the rest of the episode earns nothing, or one step."""
        if self._cuts:
            return self.affordable(1.0) < 0.0
        return self.ledger.other < self.running.needed

    def _is_guest(self) -> bool:
        """Whether a policy acts in place of the incumbent."""
        now = self.running
        tried = now.trial_since is not None and now.acting == self.challenger
        return tried or now.acting == EXPLORER

    def _change_over(self) -> None:
        """Lets another policy take over at a mark."""
        now = self.running
        if now.handed_back:
            return
        if now.steps == now.trial_at and self.challenger is not None:
            self._take_over(self.challenger)
            now.trial_since = now.steps
            self.trials += 1
        elif now.steps == now.others_at and now.explores:
            self._take_over(EXPLORER)
            self.explored, self.astray = self.explored + 1, False
        elif now.steps == now.others_at and not self.reference_is_incumbent:
            self._take_over(self.incumbent)

    def _take_over(self, policy: int) -> None:
        now = self.running
        self._record(now.steps)
        if now.others_since is None:
            now.others_since = now.steps
            self.ledger.begin()
            rest = self.yardstick.most_units(now.steps)
            spare = self.affordable(rest) + ROUNDING * self.earnings.level
            now.needed = self.ledger.other - spare
        now.acting, now.since = policy, [float(now.steps), now.worth]

    def _account(self, gained: float, until: int) -> None:
        now, ledger, yardstick = self.running, self.ledger, self.yardstick
        if now.others_since is None:
            ledger.own += gained
            ledger.own_units = now.own_units + yardstick.units(0, until)
        else:
            ledger.other += gained
            ledger.own_units = now.own_units + yardstick.units(0, now.others_since)
            ledger.units = now.units + yardstick.units(now.others_since, until)
            ledger.note(yardstick.level)

    def _is_behind(self) -> bool:
        """Whether the acting policy fell too far behind the one that it acts in place of."""
        now, rules = self.running, self.rules
        since, before = now.since
        # Luck adds up with what is earned, or with time where nothing is earned at first.
        part = self.earnings.part(int(since), now.steps)
        part = max(part, (now.steps - since) / self.earnings.length)
        bar = self.record_of(self.incumbent)[0] if self._is_guest() else 0.0
        level = self.earnings.level + bar
        behind = self._expected(level, int(since)) - (now.worth - before)
        scatter = rules.envelope * self.spread * math.sqrt(part)
        least = rules.stop_loss * level
        # Noise costs something in every step, and says nothing against who explores.
        return behind > (least if now.acting == EXPLORER else min(scatter + _SLACK * level, least))

    def _expected(self, level: float, since: int) -> float:
        """What the policy that it acts in place of earns in these steps of an episode.

        An incumbent may earn what it earns later than the reference does.
        """
        steps = self.running.steps
        usual = level * self.earnings.units(since, steps)
        own = None
        if not self.reference_is_incumbent:
            own = self.standings[self.incumbent].earned(self.earnings.marks, since, steps)
        if own is None:
            return usual
        return own if self._is_guest() else min(own, usual)

    def _stop(self, policy: int, *, failed: bool = False) -> None:
        """Another policy acts in the rest of the episode, or it is cut; nothing more is recorded.

        At the end of the episode the record of a challenger tells whether it has lost. `failed`:
        it is stopped because it was behind.
        """
        now = self.running
        self._record(now.steps, failed=failed)
        self.astray = self.astray or now.acting == EXPLORER
        now.handed_back, now.acting, now.since = True, policy, [float(now.steps), now.worth]
        now.over = self._cuts

    def _record(self, until: int, *, failed: bool = False) -> None:
        """Adds the stretch in which the acting policy acted to its record.

        `failed`: as far as anybody knows, it would have earned nothing more.
        """
        now = self.running
        since, before = now.since
        if now.acting == REFERENCE or now.handed_back or until == since:
            return
        part = self.earnings.part(int(since), until)
        earned = now.worth - before
        if self._is_guest():
            self.spent += max(self._usual(int(since), until) - earned + self._not_charged(), 0.0)
        standing = self.standings.get(now.acting)
        if standing is None:
            return
        gain = earned - part * self.earnings.level
        standing.add(gain, part, fresh=now.acting in self.incumbents, whole=since == 0.0)
        if self.earnings.level > 0.0:
            rest = 1.0 - self.earnings.part(0, until) if failed else 0.0
            self.failures.add(now.acting, part + rest, rest - gain / self.earnings.level)

    def _usual(self, since: int, until: int) -> float:
        """What the incumbent earns in these steps, as the account counts them."""
        bar = 1.0 + self.record_of(self.incumbent)[0] / self.earnings.level
        until = until if self.yardstick.charges_rest else self.running.steps
        return max(self.yardstick.units(since, until), 0.0) * self.yardstick.level * bar

    def _not_charged(self) -> float:
        """Worth that is not in the account: of the steps that an early end has left out."""
        return 0.0 if self.yardstick.charges_rest else self.running.left_out

    def _keep_course(self, course: list[float]) -> None:
        """Adds the episode to the record of a policy that acted in all of it."""
        now = self.running
        standing = self.standings.get(now.acting)
        if standing is not None and now.since[0] == 0.0 and not now.handed_back:
            standing.add_episode(course)
