"""Figures 2, 3 and 4: sampling schemes, alpha, the models' uncertainty; quick and laptop scale."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

import beside
from handover_runs import Curves, estimate, newest_clones, number, rows_of, table
from moore.evaluation.stats import iqm, probability_of_improvement
from moore.replay.schedule import crossover_epoch, offline_priority
from text import between, fixed, interval, listed, markdown

SCHEMES = ("moore:1", "half_half", "online_only", "uniform")
# In the order of Fig. 4's tables.
ALIKE = ("moore:1", "uniform", "half_half", "online_only")
PENDULUM = "Pendulum-v1 builtin:pendulum-medium"
INVERTED = "InvertedPendulum-v5 builtin:inverted-pendulum-medium"
HOPPER = "Hopper-v5 hopper-medium-replay"
HALFCHEETAH = "HalfCheetah-v5 halfcheetah-medium-replay"
ALPHAS = (0.1, 0.25, 0.5, 1, 2, 4, 10)
# Of both quick tasks: rows of the log, steps of an online epoch.
LOG, EPOCH = 8000, 500


def two(value: float) -> str:
    return fixed(value, 2)


def column(name: str, task: str, variant: str, metric: str) -> np.ndarray:
    """A number a seed."""
    rows = rows_of(name, task=task, variant=variant)
    return np.asarray([float(row[metric]) for row in rows])


def ticked(names) -> list[str]:
    return [f"`{name}`" for name in names]


FROZEN = "the hand-over, frozen"
CLONE = "a clone of the log's better part"
# How clone-quick.csv names the quick tasks.
CLONED = {PENDULUM: "quick/pendulum", INVERTED: "quick/inverted-pendulum"}


def clones(task: str, seeds: int) -> np.ndarray:
    """What clones of a quick task's log earn, a number a seed."""
    rows = rows_of("clone-quick.csv", task=CLONED[task], part="rule")
    return np.asarray([float(row["clone_return"]) for row in rows if int(row["seed"]) < seeds])


def logged_clone(task: str) -> str:
    """What the clone of a MuJoCo log earns in the newest run of `moore_safe` that evaluated one."""
    return fixed(newest_clones()[task.split(" ")[1]])


def _beside(runs: list[list[Curves]], levels: Sequence[float], task: str) -> list[list[str]]:
    """A row a column of beside.py: runs of variants, their hand-over, and clones of these levels.

    Args:
        runs: the seeds of each variant; all variants begin with the same policies.
    """
    epochs = len(runs[0][0]["evaluated"]) - 1
    held, cloned = (
        [beside.frozen(run) for run in runs[0]],
        [beside.still(v, epochs) for v in levels],
    )
    cells = [
        beside.over_seeds([beside.measured(run, task) for run in seeds])
        for seeds in (*runs, held, cloned)
    ]
    cells[-2:] = map(beside.unchanging, cells[-2:])
    return [
        [f"{title}, points", *row] for title, *row in zip(beside.HEAD, *cells, strict=True)
    ]  # fmt: skip


def fig2_quick() -> str:
    rows = []
    for task, title in ((PENDULUM, "Pendulum"), (INVERTED, "InvertedPendulum")):
        every = {
            metric: [column("fig2-quick.csv", task, scheme, metric) for scheme in SCHEMES]
            for metric in ("dip_share", "final")
        }
        start = interval(estimate(iqm, column("fig2-quick.csv", task, "moore:1", "offline")), fixed)
        dips = [interval(estimate(iqm, values), two) for values in every["dip_share"]]
        finals = [interval(estimate(iqm, values), fixed) for values in every["final"]]
        clone = interval(estimate(iqm, clones(task, 8)), fixed)
        rows += [[f"{title}: dip share", *dips, "0", "0"], ["final", *finals, start, clone]]
        runs = [beside.curves_in("fig2-quick-curves.csv", task=task, variant=v) for v in SCHEMES]
        rows += _beside(runs, clones(task, 8), task)
    return markdown(("IQM [95% interval], 8 seeds", *ticked(SCHEMES), FROZEN, CLONE), rows)


CHANGES = {
    "as it is": "as it is",
    "normaliser of the log kept": "normaliser of the log",
    "refits up to 2000 steps": "refits up to 2000 steps",
}


def fig2_cause() -> str:
    rows = []
    for scheme in ("moore:1", "uniform", "half_half", "online_only"):
        cells = []
        for change in CHANGES.values():
            found = rows_of("fig2-quick-cause.csv", scheme=scheme, change=change)
            dips = listed((float(row["dip_share"]) for row in found), two)
            finals = listed(float(row["final"]) for row in found)
            cells.append(f"{dips}; {finals}" if found else "")
        rows.append([f"`{scheme}`", *cells])
    starts = listed(column("fig2-quick.csv", PENDULUM, "moore:1", "offline")[:4])
    for name, levels in ((FROZEN, starts), (CLONE, listed(clones(PENDULUM, 4)))):
        rows.append([name, f"0; {levels}", "", ""])
    return markdown(("dip share; final, seeds 0, 1, 2, 3", *CHANGES), rows)


