"""What `moore_safe` with its present rules has reached on the MuJoCo logs, one run a log."""

import numpy as np

from handover_runs import reference_for, rows_of, table
from moore.evaluation.stats import iqm
from text import between, fixed, markdown

# How each kind of rows of safe-runs.csv was made: updates a step, rehearsals, updates on the log,
# what the dip budget compares where episodes can end early, and whether a promotion asks for what
# failing costs. The first that there is for a log and seed is shown.
PRESENT = {
    "td3-8-failing": ("8", "8 epochs every 5", "16,000", "steps", "yes"),
    "td3-8": ("8", "8 epochs every 5", "16,000", "steps", "no"),
    "td3-steps": ("4", "8 epochs every 5", "16,000", "steps", "no"),
    "td3-steps-1": ("4", "8 epochs every 5", "16,000", "steps", "no"),
    "td3-log": ("4", "8 epochs every 5", "32,000", "episodes", "no"),
    "td3-log-10": ("4", "10 every 8", "32,000", "episodes", "no"),
}
# A log of a short training of our own is no stand-in for a tier of D4RL's.
_OF_OUR_OWN = "walker2d"
# A hand-over that earns less than this D4RL score has room for a gain, by the aim of the project.
ROOM = 90.0


def _runs() -> list[dict]:
    """In points of D4RL's score, but for what is left of the budget, which is in reward."""
    found = {}
    kinds = list(PRESENT)
    for row in table("safe-runs.csv"):
        if row["online"] not in kinds or row["task"].startswith(_OF_OUR_OWN):
            continue
        score = reference_for(row["task"]).score
        names = ("clone", "hand_over", "final", "lowest")
        points = {name: score(float(row[name])) for name in names if row[name]}
        run = row | points | {"gain": points["final"] - points["hand_over"]}
        before = found.get(key := (row["task"], row["seed"]))
        if before is None or kinds.index(row["online"]) < kinds.index(before["online"]):
            found[key] = run
    return list(found.values())


def _dip(run: dict) -> float:
    """As a share of what the hand-over is worth above a random policy, whose score is 0."""
    return (run["hand_over"] - run["lowest"]) / run["hand_over"]


def _by_log(name: str) -> list[float]:
    """The mean over the runs of each log."""
    runs = _runs()
    logs = dict.fromkeys(run["task"] for run in runs)
    return [float(np.mean([run[name] for run in runs if run["task"] == log])) for log in logs]


def safe_summary() -> str:
    """A row a run, and below them what doing nothing clever gives."""
    runs = _runs()
    rows = [
        [
            run["task"], run["seed"],
            fixed(run["clone"]) if run["clone"] != "" else "",
            fixed(run["hand_over"]), fixed(run["final"]), fixed(run["gain"], 1),
            f"{_dip(run):.2f}", fixed(run["hand_over"] - run["lowest"], 1),
            fixed(float(run["worst_episode"])),
        ]
        for run in runs
    ]  # fmt: skip
    hand_over, final = (np.mean(_by_log(name)) for name in ("hand_over", "final"))
    gain = fixed(final - hand_over, 1)
    rows.append(["mean over logs", "", "", fixed(hand_over), fixed(final), gain, "", "", ""])
    still = ["0", "0", "0", ""]
    rows.append(["*frozen*, mean", "", "", *[fixed(hand_over)] * 2, *still])
    clones = fixed(np.mean([run["clone"] for run in runs if run["clone"] != ""]))
    count = sum(run["clone"] != "" for run in runs)
    rows.append([f"*clone*, mean of {count} runs", "", *[clones] * 3, *still])
    head = ("log", "seed", "clone", "hand-over", "mean of the last 5", "gain")
    return markdown((*head, "dip", "dip, points", "worst episode acted"), rows)


def safe_trials() -> str:
    """How the same runs were made, and how their trials went."""
    rows = [
        [
            run["task"], run["seed"], f"{run['promoted']} of {run['trials']}",
            fixed(float(run["least_margin"])), *_told(run),
        ]
        for run in _runs()
    ]  # fmt: skip
    head = ("log", "seed", "trials won", "least left of the budget", "updates a step")
    head += ("rehearsals", "updates on the log", "budget by", "failures count")
    return markdown(head, rows)


