"""Single numbers in sentences about `moore_safe`: quickstart over seeds, gains on MuJoCo logs."""

from handover_runs import reference_for, rows_of, table
from text import between, fixed

SHOWN = "20"  # the seed of the picture
LEARNER = "td3"  # of the gains that the README tells


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


def _gains() -> dict[str, str]:
    """Mean of the last five evaluations above the hand-over, in points of D4RL's score."""

    def points(row: dict) -> float:
        score = reference_for(row["task"]).score
        return score(float(row["final"])) - score(float(row["hand_over"]))

    def whole(epochs: str) -> list[dict]:
        return rows_of("safe-runs.csv", online=LEARNER, online_epochs=epochs, state="finished")

    return {
        "safe-gains": between(map(points, whole("25"))),
        "safe-gain-100": between(map(points, whole("100"))),
    }


def numbers() -> dict[str, str]:
    return _quickstart() | _gains()


TABLES = {}
