"""Plans and estimates as plain sentences and small tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from moore.numbers import counted
from moore.planning.estimate import RunEstimate
from moore.planning.plan import LivePlan
from moore.planning.trials import BAD, EPISODES, Promotion

_WIDTH = 30
_STAGES = {"once": "once", "offline": "offline stage", "online": "online stage"}


def estimate_text(found: RunEstimate, name: str) -> str:
    """An estimate; `name` says of which run."""
    took = f"measured in {duration(found.calibration)}"
    head = f"{name} takes at most {duration(found.seconds())} here ({took}){_memory(found.memory)}."
    lines = [head, *_soonest(found), "Nothing was begun and nothing was written.", ""]
    for stage, title in _STAGES.items():
        if seconds := found.seconds(stage):
            lines.append(_row(title, duration(seconds)))
            parts = [part for part in found.parts if part.stage == stage]
            lines += [_row(f"  {part.name}", duration(part.seconds)) for part in parts]
    return "\n".join([*lines, *_as_notes(found.notes)])


def _soonest(found: RunEstimate) -> Iterable[str]:
    most, least = (duration(found.seconds() - less) for less in (0.0, found.spared))
    if most != least:
        yield f"If its offline stage ends as soon as it may, it takes {least}."


def estimate_line(found: RunEstimate) -> str:
    """An estimate on one line."""
    took = f"measured in {duration(found.calibration)}"
    time = f"at most {duration(found.seconds())}{_memory(found.memory)}"
    return f"{time} ({took}; --estimate lists the parts)"


def plan_text(plan: LivePlan) -> str:
    """What the hours buy."""
    log, live = plan.log, plan.live
    lines = [
        f"{log['name']}: {counted(log['rows'], 'row')}, "
        f"{counted(log['episodes'], 'complete episode')}{_means(log)}.",
        f"{live.steps_per_day:,.0f} live steps a day, {live.hours:g} hours of computation a day, "
        f"{plan.algorithm}.",
        f"Times were measured on this machine, which took {duration(plan.calibration)}.",
        "",
        f"The offline stage takes at most {duration(plan.offline_seconds)}{_memory(plan.memory)}.",
        f"An online epoch of {plan.steps_per_epoch:,} live steps takes {duration(plan.epoch)} of "
        "computation.",
        f"A day has steps for {plan.epochs_by_steps:,.3g} epochs and hours for "
        f"{plan.epochs_by_hours:,.3g},",
        f"so {plan.epochs_per_day:,.3g} are learned from a day.",
        "",
        *(_row(f"{count} epochs", f"after {_days(days)}") for count, days in plan.days.items()),
        "",
        *_trials_lines(plan),
    ]
    return "\n".join([*lines, *_as_notes(plan.notes)])


def _trials_lines(plan: LivePlan) -> list[str]:
    trials = plan.trials
    if trials.per_day is None:
        return [trials.why_not]
    lines = [
        f"At {plan.episodes_per_day:,.3g} episodes a day, a dip budget of {plan.live.share:.3g} "
        f"allows about {trials.per_day:,.3g} trials a day",
        f"of policies that earn {BAD:.0%} of what the log's controller does.",
        "A better policy would be promoted after:",
        "",
        f"{'it earns more by':<{_WIDTH}}{'episodes':>10}{'days':>10}   for the slowest tenth",
    ]
    return lines + [_promotion(one, plan.episodes_per_day) for one in trials.promotions]


def _promotion(one: Promotion, per_day: float) -> str:
    return (
        f"{f'{one.gain:.0%}':<{_WIDTH}}{_episodes(one.median):>10}"
        f"{_days_of(one.median, per_day):>10}   {_episodes(one.late)} episodes, "
        f"{_days_of(one.late, per_day)} days"
    )


def _episodes(count: float | None) -> str:
    return f"> {EPISODES}" if count is None else f"{count:.0f}"


def _days_of(episodes: float | None, per_day: float) -> str:
    if episodes is None:
        return f"> {EPISODES / per_day:.2g}"
    return f"{episodes / per_day:,.2g}"


def _means(log: Mapping[str, Any]) -> str:
    if not log["episodes"]:
        return ""
    return f" of {log['mean_steps']:,.0f} steps, which earned {log['mean_return']:,.4g} each"


def _memory(count: int | None) -> str:
    return "" if count is None else f" and {count / 2**30:.1f} GiB of memory"


def _row(label: str, value: str) -> str:
    return f"{label:<{_WIDTH}}{value:>12}"


def _as_notes(notes: Sequence[str]) -> Iterable[str]:
    return ["", *(f"note: {note}" for note in notes)] if notes else []


def _days(days: float) -> str:
    return duration(86400.0 * days)


def duration(seconds: float) -> str:
    """A time in the unit that fits it."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
