"""The small experiments of docs/learning.md that settings of `moore_safe` were chosen by."""

import numpy as np

from handover_runs import rows_of, table
from text import fixed, markdown


def online_choices() -> str:
    """Trials of the online stage, one row each; the epochs that were run."""
    shown = ("1", "2", "3", "4", "6", "8", "10", "13")
    rows = []
    for trial in dict.fromkeys(row["trial"] for row in table("online-choices.csv")):
        epochs = {row["epoch"]: row for row in rows_of("online-choices.csv", trial=trial)}
        first = next(iter(epochs.values()))
        newest = (epochs[epoch]["newest"] if epoch in epochs else "" for epoch in shown)
        facts = (first[name] for name in ("log", "reach", "units", "start", "scheme", "noise"))
        rows.append([trial, *facts, *newest])
    head = ("", "log", "reach", "values in", "critics begin at", "rows", "noise")
    return markdown((*head, *(f"epoch {epoch}" for epoch in shown)), rows)


def online_pilots() -> str:
    """Runs that settings of the online stage were chosen by: the acting and the newest policy."""
    shown = ("0", "1", "2", "4", "6", "8", "10", "12", "16")
    rows = []
    for pilot in dict.fromkeys(row["pilot"] for row in table("online-pilots.csv")):
        epochs = {row["epoch"]: row for row in rows_of("online-pilots.csv", pilot=pilot)}
        last = list(epochs.values())[-1]
        told = (
            f"{fixed(float(epochs[epoch]['evaluated']))}, {fixed(float(epochs[epoch]['newest']))}"
            if epoch in epochs
            else ""
            for epoch in shown
        )
        won = f"{last['promoted']} of {last['trials']}"
        rows.append([pilot, last["log"], last["what"], *told, won])
    head = ("", "log", "what", *(f"epoch {epoch}" for epoch in shown), "trials won")
    return markdown(head, rows)


def rehearsal_pilots() -> str:
    """What learning in the models gives, and what lies on the way to it."""
    rows = [
        [
            row["models_have_seen"], row["epochs"], row["part"],
            fixed(float(row["models_say"])) if row["models_say"] else "",
            fixed(float(row["return"])), fixed(float(row["worst_episode"])), row["stuck"],
        ]
        for row in table("rehearsal-pilots.csv")
    ]  # fmt: skip
    head = (
        "the models have seen", "epochs in them", "part of the way", "gain that they promise",
        "really earned", "worst of ten episodes", "of ten that got stuck",
    )  # fmt: skip
    return markdown(head, rows)


def clone_pilots() -> str:
    """Clones of five seeds, fitted in other ways and to other parts of the log."""
    rows, shown = [], {}
    for row in table("clone-pilots.csv"):
        shown.setdefault((row["log"], row["what"]), []).append(row)
    for (log, what), found in sorted(shown.items(), key=lambda item: item[0][0]):
        returns = [float(row["return"]) for row in found]
        explained = [float(row["explained"]) for row in found if row["explained"]]
        worst = fixed(min(float(row["worst_episode"]) for row in found))
        share = fixed(np.mean(explained), 2) if explained else ""
        spread = f"{fixed(min(returns))} to {fixed(max(returns))}" if len(returns) > 1 else ""
        rows.append([log, what, share, fixed(np.mean(returns)), spread, worst])
    head = ("log", "clone", "explained", "mean return", "of single clones", "worst episode")
    return markdown(head, rows)


def log_pilots() -> str:
    """What the agent of the online stage learns from the log alone."""

    measured = ("return", "worst_episode", "half_way", "half_way_worst", "models_say")
    rows = [
        [
            row["log"], row["seed"], row["reach"], f"{int(row['updates']):,}",
            *(fixed(float(row[name])) if row[name] else "" for name in measured),
        ]
        for row in table("log-pilots.csv")
    ]  # fmt: skip
    head = (
        "log", "seed", "reach", "updates", "return", "worst of ten episodes", "half of the way",
        "its worst episode", "gain that the models promise",
    )  # fmt: skip
    return markdown(head, rows)


