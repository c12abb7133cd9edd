"""The rules of trials, and the running episode that they are applied to."""

import dataclasses
from dataclasses import dataclass, field

from moore.errors import InputError


@dataclass(frozen=True)
class Rules:
    """Everything about trials but the budget. Chosen by benchmarks/budget_simulation.py.

    Attributes:
        window: longest trial, in parts of an episode; it is the last part of one.
        promote: by how many standard errors of the difference a challenger must have earned more
            than the incumbent; infinite: what an anytime-valid test asks for.
        least_parts: episodes that a challenger must have acted before it can be promoted.
        most_parts: a challenger that is not decided by then is dropped.
        demote: by how many standard errors less than its predecessor costs the incumbent its place.
        stop_loss: a trial is over when it is behind by this part of an episode...
        envelope: ...or by this many standard deviations of what the acting policy earns there.
        settle: episodes that a new incumbent acts before the next trial.
        screen: standard errors by which the models must call a challenger worse to refuse it.
        error: probability, over the whole run, that the reference is not within its bounds; and of
            a wrong verdict where tests are anytime-valid.
    """

    window: float = 1.0
    promote: float = 0.5
    least_parts: float = 0.5
    most_parts: float = 4.0
    demote: float = 2.0
    stop_loss: float = 0.2
    envelope: float = 3.0
    settle: float = 1.0
    screen: float = 1.0
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
        steps, worth: so far.
        course: worth at each mark that was reached.
        acting: who acts on the next step.
        since: step and worth at which it began to.
        planned: whether it is settled who acts when.
        others_at, trial_at: steps at which another than the reference, and the challenger, are to
            begin; none: not in this episode.
        others_since, trial_since: the same of those that have begun.
        units, own_units: of the ledger, before.
        needed: what the ledger's `other` must not fall below: with it, even a rest of the episode
            that earns nothing stays above the line.
        handed_back: a policy was stopped; from here on the record tells nothing of anybody.
    """

    steps: int = 0
    worth: float = 0.0
    course: list[float] = field(default_factory=lambda: [0.0])
    acting: int = 0
    since: list[float] = field(default_factory=lambda: [0.0, 0.0])
    planned: bool = False
    others_at: int | None = None
    trial_at: int | None = None
    others_since: int | None = None
    trial_since: int | None = None
    units: float = 0.0
    own_units: float = 0.0
    needed: float = 0.0
    handed_back: bool = False
