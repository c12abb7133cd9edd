"""The dip budget on made-up systems: how often the line is broken, and how far policies climb.

    python benchmarks/budget_simulation.py --out docs/results/budget-simulation.csv

The code that decides is that of the online stage. The line is checked at every step with the
reference's true mean, which the budget does not know: it starts from ten episodes of it, or from
none.
"""

import argparse
import csv
import dataclasses
import math
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from budget_processes import CLIMBING, HOSTILE, LENGTH, Family, Policy, Seen, episode

from moore.runs.budgeting import dip_budget
from moore.stages.budget import EXPLORER, REFERENCE, DipBudget
from moore.stages.earnings import Earnings, earnings_of_log
from moore.stages.rate import Rate
from moore.stages.trial_rules import Rules

EPOCHS = 25
LOGGED = 10
RULES = {
    "default": Rules(),
    "windows of a fifth": Rules(window=0.2),
    "windows of a half": Rules(window=0.5),
    "promote at half a deviation": Rules(promote=0.5),
    "promote at 1 deviation": Rules(promote=1.0),
    "take back at 2 standard errors": Rules(demote=2.0),
    "promote on proof": Rules(promote=math.inf, demote=math.inf),
    "no way back": Rules(demote=1e9),
    "failures do not count": Rules(failing=0.0),
    "failures count twice": Rules(failing=2.0),
    "stop at a tenth": Rules(stop_loss=0.1),
    "stop at a half": Rules(stop_loss=0.5),
    "nothing logged": Rules(),
    "nothing logged, others act after 2 episodes": Rules(known=2.0),
    "nothing logged, others act after 8 episodes": Rules(known=8.0),
    "exploring": Rules(),
    "by steps": Rules(),
    "by steps, nothing logged": Rules(),
    "by steps, exploring": Rules(),
    "by steps, promote after 1 episode": Rules(least_ending=1.0),
    "by steps, promote after 2 episodes": Rules(least_ending=2.0),
}
_TRUTH_EPISODES = 4000
# A run has dipped if an incumbent was really worse than the reference by more than this share.
DIP = 0.05
_DEFAULT = 0.05
# What the newest policy earns with the noise with which it explores, as a share.
_WITH_NOISE = 0.9


@dataclasses.dataclass
class Outcome:
    """One process, in parts of a mean episode of the reference.

    Attributes:
        level: true mean of the incumbent at the end.
        earned: mean of all episodes.
        margin, margin_of_mean: the least one over the run, at the reference's true mean.
        trials, promoted, demoted: how many.
        lowest: least true mean of an incumbent.
    """

    level: float
    earned: float
    margin: float
    margin_of_mean: float
    trials: int
    promoted: int
    demoted: int
    lowest: float


def logged(
    rng: np.random.Generator, family: Family, policy: Policy, episodes: int
) -> tuple[Earnings, Rate]:
    """The record of a policy, by episodes and by steps."""
    rewards = []
    for _ in range(episodes):
        earned, steps = episode(rng, family, policy)
        rewards.append(earned[:steps])
    rate = Rate(
        LENGTH, [float(one.sum()) for one in rewards], [len(one) for one in rewards], cuts=True
    )
    return earnings_of_log(rewards, length=LENGTH, floor=0.0, ends=family.ends), rate


@lru_cache
def true_record(family: Family) -> tuple[Earnings, Rate]:
    """Of the reference, from so many episodes that its mean is known."""
    return logged(np.random.default_rng(99), family, family.reference, _TRUTH_EPISODES)


@dataclasses.dataclass
class Truth:
    """The line as it really is: with the reference's true mean course, or its true rate."""

    share: float
    known: Earnings | Rate
    own: float = 0.0
    other: float = 0.0
    units: float = 0.0
    own_units: float = 0.0
    margin: float = math.inf
    margin_of_mean: float = math.inf

    def step(self, reward: float, since: int | None, now: int, *, fell: bool) -> None:
        """`since`: the step at which another began to act in the running episode."""
        until, last = (LENGTH if fell and self.known.charges_rest else now), now - 1
        part = self.known.units
        if since is None:
            self.own += reward
            self.own_units += part(0, until) - part(0, last)
        else:
            self.other += reward
            self.units += part(since, until) - part(since, last)
        level, kept, credit = self.known.level, 1.0 - self.share, self.known.credit
        margin = self.other + self.share * self.own + level * (credit - kept * self.units)
        of_mean = self.other + self.own + level * (credit - kept * (self.units + self.own_units))
        self.margin = min(self.margin, margin / (credit * level))
        self.margin_of_mean = min(self.margin_of_mean, of_mean / (credit * level))