def update_pilots() -> str:
    """Whole runs from one hand-over a log, with one thing changed in each."""
    rows = []
    for log, what in dict.fromkeys((row["log"], row["what"]) for row in table("update-pilots.csv")):
        found = rows_of("update-pilots.csv", log=log, what=what)
        returns = {int(row["epoch"]): float(row["evaluated"]) for row in found}
        won = f"{found[-1]['promoted']} of {found[-1]['trials']}" if found[-1]["trials"] else ""
        whole = list(returns.values()) if 25 in returns else []
        ends = [fixed(np.mean(whole[-5:])), fixed(min(whole))] if whole else ["", ""]
        rows.append([log, what, fixed(returns[5]), fixed(returns[10]), *ends, won])
    head = ("log", "updates", "epoch 5", "epoch 10", "mean of the last 5 of 25", "lowest", "won")
    return markdown(head, rows)


def failing_pilots() -> str:
    """What policies that get stuck now and then earn, and what the models say of them."""
    head = {
        "updates": "updates a step", "models_of_epoch": "models of epoch", "policy": "policy",
        "earned": "really earned", "stuck": "of the episodes got stuck", "models": "models say",
        "noise_0.1": "with noise of 0.1", "noise_0.2": "0.2", "noise_0.3": "0.3",
    }  # fmt: skip
    rows = [[row[name] for name in head] for row in table("failing-pilots.csv")]
    return markdown(tuple(head.values()), rows)


def exploration_pilots() -> str:
    """Runs that go on from one epoch, with exploration and without."""
    rows, name = [], "exploration-pilots.csv"
    for log, what in dict.fromkeys((row["log"], row["what"]) for row in table(name)):
        found = rows_of(name, log=log, what=what)
        first, last = found[0], found[-1]
        trials, won, explored = (
            int(last[key]) - int(first[key]) for key in ("trials", "promoted", "explored")
        )
        returns = [float(row["evaluated"]) for row in found]
        rows.append([
            log, what, f"{first['epoch']} to {last['epoch']}", fixed(returns[0]),
            fixed(returns[-1]), fixed(min(returns)), f"{won} of {trials}", str(explored),
        ])  # fmt: skip
    head = ("log", "explores", "epochs", "return at first", "at last", "lowest")
    return markdown((*head, "trials won", "episodes explored"), rows)


def plant_floor() -> str:
    """What is handed over from the log of a tank, and what the newest policy would have earned."""
    head = {
        "algorithm": "algorithm", "seed": "seed", "clone_acts": "a clone acts first",
        "log_return": "the log earns", "random_return": "random actions",
        "hand_over": "hand-over", "newest_best": "newest policy, at best",
        "newest_last": "at last", "models_of_newest_last": "models say of it",
    }  # fmt: skip
    rows = [[row[name] for name in head] for row in table("plant-floor.csv")]
    return markdown(tuple(head.values()), rows)


def numbers() -> dict[str, str]:
    """How well the models rank clones: Spearman's correlation with what they earn."""
    rows = table("clones-in-models.csv")
    earned, said = ([float(row[name]) for row in rows] for name in ("return", "models_say"))
    ranks = [np.argsort(np.argsort(values)) for values in (earned, said)]
    return {
        "clones-ranked": fixed(np.corrcoef(*ranks)[0, 1], 2),
        "clones-mean": fixed(np.mean(earned)),
        "clones-number": str(len(rows)),
    }


TABLES = {
    "online-choices": online_choices,
    "online-pilots": online_pilots,
    "rehearsal-pilots": rehearsal_pilots,
    "clone-pilots": clone_pilots,
    "log-pilots": log_pilots,
    "update-pilots": update_pilots,
    "failing-pilots": failing_pilots,
    "exploration-pilots": exploration_pilots,
    "plant-floor": plant_floor,
}
