"""`moore_robust`, its guards alone and the paper's algorithm on the two quick tasks."""

from collections.abc import Callable, Sequence

import numpy as np

import beside
from handover_runs import rows_of
from moore.evaluation.stats import iqm
from tables_handover import TITLES, one, two
from tables_schemes import CLONE, INVERTED, PENDULUM, clones
from text import between, fixed, markdown, share


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
    "by chance alone": ("behaviour_dip_share_by_luck", share),
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
            *_still(task, column, form),
        ]
        for name, (column, form) in QUICK_ROWS.items()
    ]  # fmt: skip
    rows += _beside(task, algorithms)
    for name, column in {
        "offline epochs": "offline_epochs",
        "seconds, one core": "seconds",
    }.items():
        ours = [between(_quick(task, algorithm, column)) for algorithm in algorithms[1:]]
        rows.append([name, "15" if column == "offline_epochs" else "", *ours, "", ""])
    head = (f"IQM over seeds (every seed): {title}", *map(TITLES.get, algorithms))
    return markdown((*head, f"the hand-over of {TITLES['moore_robust']}, frozen", CLONE), rows)


def _beside(task: str, algorithms: Sequence[str]) -> list[list[str]]:
    """Gain and dip by the score; the CSV has no curves of `moore_robust` and the guards alone."""
    named, pairs = {"pendulum": PENDULUM, "inverted-pendulum": INVERTED}[task], []
    for algorithm in algorithms:
        names = ("offline", "final", "dip_share")
        runs = {name: _quick(task, algorithm, name) for name in names}
        pairs.append(beside.gain_and_dip(runs, named))
    middles = [[beside.form(1)(iqm([values]).value) for values in pair] for pair in pairs]
    rows = zip(("gain, points", "evaluated dip, points"), *middles, strict=True)
    return [[*row, "0", "0"] for row in rows]


def _still(task: str, column: str, form: Callable) -> list[str]:
    """What the hand-over would have if it never changed, and a clone, in a row."""
    if form is share:
        return ["0, and luck"] * 2 if column.startswith("behaviour") else ["0", "0"]
    if column == "epochs_to_threshold":
        return ["", ""]
    named = {"pendulum": PENDULUM, "inverted-pendulum": INVERTED}[task]
    every = (_quick(task, "moore_robust", "offline"), clones(named, 8))
    return [form(iqm([earned]).value) for earned in every]


def quick_inverted_pendulum() -> str:
    return _quick_table("inverted-pendulum", "InvertedPendulum")


def quick_pendulum() -> str:
    return _quick_table("pendulum", "Pendulum")


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
    dips = [_quick(task, "moore_robust", "dip_share") for task in ("pendulum", "inverted-pendulum")]
    every = np.concatenate(dips)
    return {"quick-runs": str(every.size), "quick-most-dip": f"{fixed(100 * every.max(), 1)}%"}


TABLES = {
    "quick-inverted-pendulum": quick_inverted_pendulum,
    "quick-pendulum": quick_pendulum,
    "time-quick": time_quick,
}