def _cause_factors(change: str) -> np.ndarray:
    """How many times as long a run is with one change."""
    seconds = defaultdict(dict)
    for row in table("fig2-quick-cause.csv"):
        seconds[row["scheme"], row["seed"]][row["change"]] = float(row["seconds"])
    return np.asarray([run[change] / run["as it is"] for run in seconds.values() if change in run])


def fig3_quick() -> str:
    def over(task: str, metric: str, form: Callable) -> list[str]:
        every = [column("fig3-quick.csv", task, f"moore:{alpha}", metric) for alpha in ALPHAS]
        return [form(iqm([values]).value) for values in every]

    jumps = [EPOCH / (EPOCH + offline_priority(1, float(alpha)) * LOG) for alpha in ALPHAS]
    crossovers = [crossover_epoch(LOG, EPOCH, float(alpha)) for alpha in ALPHAS]
    schedule = [f"{two(j)}, {fixed(c, 1)}" for j, c in zip(jumps, crossovers, strict=True)]
    worst = estimate(iqm, column("fig3-quick.csv", PENDULUM, "moore:10", "dip_share"))
    still = [
        [over(task, "offline", fixed)[0], fixed(iqm([clones(task, 8)]).value)]
        for task in (PENDULUM, INVERTED)
    ]
    dips = [*over(PENDULUM, "dip_share", two)[:-1], interval(worst, two)]

    def more(task: str) -> list[list[str]]:
        name = "fig3-quick-curves.csv"
        runs = [beside.curves_in(name, task=task, variant=f"moore:{a}") for a in ALPHAS]
        rows = _beside(runs, clones(task, 8), task)
        return [[cell.split(" [")[0] for cell in row] for row in rows]

    rows = [
        ["jump at the hand-over, crossover epoch", *schedule, "", ""],
        ["Pendulum: dip share", *dips, "0", "0"],
        ["area under the curve", *over(PENDULUM, "auc", fixed), *still[0]],
        ["final", *over(PENDULUM, "final", fixed), *still[0]],
        *more(PENDULUM),
        ["InvertedPendulum: dip share", *over(INVERTED, "dip_share", two), "0", "0"],
        ["final", *over(INVERTED, "final", fixed), *still[1]],
        *more(INVERTED),
    ]
    return markdown(("IQM, 8 seeds", *map(str, ALPHAS), FROZEN, CLONE), rows)


def _by_seed(name: str, task: str, variant: str, key: str) -> list[np.ndarray]:
    """A column of the online epochs that have it, an array a seed."""
    found = defaultdict(list)
    for row in rows_of(name, task=task, variant=variant):
        if row[key] and int(row["epoch"]) > 0:
            found[row["seed"]].append(number(row[key]))
    return [np.asarray(values) for values in found.values()]


def _dips(name: str, task: str, variant: str) -> list[float]:
    found = defaultdict(list)
    for row in rows_of(name, task=task, variant=variant):
        found[row["seed"]].append(float(row["eval_return"]))
    return [max(0.0, returns[0] - min(returns[1:])) for returns in found.values()]


def uncertainty(name: str, task: str, variant: str) -> dict[str, float]:
    """As reports/uncertainty.py has it: means over seeds, quantiles over seeds and epochs."""
    u = _by_seed(name, task, variant, "model_uncertainty_mean")
    errors = np.concatenate(_by_seed(name, task, variant, "theory_relative_uncertainty_error"))
    median, tail = np.percentile(errors, [50, 95])
    return {
        "first": float(np.mean([values[0] for values in u])),
        "last": float(np.mean([values[-1] for values in u])),
        "median": median,
        "tail": tail,
        **{
            key: float(np.mean([v.max() for v in _by_seed(name, task, variant, f"theory_{key}")]))
            for key in ("drop_term", "predicted_drop")
        },
        "dip": float(np.mean(_dips(name, task, variant))),
    }


def _fig4(name: str, tasks: dict[str, str], rows: dict[str, tuple[str, int]], first: str) -> str:
    head, cells = [first], {title: [] for title in rows}
    for task, title in tasks.items():
        for place, scheme in enumerate(ALIKE):
            head.append(f"`{scheme}`" if place else f"{title}: `{scheme}`")
            found = uncertainty(name, task, scheme)
            for row, (key, digits) in rows.items():
                cells[row].append(fixed(found[key], digits))
    return markdown(head, [[title, *values] for title, values in cells.items()])


