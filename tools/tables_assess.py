"""What `moore assess` says of policies whose return is known (docs/assess.md)."""

import itertools

import numpy as np
from scipy import stats

from handover_runs import number, rows_of
from text import DASH, fixed, markdown, significant

CSV, WEIGHTS = "assess-check.csv", "assess-weights.csv"
# Bounds of the numbers of episodes that weights are worth.
WORTH = (0.0, 10.0, 25.0, 50.0, 100.0, np.inf)
ESTIMATORS = {
    "models": "the models", "fitted_q": "fitted Q evaluation", "importance": "importance sampling",
    "doubly_robust": "doubly robust",
}  # fmt: skip
# Those that need the densities of the log's actions, and speak of sampled policies.
BY_WEIGHTS = ("importance", "doubly_robust")
TASKS = {
    "tank": "tank",
    "quick/pendulum": "pendulum",
    "quick/pendulum, learned for longer": "pendulum, learned for longer",
    "tank with densities": "tank, densities logged",
}
ANSWERS = {"yes": "yes", "unknown": "not known", "no": "no"}


def _percent(value: float) -> str:
    return DASH if not np.isfinite(value) else f"{fixed(100 * value)}%"


def _columns(rows: list[dict], *names: str) -> list[np.ndarray]:
    return [np.asarray([number(row[name]) for row in rows]) for name in names]


def _tasks() -> list[str]:
    return [task for task in TASKS if rows_of(CSV, task=task)]


def _estimators() -> str:
    head = ("task", "estimator", "policies", "refused", "rank correlation", "median error",
            "as a share of the range", "90% intervals that hold the truth")  # fmt: skip
    rows = []
    for task in _tasks():
        for name, title in ESTIMATORS.items():
            mine = rows_of(CSV, task=task)
            if name in BY_WEIGHTS and not mine[0]["truth_sampled"]:
                continue
            known = [row for row in mine if row[f"{name}_value"]]
            rows.append([TASKS[task], title, str(len(mine)), str(len(mine) - len(known)),
                         *_quality(known, name)])  # fmt: skip
    return markdown(head, rows)


def _quality(known: list[dict], name: str) -> list[str]:
    if len(known) < 3:
        return [DASH] * 4
    names = (f"{name}_{x}" for x in ("value", "low", "high"))
    truth, value, low, high = _columns(known, truth_of(name), *names)
    error = float(np.median(np.abs(value - truth)))
    inside = float(np.mean((low <= truth) & (truth <= high)))
    rank = float(stats.spearmanr(truth, value).statistic)
    share = error / float(np.ptp(truth))
    return [fixed(rank, 2), significant(error), _percent(share), _percent(inside)]


def truth_of(name: str) -> str:
    """The column of the truth that an estimator speaks of."""
    return "truth_sampled" if name in BY_WEIGHTS else "truth"


def _verdicts() -> str:
    head = ("task", "verdict", "policies", "better than the log", "no better")
    rows = []
    for task in _tasks():
        for answer, title in ANSWERS.items():
            said = rows_of(CSV, task=task, verdict=answer)
            good = len(_better(said))
            rows.append([TASKS[task], title, str(len(said)), str(good), str(len(said) - good)])
    return markdown(head, rows)


def _better(rows: list[dict]) -> list[dict]:
    """Those that earn more than the old controller: than its truth, where it is known."""
    return [row for row in rows if number(row["truth"]) > number(row["old_truth"] or row["old"])]


def _kinds() -> str:
    """Error with its sign, by kind of policy: where estimates are too high."""
    kinds = {"learned": "learned in the models", "clone": "clones", "disturbed": "disturbed clones"}
    head = ("task", "policies", "mean truth", *(f"{t}, mean error" for t in ESTIMATORS.values()))
    rows = []
    for task in _tasks():
        for kind, title in kinds.items():
            mine = rows_of(CSV, task=task, kind=kind)
            if not mine:
                continue
            (truth,) = _columns(mine, "truth")
            errors = [_mean_error(mine, name) for name in ESTIMATORS]
            rows.append([TASKS[task], title, significant(float(truth.mean())), *errors])
    return markdown(head, rows)


def _mean_error(rows: list[dict], name: str) -> str:
    known = [row for row in rows if row[f"{name}_value"]]
    if not known:
        return DASH
    truth, value = _columns(known, truth_of(name), f"{name}_value")
    error = float(np.mean(value - truth))
    return ("+" if error >= 0 else "") + significant(error)


def _weights() -> str:
    """Whether intervals of importance sampling hold the truth, by what the weights are worth."""
    head = ("the weights are worth, episodes", "policies", "median error", "mean error",
            "90% intervals that hold the truth")  # fmt: skip
    names = ("effective_episodes", "value", "low", "high", "truth")
    worth, value, low, high, truth = _columns(rows_of(WEIGHTS), *names)
    rows = []
    for least, most in itertools.pairwise(WORTH):
        mine = (worth >= least) & (worth < most)
        error, held = (value - truth)[mine], ((low <= truth) & (truth <= high))[mine]
        label = f"{least:g} to {most:g}" if np.isfinite(most) else f"more than {least:g}"
        mean = float(error.mean())
        rows.append([label, str(mine.sum()), significant(float(np.median(np.abs(error)))),
                     ("+" if mean >= 0 else "") + significant(mean),
                     f"{held.sum()} of {mine.sum()}"])  # fmt: skip
    return markdown(head, rows)


def numbers() -> dict[str, str]:
    """What the sentences say."""
    rows = rows_of(CSV)
    better, yes = _better(rows), rows_of(CSV, verdict="yes")
    worse = [row for row in rows if row not in better]
    false = [row for row in yes if row in worse]
    below_log = [row for row in yes if number(row["truth"]) <= number(row["old"])]
    bound = 1.0 - 0.05 ** (1.0 / len(worse))
    tank = rows_of(CSV, task="tank")[0]
    dense = rows_of(CSV, task="tank with densities")
    weighed = [row for row in dense if row["doubly_robust_value"]]
    return {
        "assess-dense": str(len(dense)),
        "assess-dense-known": str(len(weighed)),
        "assess-dense-old": fixed(number(dense[0]["old"]), 2),
        "assess-dense-truth": fixed(number(dense[0]["old_truth"]), 2),
        "assess-policies": str(len(rows)),
        "assess-worse": str(len(worse)),
        "assess-better": str(len(better)),
        "assess-yes": str(len(yes)),
        "assess-false-yes": str(len(false)),
        "assess-true-yes": str(len(yes) - len(false)),
        "assess-bound": _percent(bound),
        "assess-yes-below-log": str(len(below_log)),
        "assess-tank-old": fixed(number(tank["old"]), 1),
        "assess-tank-truth": fixed(number(tank["old_truth"]), 1),
    }


TABLES = {
    "assess-estimators": _estimators,
    "assess-kinds": _kinds,
    "assess-weights": _weights,
    "assess-verdicts": _verdicts,
}
