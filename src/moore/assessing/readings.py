"""The readings at which an expert says no, and the verdict.

Three questions, each answered by numbers that anybody can check:

1. Do the estimators know the old controller, whose return is in the log? An estimator that misses
   it, or models that lose the system within an episode, cannot be believed about a new policy.
2. Does the log know what the new policy does? Where states or actions are not in the log, nothing
   that is learned from the log can say what happens.
3. Do the estimates agree, and do they stay within what was ever earned? Two estimators whose
   intervals exclude each other cannot both be right, and worse so if one says gain and the other
   loss; a return above the best logged episode has no example.
"""

from dataclasses import dataclass
from typing import Literal

from moore.assessing.coverage import Covered
from moore.assessing.estimate import DOUBLY_ROBUST, IMPORTANCE, MODELS, ReturnEstimate
from moore.assessing.imagined import Compared

Status = Literal["fine", "open", "against"]
Answer = Literal["yes", "no", "unknown"]

# Shares of the policy's states or actions outside of the log. The log's own is 1%.
SOME_OUTSIDE, MANY_OUTSIDE = 0.05, 0.25
# Open-loop error, in the log's standard deviations: two random states are 1.4 apart.
LOST = 1.0
# Error for the old controller, in standard deviations of its episodes.
MISSED, MISSED_FAR = 0.5, 1.0


@dataclass(frozen=True)
class Reading:
    """One question with its answer.

    Attributes:
        name: the question.
        status: "fine"; "open": it forbids a yes; "against": it means no.
        text: the numbers, in sentences.
    """

    name: str
    status: Status
    text: str


@dataclass(frozen=True)
class ReadingFacts:
    """What the readings are made from, in the user's units.

    Attributes:
        old: return of the old controller, from the log.
        scatter, best: standard deviation and largest of the log's whole episodes.
        estimates: what each estimator says about the new policy; also those that were refused.
        errors: what each estimator says about the old controller, minus the truth.
        open_loop: for a number of steps, the models' median error, in the log's deviations.
        broken: share of the imagined episodes that became non-finite; None without models.
        covered: what the log knows of the policy.
        doubts: sentences on what is otherwise in this log than in that which trained the policy.
    """

    old: ReturnEstimate
    scatter: float
    best: float
    estimates: dict[str, Compared]
    errors: dict[str, float]
    open_loop: dict[int, float]
    broken: float | None
    covered: Covered
    doubts: tuple[str, ...] = ()

    @property
    def known(self) -> dict[str, Compared]:
        return {name: found for name, found in self.estimates.items() if found.gain.known}


def readings(facts: ReadingFacts) -> list[Reading]:
    return [_of_the_old(facts), _of_the_log(facts), _of_the_estimates(facts)]


def _of_the_old(facts: ReadingFacts) -> Reading:
    said, misses = [], {}
    for name, error in facts.errors.items():
        misses[name] = abs(error) / max(facts.scatter, 1e-12)
        side = "more" if error > 0 else "less"
        said.append(
            f"{_capital(name)}: {abs(error):.4g} {side} than the old controller earns, which is "
            f"{misses[name]:.2g} standard deviations of its episodes."
        )
    if facts.open_loop:
        steps, error = max(facts.open_loop.items())
        said.append(
            f"After {steps} steps of the log's own actions the models are {error:.2g} standard "
            "deviations off."
        )
    if facts.broken:
        said.append(f"{facts.broken:.0%} of the imagined episodes became infinite.")
    lost = any(error > LOST for error in facts.open_loop.values())
    doubted = lost or bool(facts.doubts) or any(miss > MISSED for miss in misses.values())
    # The policy was learned in these models; the other estimators only judge it.
    missed = misses.get(MODELS, 0.0) > MISSED_FAR or (facts.broken or 0.0) > 0.0
    status: Status = "against" if missed else "open" if doubted else "fine"
    if not facts.errors:
        status, said = "open", ["No estimator could be asked."]
    said = [*facts.doubts, *said]
    return Reading("Do the estimators know the old controller?", status, " ".join(said))


def _of_the_log(facts: ReadingFacts) -> Reading:
    covered = facts.covered
    shares = [
        (covered.states_outside, "of the states that the models expect lie outside of the log"),
        (covered.actions_outside, "of the actions there are unlike all logged ones"),
        (covered.actions_outside_in_log, "of the actions in logged states are unlike all "
         "logged ones in similar states"),
    ]  # fmt: skip
    known = [(share, what) for share, what in shares if share is not None]
    worst = max(share for share, _ in known)
    said = "; ".join(f"{share:.0%} {what}" for share, what in known)
    text = (
        f"{said} (of the log's own rows: 1% each). {covered.at_bounds:.0%} of the policy's actions "
        f"lie at a bound, of the log's {covered.logged_at_bounds:.0%}."
    )
    status: Status = "fine"
    if worst > SOME_OUTSIDE:
        status = "against" if worst > MANY_OUTSIDE else "open"
    return Reading("Does the log know what the new policy does?", status, text)


def _of_the_estimates(facts: ReadingFacts) -> Reading:
    known = facts.known
    name = "Do the estimates agree, and stay within what was ever earned?"
    if len(known) < 2:
        only = f"only {next(iter(known))} speaks" if known else "none speaks"
        return Reading(name, "open", f"There is nothing to compare: {only}.")
    lows = [found.gain.interval[0] for found in known.values()]
    highs = [found.gain.interval[1] for found in known.values()]
    agree = max(lows) <= min(highs)
    values = {name: x for name, found in known.items() if (x := found.value.value) is not None}
    said = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    text = f"{_capital(said)}; the intervals {'overlap' if agree else 'exclude each other'}."
    above = max(values.values()) > facts.best
    if above:
        text += f" The highest is above the best logged episode ({facts.best:.4g})."
    opposite = max(lows) > 0.0 > min(highs)
    status: Status = "against" if opposite else "open" if above or not agree else "fine"
    return Reading(name, status, text)


def verdict(facts: ReadingFacts, found: list[Reading]) -> tuple[Answer, str]:
    """The answer, and one line that says why.

    "yes" needs two estimators whose intervals of the gain lie above 0, and no reading that is open
    or against. "no" needs a reading against, or an interval of the gain below 0. Importance
    sampling and the doubly robust estimate have the same weights, so they count as one.
    """
    known = facts.known
    against = [reading for reading in found if reading.status == "against"]
    worse = [name for name, one in known.items() if one.gain.interval[1] < 0.0]
    better = [name for name, one in known.items() if one.gain.interval[0] > 0.0]
    if worse:
        return "no", f"No. By {_and(worse)} the new policy earns less than the old controller."
    if against:
        return "no", f"No. {against[0].text}"
    if not facts.old.known:
        return "unknown", f"Not known. {facts.old.refused}"
    if len({DOUBLY_ROBUST if name == IMPORTANCE else name for name in better}) < 2:
        return "unknown", f"Not known. {_why_not_better(known, better)}"
    still = [reading for reading in found if reading.status == "open"]
    if still:
        return "unknown", f"Not known. {still[0].text}"
    return "yes", (
        f"Yes, as a trial that can be stopped: by {_and(better)} the new policy earns more than "
        "the old controller, and the log knows what it does."
    )


def _why_not_better(known: dict[str, Compared], better: list[str]) -> str:
    if len(known) < 2:
        return "Fewer than two estimators speak, and nothing checks a single one."
    others = [name for name in known if name not in better]
    if not others:
        return f"{_capital(_and(better))} have the same weights and count as one."
    return f"By {_and(others)} the gain may as well be nothing or a loss."


def _and(names: list[str]) -> str:
    return " and ".join(names)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
