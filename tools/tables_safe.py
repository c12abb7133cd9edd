"""What `moore_safe` with its present rules has reached on the MuJoCo logs, one run a log."""

import numpy as np

from handover_runs import reference_for, rows_of, table
from moore.evaluation.stats import iqm
from text import between, fixed, markdown

# The rows of safe-runs.csv that were made with the present rules, and with rehearsals of ten epochs
# every eight instead of eight every five, and how each is told.
PRESENT = {"td3-log": "8 epochs every 5", "td3-log-10": "10 every 8"}
# A hand-over that earns less than this D4RL score has room for a gain, by the aim of the project.
ROOM = 90.0


def _runs() -> list[dict]:
    """In points of D4RL's score, but for what is left of the budget, which is in reward."""
    found = {}
    for row in table("safe-runs.csv"):
        if row["online"] not in PRESENT:
            continue
        score = reference_for(row["task"]).score
        names = ("clone", "hand_over", "final", "lowest")
        points = {name: score(float(row[name])) for name in names if row[name]}
        run = row | points | {"gain": points["final"] - points["hand_over"]}
        before = found.get(key := (row["task"], row["seed"]))
        if before is None or row["online"] == next(iter(PRESENT)):
            found[key] = run
    return list(found.values())


def _dip(run: dict) -> float:
    """As a share of what the hand-over is worth above a random policy, whose score is 0."""
    return (run["hand_over"] - run["lowest"]) / run["hand_over"]


def safe_summary() -> str:
    """A row a run, and below them what doing nothing clever gives."""
    runs = _runs()
    rows = [
        [
            run["task"], run["seed"], PRESENT[run["online"]],
            fixed(run["clone"]) if run["clone"] != "" else "",
            fixed(run["hand_over"]), fixed(run["final"]), fixed(run["gain"], 1),
            f"{_dip(run):.2f}", f"{run['promoted']} of {run['trials']}",
            fixed(float(run["least_margin"])),
        ]
        for run in runs
    ]  # fmt: skip
    hand_over = np.mean([run["hand_over"] for run in runs])
    final = np.mean([run["final"] for run in runs])
    rows.append(["mean", "", "", "", fixed(hand_over), fixed(final),
                 fixed(final - hand_over, 1), "", "", ""])  # fmt: skip
    rows.append(["*frozen*, mean", "", "", "", fixed(hand_over), fixed(hand_over),
                 "0", "0", "", ""])  # fmt: skip
    clones = fixed(np.mean([run["clone"] for run in runs if run["clone"] != ""]))
    count = sum(run["clone"] != "" for run in runs)
    rows.append([f"*clone*, mean of {count}", "", "", clones, clones, clones,
                 "0", "0", "", ""])  # fmt: skip
    head = ("log", "seed", "rehearsals", "clone", "hand-over", "mean of the last 5", "gain")
    head += ("dip", "trials won", "least left of the budget")
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


def numbers() -> dict[str, str]:
    """For the table of what was asked for."""
    runs = _runs()
    low = [run["gain"] for run in runs if run["hand_over"] < ROOM]
    return {
        "safe-hand-over": fixed(np.mean([run["hand_over"] for run in runs])),
        "safe-logs": str(len(runs)),
        "safe-gain": fixed(iqm([np.asarray(low)]).value, 1),
        "safe-gain-logs": str(len(low)),
        "safe-gains": between([run["gain"] for run in runs]),
        "safe-worst-dip": f"{max(_dip(run) for run in runs):.2f}",
    }


TABLES = {"safe-summary": safe_summary, "log-first": log_first}
