"""How often the guard raises a false alarm, and how soon it finds a loss, on made-up returns.

    python benchmarks/guard_simulation.py --out docs/results/guard-simulation.csv

Each line of the CSV is a case: many runs of the code that decides in a session (`moore.guarding`),
each with a reference of its own. Returns are in standard deviations of the reference's, except for
heavy tails. `bound` is the error probability of the first test of a guard with error 5%; `alarms`
is the share of the runs with an alarm within `length` episodes or readings; `delay_median` and
`delay_q90` are the numbers of them from the change to the alarm, over the runs that had no alarm
before it; empty: that many runs had no alarm. Cases whose group is "broken" break an assumption on
purpose; "t-test" is what is usually done instead.
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from moore.guarding.betting import first_detector
from moore.guarding.comparison import Range, episodes_for_range, first_comparison, range_of
from moore.guarding.guard import Guard

ERROR = 0.05
NEEDED = Guard(ERROR, first_comparison(Range(0.0, 1.0)), ()).needed
EPISODES, READINGS = 200, 1000
KNOWN = (20, 50, 200)
ALLOWED = 0.01

Draw = Callable[[np.random.Generator, int, int], np.ndarray]  # (rng, runs, episodes)


@dataclass(frozen=True)
class Case:
    """Returns of an acting policy, beside those of its reference.

    Attributes:
        group: false alarms, losses, or broken: an assumption does not hold.
        name: what is simulated.
        reference, acting: returns (runs, episodes) of each.
        change: episode at which the acting policy becomes worse; 0: from the beginning.
    """

    group: str
    name: str
    reference: Draw
    acting: Draw
    change: int = 0


def normal(rng, runs, episodes):
    return rng.standard_normal((runs, episodes))


def uniform(rng, runs, episodes):
    return rng.uniform(-(3**0.5), 3**0.5, (runs, episodes))


def heavy(rng, runs, episodes):
    return rng.standard_t(2.5, (runs, episodes))


def two_valued(rng, runs, episodes):
    return np.where(rng.random((runs, episodes)) < 0.8, 0.5, -2.0)


def failing(share: float, by: float = 10.0) -> Draw:
    """Normal returns, of which a share is lower by so many standard deviations."""

    def draw(rng, runs, episodes):
        return normal(rng, runs, episodes) - by * (rng.random((runs, episodes)) < share)

    return draw


def alike(correlation: float) -> Draw:
    """Normal returns that resemble their predecessors (first order)."""

    def draw(rng, runs, episodes):
        noise = normal(rng, runs, episodes)
        for i in range(1, episodes):
            fresh = (1.0 - correlation**2) ** 0.5 * noise[:, i]
            noise[:, i] = correlation * noise[:, i - 1] + fresh
        return noise

    return draw


def lower(by: float, *, since: int = 0) -> Draw:
    """Normal returns whose mean is lower from an episode on."""

    def draw(rng, runs, episodes):
        return normal(rng, runs, episodes) - by * (np.arange(episodes) >= since)

    return draw


def falling(rng, runs, episodes):
    """Normal returns whose mean falls by one standard deviation in 100 episodes."""
    return normal(rng, runs, episodes) - 0.01 * np.arange(episodes)


FALSE = [
    Case("false alarms", name, draw, draw)
    for name, draw in (
        ("normal returns", normal),
        ("uniform returns", uniform),
        ("heavy tails (t, 2.5 degrees of freedom)", heavy),
        ("two values (8 of 10 succeed)", two_valued),
        ("1 episode in 20 fails", failing(0.05)),
    )
]
LOSSES = [Case("losses", f"mean lower by {by:g}", normal, lower(by)) for by in (0.5, 1.0, 2.0, 4.0)]
LOSSES += [
    Case("losses", f"mean lower by {by:g} after 50 episodes", normal, lower(by, since=50), 50)
    for by in (1.0, 2.0, 4.0)
]
LOSSES += [
    Case("losses", f"{share:.0%} of the episodes fail", normal, failing(share))
    for share in (0.1, 0.3, 1.0)
]
BROKEN = [
    Case("broken", "returns resemble the last ones (correlation 0.5)", alike(0.5), alike(0.5)),
    Case("broken", "returns resemble the last ones (correlation 0.9)", alike(0.9), alike(0.9)),
    Case("broken", "the plant gets worse by 1 in 100 episodes", normal, falling),
]


def first_alarm(evidence: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """Number (runs,) of the value at which each run has enough evidence; infinite if it has not."""
    alarm = np.full(len(values), np.inf)
    for i, column in enumerate(values.T):
        found = evidence(column) >= NEEDED
        alarm = np.where(found & np.isinf(alarm), i + 1, alarm)
        if np.isfinite(alarm).all():
            break
    return alarm


def returns_row(case: Case, known: int, runs: int, seed: int) -> dict[str, object]:
    """A line for a test of returns, with so many known returns of the reference."""
    alarms = [
        _returns_alarms(case, known, min(_BLOCK, runs - start), (seed, start))
        for start in range(0, runs, _BLOCK)
    ]
    return row(case.group, case.name, known, EPISODES, np.concatenate(alarms), case.change)


_BLOCK = 125  # runs at a time; larger arrays are slower to allocate


def _returns_alarms(case: Case, known: int, runs: int, seed: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    first = episodes_for_range(known)
    reference = case.reference(rng, runs, known)
    low, high = range_of(reference[:, :first])
    high = np.where(high > low, high, low + 1.0)  # all of them equal: some range is given
    acting = case.acting(rng, runs, EPISODES)
    # Every run has a range of its own, so returns are scaled here.
    reference, acting = ((x - low[:, None]) / (high - low)[:, None] for x in (reference, acting))
    state = first_comparison(Range(0.0, 1.0), runs=(runs,))
    for column in reference[:, first:].T:
        state = state.after_reference(column)

    def evidence(returns: np.ndarray) -> np.ndarray:
        nonlocal state
        state = state.after_acting(returns)
        return state.evidence()

    return first_alarm(evidence, acting)


def violations(rng, runs: int, share: float, burst: int) -> np.ndarray:
    """Violations (runs, readings) that last for `burst` readings in the mean."""
    if burst == 1:
        return rng.random((runs, READINGS)) < share
    found = np.zeros((runs, READINGS), bool)
    found[:, 0] = rng.random(runs) < share
    begins = share / (1.0 - share) / burst
    for i in range(1, READINGS):
        stays = rng.random(runs) < np.where(found[:, i - 1], 1.0 - 1.0 / burst, begins)
        found[:, i] = stays
    return found


def signal_row(
    group: str, name: str, share: float, runs: int, seed: int, *, burst: int = 1
) -> dict[str, object]:
    """A line for a signal that may break its limit in 1% of the readings."""
    broken = violations(np.random.default_rng(seed), runs, share, burst)
    state = first_detector(np.array([1.0 - ALLOWED]), (runs,))

    def evidence(column: np.ndarray) -> np.ndarray:
        nonlocal state
        state = state.after(np.where(column, 0.0, 1.0))
        return state.total[:, 0]

    return row(group, name, 0, READINGS, first_alarm(evidence, broken), 0)


def row(
    group: str, name: str, known: int, length: int, alarm: np.ndarray, change: int
) -> dict[str, object]:
    """A line of the CSV, from the number of the value at which each run had its alarm."""
    after = alarm[alarm > change] - change
    quantiles = np.quantile(after, [0.5, 0.9], method="higher") if len(after) else [np.inf] * 2
    median, q90 = ("" if np.isinf(x) else int(x) for x in quantiles)
    return {
        "group": group,
        "case": name,
        "known": known or "",
        "length": length,
        "runs": len(alarm),
        "bound": 1.0 / NEEDED,
        "alarms": round(float(np.isfinite(alarm).mean()), 4),
        "before_change": round(float((alarm <= change).mean()), 4) if change else "",
        "delay_median": median,
        "delay_q90": q90,
    }


def rows(runs: int) -> Iterator[dict[str, object]]:
    """All lines."""
    seed = 0
    for case in (*FALSE, *BROKEN, *LOSSES):
        for known in KNOWN:
            seed += 1
            yield returns_row(case, known, runs, seed)
    for known in KNOWN:
        seed += 1
        yield t_test_row(known, runs, seed)
    signals = [("false alarms", share, 1) for share in (0.01, 0.005)]
    signals += [("broken", 0.01, 10)]
    signals += [("losses", share, 1) for share in (0.02, 0.05, 0.2, 1.0)]
    for group, share, burst in signals:
        seed += 1
        name = f"signal breaks its limit in {share:.1%} of the readings (1% is allowed)"
        name += f", {burst} in a row" if burst > 1 else ""
        yield signal_row(group, name, share, runs, seed, burst=burst)


def t_test_row(known: int, runs: int, seed: int) -> dict[str, object]:
    """A line for what is usually done: a one-sided t-test at 2.5%, read after every episode."""
    rng = np.random.default_rng(seed)
    reference, acting = normal(rng, runs, known), normal(rng, runs, EPISODES)
    count = np.arange(1, EPISODES + 1)
    mean = acting.cumsum(axis=1) / count
    variance = ((acting**2).cumsum(axis=1) / count - mean**2) * count / np.maximum(count - 1, 1)
    of_reference = reference.var(axis=1, ddof=1, keepdims=True) / known
    error = np.sqrt(of_reference + variance / count)
    alarmed = (mean - reference.mean(axis=1, keepdims=True)) / error < stats.t.ppf(
        1.0 / NEEDED, count + known - 2
    )
    alarmed[:, :4] = False  # from the fifth episode on
    alarm = np.where(alarmed.any(axis=1), alarmed.argmax(axis=1) + 1.0, np.inf)
    return row("t-test", "normal returns, read after every episode", known, EPISODES, alarm, 0)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="simulated runs of every case")
    parser.add_argument("--out", type=Path, default=Path("guard-simulation.csv"))
    chosen = parser.parse_args(argv)
    with chosen.out.open("w", newline="", encoding="utf-8") as file:
        writer = None
        for line in rows(chosen.runs):
            if writer is None:
                writer = csv.DictWriter(file, line, lineterminator="\n")
                writer.writeheader()
            writer.writerow(line)
            file.flush()
            print(*line.values(), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
