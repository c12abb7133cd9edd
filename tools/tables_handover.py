"""`moore_robust` and the paper's algorithm: eight MuJoCo logs, two quick tasks."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from handover_runs import (
    ALGORITHMS,
    DEVELOPMENT,
    EPOCHS,
    LOGGED,
    WORTHLESS,
    curves_of,
    estimate,
    metrics_of,
    offline_returns,
    online_returns,
    over_logs,
    quick_stages,
    rows_of,
)
from moore.evaluation.stats import iqm, mean
from text import acted, between, fixed, interval, markdown, share

BOLD = "**`moore_robust`**"
TITLES = {"moore_robust": BOLD, "guards alone": "guards alone", "moore": "`moore`"}
ALL = tuple(LOGGED)
SOMETHING = tuple(log for log in LOGGED if log not in WORTHLESS)
OTHERS = tuple(log for log in LOGGED if log not in DEVELOPMENT)


def one(value: float) -> str:
    return fixed(value, 1)


def two(value: float) -> str:
    return fixed(value, 2)


def over(run: str, metric: str, logs=ALL, form: Callable = two) -> str:
    return interval(estimate(iqm, over_logs(run, metric, logs)), form)


def readme() -> str:
    head = ("interquartile mean [95%] over the logs", "hand-over, D4RL score")
    head += ("lowest of 8 epochs below it by", "the same, acting", "gain, score")
    head += ("mean of the last 5",)
    rows = []
    for run in ALGORITHMS:
        hand_over = estimate(iqm, over_logs(run, "offline_score"))
        rows.append([
            f"`{run}`", interval(hand_over, one), over(run, "dip_share"),
            over(run, "behaviour_dip_share"), over(run, "gain_score", form=one),
            over(run, "final_score", form=one),
        ])  # fmt: skip
        rows.append([
            f"the hand-over of `{run}`, frozen", interval(hand_over, one), "0", "0, and luck", "0",
            interval(hand_over, one),
        ])  # fmt: skip
    return markdown(head, rows)


def logs_iqm() -> str:
    head = ("", "runs", "hand-over, score", "evaluated dip share", "acting dip share")
    head += ("gain, score", "mean of the last 5, score")
    named = [
        ("{}", ALL),
        ("{}, the six logs where `moore` hands over something", SOMETHING),
        ("{}, the five logs that are not development logs", OTHERS),
    ]
    rows = [
        [
            text.format(TITLES[run]), str(len(logs)), over(run, "offline_score", logs, one),
            over(run, "dip_share", logs), over(run, "behaviour_dip_share", logs),
            over(run, "gain_score", logs, one), over(run, "final_score", logs, one),
        ]
        for text, logs in named for run in ALGORITHMS
    ]  # fmt: skip
    return markdown(head, rows)


def logs_paired() -> str:
    """What the advantage is made of: paired over the logs."""
    head = ("`moore_robust` less `moore`, paired over eight logs", "mean [95%]", "Wilcoxon's p")
    named = {"hand-over, score": "offline_score", "gain, score": "gain_score"}
    named |= {"mean of the last 5, score": "final_score", "evaluated dip share": "dip_share"}
    rows = []
    for title, metric in named.items():
        gaps = over_logs("moore_robust", metric) - over_logs("moore", metric)
        form = two if metric == "dip_share" else one
        p = stats.wilcoxon(gaps).pvalue
        rows.append([title, interval(estimate(mean, gaps), form), two(p)])
    return markdown(head, rows)


def log_title(log: str) -> str:
    return log.replace("hopper", "Hopper").replace("halfcheetah", "HalfCheetah")


def luck(run: str, log: str, seed: str) -> str:
    """In brackets, where the run has written it down."""
    found = rows_of("handover-luck.csv", run=run, log=log, seed=seed)
    return f" ({two(float(found[0]['behaviour_dip_share_by_luck']))})" if found else ""


def epochs_row(run: str, log: str, seed: str) -> list[str]:
    """Evaluated (acting) returns of nine epochs, empty where the run was stopped; the dips."""
    curves, metrics = curves_of(log, run, seed), metrics_of(log, run, seed)
    pairs = zip(curves["evaluated"], curves["acting"], strict=True)
    cells = [acted(*pair) for pair in pairs]
    cells += [""] * (EPOCHS + 1 - len(cells))
    dip = share(metrics["dip_share"])
    acting = share(metrics["behaviour_dip_share"]) + luck(run, log, seed)
    return [*cells, "**0**" if dip == "0" else dip, acting]


def offline_epochs(log: str, run: str, seed: str) -> str:
    """Fig. 2's runs have their limit; their offline stages are in no CSV."""
    return str(len(offline_returns(log, run, seed)) or 60)


EPOCHS_HEAD = ("offline epochs", "hand-over", *map(str, range(1, EPOCHS + 1)), "dip share")
EPOCHS_HEAD += ("acting (by luck)",)