class Process:
    """A system, its budget and its newest policies, of one seed."""

    def __init__(self, family: Family, budget: DipBudget, truth: Truth, rng: np.random.Generator):
        self.family, self.budget, self.truth, self.rng = family, budget, truth, rng
        self.policies = {REFERENCE: family.reference}
        self.acted = {REFERENCE: 0.0}
        self.clock = 0
        self.lowest = math.inf

    def run(self, epochs: int) -> None:
        """Epochs of one full episode's steps each."""
        while self.clock < epochs * LENGTH:
            self._episode(epochs * LENGTH)
            self.lowest = min(self.lowest, self.incumbent_earns())

    def incumbent_earns(self) -> float:
        """What an episode of the incumbent is really worth."""
        number = self.budget.incumbent
        turned = self.acted[number] > self.policies[number].turns_at
        return true_level(self.family, self.policies[number], turned=turned)

    def _episode(self, end: int) -> None:
        drawn: dict[int, tuple[list[float], int]] = {}
        for now in range(1, LENGTH + 1):
            if self.clock == end:
                return
            if self.clock % LENGTH == 0:
                self._offer()
            acting = self.budget.acting
            policy = self.policies[acting]
            if acting not in drawn:
                rewards, steps = episode(self.rng, self.family, policy)
                drawn[acting] = rewards.tolist(), steps
            rewards, steps = drawn[acting]
            turned = self.acted[acting] > policy.turns_at
            reward = rewards[now - 1] * (0.2 if turned else 1.0)
            fell = now >= steps and now < LENGTH
            self.acted[acting] += 1.0 / LENGTH
            self.clock += 1
            since = self.budget.running.others_since
            self.truth.step(reward, since, now, fell=fell)
            self.budget.step(reward)
            if fell:
                self.budget.end(terminated=True)
                return
            if self.budget.running.over:
                self.budget.end(terminated=False)
                return

    def _offer(self) -> None:
        epoch = self.clock // LENGTH + 1
        tried = sum(self.acted.values()) - sum(self.acted[old] for old in self.budget.incumbents)
        incumbent = self.policies[self.budget.incumbent]
        self.policies[epoch] = self.family.newest(self.rng, Seen(epoch, incumbent, tried))
        self.acted[epoch] = 0.0
        self.budget.offer(epoch)
        newest = self.policies[epoch]
        self.policies[EXPLORER] = dataclasses.replace(newest, level=_WITH_NOISE * newest.level)
        self.acted.setdefault(EXPLORER, 0.0)


@lru_cache(100_000)
def true_level(family: Family, policy: Policy, *, turned: bool = False) -> float:
    """Mean worth of an episode."""
    sticks = policy.sticks * (LENGTH + 1) / (2 * LENGTH)
    level = policy.level * (1.0 - sticks) * (0.2 if turned else 1.0)
    if math.isinf(policy.falls_at):
        return level
    rng = np.random.default_rng(0)
    return level * float(np.mean([episode(rng, family, policy)[1] for _ in range(200)])) / LENGTH


