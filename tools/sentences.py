"""Single numbers in sentences: returns of epochs, what Fig. 1 says of each algorithm."""

import numpy as np

from handover_runs import curves_of, online_returns, rows_of
from moore.evaluation.stats import iqm
from moore.evaluation.transfer import FINAL_EVALUATIONS
from tables_schemes import HALFCHEETAH, HOPPER, INVERTED, PENDULUM, column, two
from text import between, fixed

CAUSE = "fig2-quick-cause.csv"
# Name -> log, run, epoch (0: the hand-over), of seed 0; evaluated where nothing else is said.
EVALUATED = {
    "hopper-robust": ("hopper-medium", "moore_robust", 0),
    "hopper-moore": ("hopper-medium", "moore", 0),
    "hopper-guards": ("hopper-medium", "guards alone", 0),
    "cheetah-robust": ("halfcheetah-medium", "moore_robust", 0),
    "cheetah-moore": ("halfcheetah-medium", "moore", 0),
    "cheetah-guards": ("halfcheetah-medium", "guards alone", 0),
    "replay-moore": ("hopper-medium-replay", "moore", 0),
    "replay-guards": ("hopper-medium-replay", "guards alone", 0),
    "cheetah-replay-moore": ("halfcheetah-medium-replay", "moore", 0),
    "cheetah-replay-guards": ("halfcheetah-medium-replay", "guards alone", 0),
    "cheetah-replay-guards-6": ("halfcheetah-medium-replay", "guards alone", 6),
    "cheetah-replay-moore-5": ("halfcheetah-medium-replay", "moore", 5),
    "expert-robust": ("halfcheetah-medium-expert", "moore_robust", 0),
    "expert-moore": ("halfcheetah-medium-expert", "moore", 0),
    "expert-moore-9": ("halfcheetah-medium-expert", "moore", 9),
    "random-robust": ("halfcheetah-random", "moore_robust", 0),
    "random-robust-8": ("halfcheetah-random", "moore_robust", 8),
    "random-moore": ("halfcheetah-random", "moore", 0),
    "random-moore-8": ("halfcheetah-random", "moore", 8),
    "random-moore-9": ("halfcheetah-random", "moore", 9),
    "hopper-random-robust": ("hopper-random", "moore_robust", 0),
    "hopper-random-guards": ("hopper-random", "guards alone", 0),
    "hopper-random-moore": ("hopper-random", "moore", 0),
    "hopper-random-moore-2": ("hopper-random", "moore", 2),
    "hopper-expert-4": ("hopper-medium-expert", "moore_robust", 4),
}
ACTING = {
    "cheetah-moore-acting": ("halfcheetah-medium", "moore", 0),
    "cheetah-robust-acting-2": ("halfcheetah-medium", "moore_robust", 2),
    "cheetah-robust-acting-7": ("halfcheetah-medium", "moore_robust", 7),
    "expert-robust-acting": ("halfcheetah-medium-expert", "moore_robust", 0),
    "hopper-expert-acting": ("hopper-medium-expert", "moore_robust", 0),
    "hopper-expert-acting-2": ("hopper-medium-expert", "moore_robust", 2),
}
# Name -> CSV, task, variant, column, epoch, of seed 0 of runs at laptop scale.
CURVES = {
    "awac-3": ("fig1-laptop-curves.csv", HOPPER, "awac", "eval_return", 3),
    "awac-5": ("fig1-laptop-curves.csv", HOPPER, "awac", "eval_return", 5),
    "awac-6": ("fig1-laptop-curves.csv", HOPPER, "awac", "eval_return", 6),
    "iql-2": ("fig1-laptop-curves.csv", HOPPER, "iql", "eval_return", 2),
    "iql-3": ("fig1-laptop-curves.csv", HOPPER, "iql", "eval_return", 3),
    "iql-6": ("fig1-laptop-curves.csv", HOPPER, "iql", "eval_return", 6),
    "iql-acting-9": ("fig1-laptop-curves.csv", HALFCHEETAH, "iql", "acting_return", 9),
    "uniform-acting-3": ("fig2-laptop-curves.csv", HALFCHEETAH, "uniform", "acting_return", 3),
    "uniform-acting-6": ("fig2-laptop-curves.csv", HALFCHEETAH, "uniform", "acting_return", 6),
    "uniform-acting-8": ("fig2-laptop-curves.csv", HALFCHEETAH, "uniform", "acting_return", 8),
    "moore-acting-7": ("fig2-laptop-curves.csv", HALFCHEETAH, "moore:1", "acting_return", 7),
    "random-moore-10": (
        "fig1-laptop-curves.csv", "HalfCheetah-v5 halfcheetah-random", "moore:1", "eval_return", 10,
    ),
}  # fmt: skip
# Name -> log, run: means of the last evaluations.
FINALS = {
    "hopper-random-moore-final": ("hopper-random", "moore"),
    "hopper-random-guards-final": ("hopper-random", "guards alone"),
}