def logs_epochs() -> str:
    rows = []
    for log in LOGGED:
        runs = {run: online_returns().get((log, run), {}) for run in TITLES}
        for seed in sorted({seed for seeds in runs.values() for seed in seeds}):
            for run in (run for run in TITLES if seed in runs[run]):
                title = f"{log_title(log)} {seed}, {TITLES[run]}"
                epochs = offline_epochs(log, run, seed)
                rows.append([title, epochs, *epochs_row(run, log, seed)])
    return markdown(("", *EPOCHS_HEAD), rows)


def _quick(task: str, algorithm: str, column: str) -> np.ndarray:
    rows = rows_of("handover-quick.csv", task=task, algorithm=algorithm)
    if algorithm == "moore":
        environment = "Pendulum-v1" if task == "pendulum" else "InvertedPendulum-v5"
        named = f"{environment} builtin:{task}-medium"
        rows = rows_of("fig2-quick.csv", task=named, variant="moore:1")
    return np.asarray([float(row[column]) for row in rows])


def _every_seed(task: str, algorithm: str, column: str, form: Callable) -> str:
    values = _quick(task, algorithm, column)
    texts = [form(value) for value in values]
    if len(set(texts)) == 1:
        return f"{texts[0]} (all eight)"
    middle = iqm([values]).value
    return f"{two(middle) if form is share else form(middle)} ({', '.join(texts)})"


QUICK_ROWS = {
    "hand-over": ("offline", fixed),
    "evaluated dip share": ("dip_share", share),
    "acting dip share": ("behaviour_dip_share", share),
    "of it by luck": ("behaviour_dip_share_by_luck", share),
    "final": ("final", fixed),
    "area under the curve": ("auc", fixed),
    "epochs to threshold": ("epochs_to_threshold", fixed),
}
# In the CSV of `moore_robust` and the guards alone, and not in that of Fig. 2.
OWN = ("behaviour_dip_share_by_luck",)


def _quick_table(task: str, title: str) -> str:
    algorithms = ("moore", "guards alone", "moore_robust")
    rows = [
        [
            name,
            *(
                "" if algorithm == "moore" and column in OWN
                else _every_seed(task, algorithm, column, form)
                for algorithm in algorithms
            ),
        ]
        for name, (column, form) in QUICK_ROWS.items()
    ]  # fmt: skip
    for name, column in {
        "offline epochs": "offline_epochs",
        "seconds, one core": "seconds",
    }.items():
        ours = [between(_quick(task, algorithm, column)) for algorithm in algorithms[1:]]
        rows.append([name, "15" if column == "offline_epochs" else "", *ours])
    return markdown((f"IQM over seeds (every seed): {title}", *map(TITLES.get, algorithms)), rows)


def quick_inverted_pendulum() -> str:
    return _quick_table("inverted-pendulum", "InvertedPendulum")


def quick_pendulum() -> str:
    return _quick_table("pendulum", "Pendulum")


def epochs_to_threshold() -> str:
    head = ("epochs until 95% of the run's own best of 8, IQM [95%]", *map(log_title, LOGGED))
    rows = [
        [
            f"`{run}`: {over(run, 'epochs_to_threshold')}",
            *map(fixed, over_logs(run, "epochs_to_threshold")),
        ]
        for run in ALGORITHMS
    ]
    return markdown(head, rows)


def time_quick() -> str:
    """Seconds of a run: what is known of the same task."""
    head = ("a run of both stages", "Pendulum", "InvertedPendulum")
    rows = []
    for variant in ("moore:1", "moore_robust"):
        minutes = [
            row["minutes"] for row in rows_of("fig1-minutes.csv", scale="quick", variant=variant)
        ]
        rows.append([f"`{variant.removesuffix(':1')}`, Fig. 1, minutes", *minutes])
    for algorithm in ("guards alone", "moore_robust"):
        seconds = [_quick(task, algorithm, "seconds") for task in ("pendulum", "inverted-pendulum")]
        spans = [between(values / 60, one) for values in seconds]
        rows.append([f"{TITLES[algorithm].strip('*')}, seeds 8 to 15, minutes", *spans])
    return markdown(head, rows)


def numbers() -> dict[str, str]:
    swings, dips = quick_stages().T
    return {
        "stages": str(len(dips)),
        "stages-r": two(np.corrcoef(swings, dips)[0, 1]),
        "stages-above": str((swings > 0.8).sum()),
        "stages-dip-above": two(dips[swings > 0.8].mean()),
        "stages-dip-below": two(dips[swings < 0.2].mean()),
    }


TABLES = {
    "readme": readme,
    "logs-iqm": logs_iqm,
    "logs-paired": logs_paired,
    "logs-epochs": logs_epochs,
    "logs-threshold": epochs_to_threshold,
    "quick-inverted-pendulum": quick_inverted_pendulum,
    "quick-pendulum": quick_pendulum,
    "time-quick": time_quick,
}