def fig4_quick() -> str:
    rows = {
        "u, first epoch": ("first", 2),
        "u, last epoch": ("last", 2),
        "Relative Uncertainty Error, median": ("median", 3),
        "its 95% quantile": ("tail", 2),
        "largest drop that the bound allows (drop term)": ("drop_term", 2),
        "largest drop that the new models predict": ("predicted_drop", 2),
        "real dip": ("dip", 0),
    }
    tasks = {PENDULUM: "Pendulum", INVERTED: "InvertedPendulum"}
    return _fig4("fig4-quick-curves.csv", tasks, rows, "8 seeds each")


def fig4_laptop() -> str:
    rows = {
        "u, first epoch": ("first", 2),
        "u, last epoch": ("last", 2),
        "Relative Uncertainty Error, median": ("median", 3),
        "its 95% quantile": ("tail", 2),
        "largest drop term": ("drop_term", 1),
        "largest predicted drop": ("predicted_drop", 1),
        "real dip": ("dip", 0),
    }
    tasks = {HOPPER: "Hopper", HALFCHEETAH: "HalfCheetah"}
    return _fig4("fig4-laptop-curves.csv", tasks, rows, "")


def fig2_laptop() -> str:
    rows = []
    for task, title, place in (
        (HALFCHEETAH, "HalfCheetah 0", 0), (HOPPER, "Hopper 0", 0), (HOPPER, "Hopper 1", 1),
    ):  # fmt: skip

        def of(metric: str, form: Callable, task=task, place=place) -> list[str]:
            values = [column("fig2-laptop.csv", task, scheme, metric) for scheme in SCHEMES]
            return [form(seeds[place]) for seeds in values]

        rows += [
            [f"{title}: dip share", *of("dip_share", two), "0", "0"],
            ["acting dip share", *of("behaviour_dip_share", two), *["0, and luck"] * 2],
            ["final", *of("final", fixed), of("offline", fixed)[0], logged_clone(task)],
        ]
        name = "fig2-laptop-curves.csv"
        runs = [[beside.curves_in(name, task=task, variant=v)[place]] for v in SCHEMES]
        rows += _beside(runs, [newest_clones()[task.split(" ")[1]]], task)
    return markdown(("", *ticked(SCHEMES), FROZEN, f"{CLONE}, seed 0"), rows)


def _laptop_returns(task: str, variant: str) -> list[float]:
    rows = rows_of("fig2-laptop-curves.csv", task=task, variant=variant, seed="0")
    return [float(row["eval_return"]) for row in rows]


def numbers() -> dict[str, str]:
    factors = _cause_factors(CHANGES["refits up to 2000 steps"])
    finals = [column("fig2-quick.csv", task, "moore:1", "final") for task in (PENDULUM, INVERTED)]
    even = [column("fig2-quick.csv", task, "uniform", "final") for task in (PENDULUM, INVERTED)]
    quick = {
        scheme: two(iqm([column("fig2-quick.csv", PENDULUM, scheme, "dip_share")]).value)
        for scheme in SCHEMES
    }
    laptop = [
        column("fig2-laptop.csv", t, "online_only", "dip_share") for t in (HALFCHEETAH, HOPPER)
    ]
    harmless = [
        iqm([column("fig3-quick.csv", PENDULUM, f"moore:{alpha}", "dip_share")]).value
        for alpha in ALPHAS[:-1]
    ]
    medians = [
        uncertainty("fig4-quick-curves.csv", task, scheme)["median"]
        for task in (PENDULUM, INVERTED) for scheme in SCHEMES
    ]  # fmt: skip
    (half_half,) = column("fig2-laptop.csv", HALFCHEETAH, "half_half", "dip_share")
    climb = _laptop_returns(HALFCHEETAH, "moore:1")
    worst = _laptop_returns(HALFCHEETAH, "online_only")
    return {
        "pendulum-moore": quick["moore:1"],
        "pendulum-half-half": quick["half_half"],
        "pendulum-online-only": quick["online_only"],
        "halfcheetah-half-half": two(half_half),
        "laptop-online-only": listed(np.concatenate(laptop), two),
        "alphas-harmless": between(harmless, two),
        "rue-medians": between(medians, lambda value: fixed(value, 3)),
        "refits-least": fixed(factors.min(), 1),
        "refits-most": fixed(factors.max(), 1),
        "moore-beats-uniform": interval(probability_of_improvement(finals, even), two),
        "halfcheetah-peak": fixed(max(climb[:6])),
        "halfcheetah-fall": fixed(min(climb)),
        "halfcheetah-online-only": fixed(min(worst)),
    }


TABLES = {
    "fig2-quick": fig2_quick,
    "fig2-cause": fig2_cause,
    "fig3-quick": fig3_quick,
    "fig4-quick": fig4_quick,
    "fig2-laptop": fig2_laptop,
    "fig4-laptop": fig4_laptop,
}