def simulate(
    family: Family,
    seeds: Sequence[int],
    *,
    share: float = 0.05,
    rules: Rules | None = None,
    epochs: int = EPOCHS,
    episodes: int = LOGGED,
    by_steps: bool = False,
    explores: bool = False,
) -> list[Outcome]:
    """So many processes of a family.

    Args:
        family: how its policies are made.
        seeds: one process each.
        share: the budget.
        rules: all other settings of the budget.
        epochs: length of a process, in episodes of full length.
        episodes: number of the reference's episodes that are known before.
        by_steps: whether the account counts steps, not episodes.
        explores: whether the newest policy itself acts where the account is rich.
    """
    known = true_record(family)[by_steps]
    outcomes = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        earnings, rate = logged(rng, family, family.reference, episodes)
        budget = dip_budget(share, earnings, rules, rate=rate if by_steps else None)
        budget.explores = explores
        # Without trials: the reference's luck alone, against the line of the default budget.
        truth = Truth(share or _DEFAULT, known)
        process = Process(family, budget, truth, rng)
        process.run(epochs)
        usual = true_level(family, family.reference)
        outcomes.append(
            Outcome(
                process.incumbent_earns() / usual,
                (truth.own + truth.other) / ((truth.units + truth.own_units) * known.level),
                truth.margin,
                truth.margin_of_mean,
                budget.trials,
                budget.promoted,
                budget.demoted,
                process.lowest / usual,
            )
        )
    return outcomes


def row(outcomes: Sequence[Outcome]) -> dict[str, float | int]:
    """A line of the table."""
    values = np.array([dataclasses.astuple(outcome) for outcome in outcomes])
    level, earned, margin, of_mean, trials, promoted, demoted, lowest = values.T
    return {
        "processes": len(outcomes),
        "broken": round(float(np.mean(margin < 0.0)), 5),
        "least_margin": round(float(margin.min()), 3),
        "broken_with_luck": round(float(np.mean(of_mean < 0.0)), 5),
        "level": round(float(level.mean()), 3),
        "level_q10": round(float(np.quantile(level, 0.1)), 3),
        "level_q90": round(float(np.quantile(level, 0.9)), 3),
        "earned": round(float(earned.mean()), 3),
        "trials": round(float(trials.mean()), 2),
        "promoted": round(float(promoted.mean()), 2),
        "demoted": round(float(demoted.mean()), 2),
        "dipped": round(float(np.mean(lowest < 1.0 - DIP)), 3),
    }


def grid(processes: int, *, others: bool) -> list[tuple[str, float, int, Family, int]]:
    """(rule, share, epochs, family, processes) of every line: the defaults on many processes.

    `others`: also other rules, budgets and times, on fewer processes.
    """
    families = (*CLIMBING, *HOSTILE)
    many, few = max(processes // len(families), 1), max(processes // 130, 1)
    lines = [("default", 0.05, EPOCHS, family, many) for family in families]
    if not others:
        return lines
    lines += [("exploring", 0.05, EPOCHS, family, many) for family in families]
    lines += [("exploring", 0.05, 100, family, few) for family in families]
    shares = (0.0, 0.02, 0.1)
    lines += [("default", share, EPOCHS, family, few) for share in shares for family in families]
    lines += [("default", 0.05, 100, family, few) for family in families]
    rules = [rule for rule in RULES if rule not in ("default", "exploring")]
    return lines + [
        (rule, 0.05, EPOCHS, family, few)
        for rule in rules
        for family in families
        if family.ends or not rule.startswith("by steps")
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=10_000, help="with the defaults, in all")
    parser.add_argument("--rules", choices=("all", "none"), default="all", help="besides them")
    parser.add_argument("--out", type=Path, default=Path("budget-simulation.csv"))
    chosen = parser.parse_args(argv)
    lines = grid(chosen.processes, others=chosen.rules == "all")
    start = time.process_time()
    with chosen.out.open("w", newline="", encoding="utf-8") as file:
        writer = None
        for rule, share, epochs, family, processes in lines:
            outcomes = simulate(
                family,
                range(processes),
                share=share,
                rules=RULES[rule],
                epochs=epochs,
                episodes=0 if "nothing logged" in rule else LOGGED,
                by_steps=rule.startswith("by steps"),
                explores=rule.endswith("exploring"),
            )
            line = {"rule": rule, "share": share, "epochs": epochs, "family": family.name}
            line |= row(outcomes)
            if writer is None:
                writer = csv.DictWriter(file, line)
                writer.writeheader()
            writer.writerow(line)
            file.flush()
            print(*line.values(), f"{time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