def _returns() -> dict[str, str]:
    found = {}
    for names, kind in ((EVALUATED, "evaluated"), (ACTING, "acting")):
        for name, (log, run, epoch) in names.items():
            found[name] = fixed(online_returns()[log, run]["0"][kind][epoch])
    for name, (log, run) in FINALS.items():
        found[name] = fixed(curves_of(log, run)["evaluated"][-FINAL_EVALUATIONS:].mean())
    for name, (file, task, variant, key, epoch) in CURVES.items():
        (row,) = rows_of(file, task=task, variant=variant, seed="0", epoch=str(epoch))
        found[name] = fixed(float(row[key]))
    start, *later = curves_of("hopper-random", "guards alone")["evaluated"]
    found["hopper-random-guards-dip"] = fixed(start - min(later))
    return found


def _dips(task: str, variant: str, kind: str = "dip_share") -> np.ndarray:
    return column("fig1-quick.csv", task, variant, kind)


def _above(dips: np.ndarray, least: float = 0.05) -> str:
    """The dips that count, in the order of the seeds."""
    return ", ".join(two(dip) for dip in dips if dip > least)


def _fig1() -> dict[str, str]:
    def middle(task: str, variant: str, kind: str) -> str:
        return fixed(iqm([_dips(task, variant, kind)]).value)

    def others(task: str) -> dict[str, None]:
        names = (row["variant"] for row in rows_of("fig1-quick.csv", task=task))
        return dict.fromkeys(name for name in names if name != "moore_robust")

    best = {
        task: max(iqm([_dips(task, name, "offline")]).value for name in others(task))
        for task in (PENDULUM, INVERTED)
    }
    robust = np.concatenate([_dips(task, "moore_robust") for task in best])
    iql = _dips(PENDULUM, "iql")
    return {
        "robust-pendulum": middle(PENDULUM, "moore_robust", "offline"),
        "robust-inverted": middle(INVERTED, "moore_robust", "offline"),
        "others-pendulum": fixed(best[PENDULUM]),
        "others-inverted": fixed(best[INVERTED]),
        "robust-most-dip": fixed(robust.max(), 3),
        "robust-acting": between(_dips(PENDULUM, "moore_robust", "behaviour_dip_share"), two),
        "moore-acting": between(_dips(PENDULUM, "moore:1", "behaviour_dip_share"), two),
        "balanced-pendulum": _above(_dips(PENDULUM, "balanced_replay")),
        "balanced-inverted": _above(_dips(INVERTED, "balanced_replay")),
        "wsrl-pendulum": _above(_dips(PENDULUM, "wsrl")),
        "wsrl-inverted": _above(_dips(INVERTED, "wsrl")),
        "iql-final": middle(PENDULUM, "iql", "final"),
        "iql-dips": between(iql[iql > 0.05], two),
        "adaptive-pendulum": _above(_dips(PENDULUM, "adaptive_bc")),
        "adaptive-inverted": between(_dips(INVERTED, "adaptive_bc"), two),
    }


def _fig2() -> dict[str, str]:
    """Why two schemes drop, and who ends where on Hopper."""

    def errors(*schemes: str) -> str:
        rows = [row for s in schemes for row in rows_of(CAUSE, scheme=s, change="as it is")]
        values = [float(row["holdout_mse_epoch_1"]) for row in rows]
        return between(values, lambda value: fixed(value, 2 if value < 0.05 else 1))

    def finals(variant: str) -> str:
        return " and ".join(map(fixed, column("fig2-laptop.csv", HOPPER, variant, "final")))

    def lost(scheme: str) -> str:
        return str((column("fig2-quick.csv", PENDULUM, scheme, "dip_share") > 0.5).sum())

    inverted = column("fig2-quick.csv", INVERTED, "online_only", "final")
    return {
        "holdout-broken": errors("half_half", "online_only"),
        "holdout-moore": errors("moore:1"),
        "lost-half-half": lost("half_half"),
        "lost-online-only": lost("online_only"),
        "low-online-only": str((inverted < 500).sum()),
        "hopper-finals-moore": finals("moore:1"),
        "hopper-finals-uniform": finals("uniform"),
    }


def numbers() -> dict[str, str]:
    return _returns() | _fig1() | _fig2()


TABLES = {}
