"""The rules of trials, and the state of the running episode."""

import dataclasses
from dataclasses import dataclass, field

from moore.errors import InputError

# Sums of parts of an episode are compared up to this.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Rules:
    """The settings of trials besides the budget; chosen by benchmarks/budget_simulation.py.

    Attributes:
        window: longest trial, as a part of an episode; a trial is its last part.
        promote: a challenger is promoted if its gain over the incumbent, as its record lets us
            believe, is more than this many standard deviations above 0. With infinity, an
            anytime-valid test of the records decides instead.
        plausible: a challenger is not promoted if it may lose more than the budget's share of what
            the incumbent earns: that is, if its gain less this many standard deviations is such a
            loss.
        failing: a challenger is promoted only if it gains over the reference this many times what
            policies lose by failing now and then (`failures.py`); not where episodes can end early.
        lose: a challenger has lost if that gain is more than this many standard deviations below 0.
        least_parts: number of episodes that a challenger must have acted before it can be promoted.
        least_ending: the same where episodes can end early. There a policy that falls now and then
            is like one that never does in one episode, and in three it seldom is.
        least_fresh: number of episodes that an incumbent must have acted since its promotion before
            it can lose its place.
        most_parts: number of episodes after which a challenger is dropped if nothing is decided.
        demote: the incumbent loses its place if it earned less than its predecessor by this many
            standard errors.
        stop_loss: a trial is stopped if it is behind by this part of an episode.
        envelope: a trial is also stopped if it is behind by this many standard deviations of what
            the acting policy earns in that part of an episode.
        settle: number of episodes that an incumbent acts before the next trial, once one of its
            challengers has failed. They tell more of the incumbent than its own trials did.
        known: number of whole episodes of the reference that are known before another policy acts.
            After two episodes the reference's mean is only known to within half of it, and trials
            could lose next to nothing for the rest of the run. After four it is known to within 6%
            where episodes differ by 1.5%.
        screen: a challenger is refused if the models predict it to be worse by this many standard
            errors.
        explore: number of the reference's episodes that must be left to lose, beyond all that the
            running episode may cost, before the agent itself explores.
        error: probability, over the whole run, that the reference is not within its bounds, and of
            a wrong verdict if tests are anytime-valid.
    """

    window: float = 1.0
    promote: float = 0.0
    plausible: float = 1.0
    failing: float = 1.0
    lose: float = 1.0
    least_parts: float = 1.0
    least_ending: float = 3.0
    least_fresh: float = 0.5
    most_parts: float = 4.0
    demote: float = 1.0
    stop_loss: float = 0.2
    envelope: float = 3.0
    settle: float = 1.0
    known: float = 4.0
    screen: float = 1.0
    explore: float = 1.0
    error: float = 0.05

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if not value >= 0.0:
                raise InputError(f"{item.name} is {value}; it must not be negative.")
        if not 0.0 < self.error < 0.5:
            raise InputError(f"error is {self.error}; it must lie between 0 and 0.5.")


@dataclass
class Running:
    """The running episode.

    Attributes:
        steps, worth: number of steps and worth so far.
        course: worth at each mark that was reached so far.
        acting: the policy that acts on the next step.
        since: step and worth at which it began to act.
        planned: whether it is decided who acts when.
        explores: whether the agent itself is to act, and to explore.
        others_at, trial_at: steps at which a policy other than the reference, and the challenger,
            are to begin; None: not in this episode.
        others_since, trial_since: steps at which they began.
        units, own_units: entries of the ledger before the episode.
        needed: lower limit of the ledger's `other`; above it the account stays above the line even
            if the rest of the episode earns nothing.
        handed_back: whether a policy was stopped; nothing is recorded for the rest of the episode.
        over: whether the episode is to be cut after this step.
        left_out: worth of the steps that an early end has left out.
    """

    steps: int = 0
    worth: float = 0.0
    course: list[float] = field(default_factory=lambda: [0.0])
    acting: int = 0
    since: list[float] = field(default_factory=lambda: [0.0, 0.0])
    planned: bool = False
    explores: bool = False
    others_at: int | None = None
    trial_at: int | None = None
    others_since: int | None = None
    trial_since: int | None = None
    units: float = 0.0
    own_units: float = 0.0
    needed: float = 0.0
    handed_back: bool = False
    over: bool = False
    left_out: float = 0.0
