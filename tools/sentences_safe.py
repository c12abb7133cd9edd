"""Single numbers in sentences about `moore_safe`: quickstart over seeds, a run of 100 epochs."""

from handover_runs import reference_for, rows_of, table
from text import fixed

SHOWN = "20"  # the seed of the picture
LEARNER = "td3"  # of the run of 100 epochs


def _last(seed: str) -> float:
    """The evaluated return after the last epoch of a quickstart."""
    return float(rows_of("quickstart-safe.csv", seed=seed, stage="online")[-1]["evaluated"])


def _quickstart() -> dict[str, str]:
    (shown,) = rows_of("quickstart-safe-budget.csv", seed=SHOWN)
    seeds = dict.fromkeys(row["seed"] for row in table("quickstart-safe.csv"))
    others = [_last(seed) for seed in seeds if seed != SHOWN]
    return {
        "quickstart-won": f"{shown['promoted']} of {shown['trials']}",
        "quickstart-best": fixed(max(others)),
        "quickstart-worst": fixed(min(others)),
    }


def _long_gain() -> dict[str, str]:
    """Of a run of 100 epochs: the mean of the last five above the hand-over, in D4RL's points."""
    (row,) = rows_of("safe-runs.csv", online=LEARNER, online_epochs="100", state="finished")
    score = reference_for(row["task"]).score
    return {"safe-gain-100": fixed(score(float(row["final"])) - score(float(row["hand_over"])))}


def numbers() -> dict[str, str]:
    return _quickstart() | _long_gain()


TABLES = {}