def _told(run: dict) -> tuple[str, ...]:
    """How a run was made; where no episode ends early, episodes and steps are the same.

    Only there a promotion asks for what failing costs.
    """
    each, rehearsals, updates, per, failures = PRESENT[run["online"]]
    updates = updates if run["clone"] else "0"
    rest = ("", failures) if "cheetah" in run["task"] else (per, "")
    return each, rehearsals, updates, *rest


def failing_runs() -> str:
    """Runs from the same hand-overs, where a promotion asks for what failing costs or does not."""
    rows = []
    for run in rows_of("safe-runs.csv", online="td3-8-failing", online_epochs="25"):
        same = {name: run[name] for name in ("task", "seed", "online_epochs")}
        without = rows_of("safe-runs.csv", online="td3-8", **same)
        if not without:
            continue
        (before,) = without
        cells = [run["task"], run["seed"], fixed(float(run["hand_over"]))]
        for name in ("final", "lowest"):
            cells += [fixed(float(of[name])) for of in (before, run)]
        rows.append([*cells, *(f"{of['promoted']} of {of['trials']}" for of in (before, run))])
    head = ["log", "seed", "hand-over"]
    for what in ("mean of the last 5", "lowest", "won"):
        head += [f"{what}, without", "with"]
    return markdown(head, rows)


def log_first() -> str:
    """The same hand-overs with and without what the log teaches before anything acts."""

    def curve(log: str, first: str) -> list[float]:
        rows = rows_of("log-first.csv", log=log, log_first=first)
        return [float(row["return"]) for row in rows]

    rows = []
    for log in dict.fromkeys(row["log"] for row in table("log-first.csv")):
        cells = [log, fixed(curve(log, "0")[0])]
        for told in (lambda v: v[10], lambda v: np.mean(v[1:]), lambda v: np.mean(v[-5:])):
            cells += [fixed(told(curve(log, first))) for first in "01"]
        rows.append([*cells, *(fixed(min(curve(log, first))) for first in "01")])
    head = ["log", "hand-over"]
    for what in ("after epoch 10", "mean of 25 epochs", "mean of the last 5", "lowest"):
        head += [f"{what}, without", "with"]
    return markdown(head, rows)


def by_steps() -> str:
    """Runs from the same hand-overs whose account counts episodes, or steps."""

    def told(log: str, account: str) -> list[str]:
        rows = rows_of("by-steps.csv", log=log, account=account)
        last, returns = rows[-1], [float(row["return"]) for row in rows]
        won = f"{last['promoted']} of {last['trials']}"
        return [won, fixed(np.mean(returns[-5:])), fixed(min(returns))]

    rows = []
    for log in dict.fromkeys(row["log"] for row in table("by-steps.csv")):
        first = rows_of("by-steps.csv", log=log, account="step")[0]
        each = zip(told(log, "episode"), told(log, "step"), strict=True)
        rows.append([log, fixed(float(first["return"])), *(cell for pair in each for cell in pair)])
    head = ["log", "hand-over"]
    for what in ("trials won", "mean of the last 5", "lowest"):
        head += [f"{what}, by episodes", "by steps"]
    return markdown(head, rows)


def numbers() -> dict[str, str]:
    """For the table of what was asked for."""
    runs, hand_over, gains = _runs(), _by_log("hand_over"), _by_log("gain")
    low = [gain for gain, begun in zip(gains, hand_over, strict=True) if begun < ROOM]
    return {
        "safe-hand-over": fixed(np.mean(hand_over)),
        "safe-logs": str(len(hand_over)),
        "safe-runs": str(len(runs)),
        "safe-gain": fixed(iqm([np.asarray(low)]).value, 1),
        "safe-gain-logs": str(len(low)),
        "safe-gains": between([run["gain"] for run in runs]),
        "safe-worst-dip": f"{max(_dip(run) for run in runs):.2f}",
    }


TABLES = {
    "safe-summary": safe_summary,
    "safe-trials": safe_trials,
    "log-first": log_first,
    "by-steps": by_steps,
    "failing-runs": failing_runs,
}
