"""What settings were looked for on: single runs on MuJoCo logs, epoch by epoch."""

from scipy import stats

from handover_runs import EPOCHS, curves_of, number, offline_returns, rows_of
from tables_handover import EPOCHS_HEAD, epochs_row, offline_epochs
from text import acted, fixed, markdown

# Printed by these runs, whose metrics files are not kept: no CSV has them.
IN_THE_MODELS = {
    "in the models": (2192, 1745, 1674, 2443, 846, 1847, 2645, 2627, 2802),
    "steps there": (659, 541, 550, 783, 288, 596, 974, 989, 903),
}
NEWEST = {
    "hopper-medium": (3016, 2962, 2944, 2838, 584, 712, 2291, 1455, 3111),
    "hopper-medium-replay": (2498, 763, 534, 2332, 2780, 2625, 2648, 2591, 2674),
    "halfcheetah-medium": (4766, 4783, 4863, 5079, 5288, 5384, 5577, 5646, 4205),
}
TENS = ((11, 20), (21, 30), (31, 40), (41, 50), (51, 60))


def _evaluated(log: str, run: str, seed: str) -> list[str]:
    """Evaluated (acting) returns from the hand-over on."""
    curves = curves_of(log, run, seed)
    pairs = zip(curves["evaluated"], curves["acting"], strict=True)
    return [acted(*pair) for pair in pairs]


EPOCH_HEAD = ("hand-over", *map(str, range(1, EPOCHS + 1)))


def discounts() -> str:
    runs = {"discount 0.99": "discount 0.99, averages over 10,000 updates"}
    runs["discount 0.997"] = "discount 0.997"
    rows = [[name, *_evaluated("hopper-medium-replay", run, "1")] for name, run in runs.items()]
    return markdown(("Hopper, seed 1: evaluated (acting)", *EPOCH_HEAD), rows)


def target_rate() -> str:
    run = "guards alone, target_rate 0.005, 80 offline epochs"
    cells = _evaluated("hopper-medium-replay", run, "0")
    row = ["`target_rate` 0.005, 80 offline epochs", *cells]
    return markdown(("Hopper 0", *EPOCH_HEAD[: len(cells)]), [row])


def _tens(log: str, run: str, spans, *, seed: str = "1") -> list[str]:
    """Mean evaluations of ten epochs each; of fewer, their number in brackets."""
    returns, cells = offline_returns(log, run, seed), []
    for first, last in spans:
        found = returns[first - 1 : last]
        short = f" ({found.size})" if 0 < found.size <= last - first else ""
        cells.append(fixed(found.mean()) + short if found.size else "")
    return cells


def _offline_table(title: str, log: str, runs: dict[str, str], spans) -> str:
    rows = [[name, *_tens(log, run, spans)] for name, run in runs.items()]
    return markdown((title, *(f"{first} to {last}" for first, last in spans)), rows)


def offline_hopper() -> str:
    runs = {
        "H 5, u of values, lambda 1": "H 5, u of values, lambda 1",
        "H 20, MOPO's u, lambda 5 (MOPO's for this log)": "H 20, lambda 5",
        "H 100, MOPO's u, lambda 5": "H 100, lambda 5",
        "H 100, MOPO's u, lambda 1": "H 100, lambda 1",
        "H 100, MOPO's u, lambda to cover 90% of the error (`--penalty-coverage 0.9`: 3 to 39)": (
            "H 100, lambda covers 90%"
        ),
        "H 100, **u of values**, lambda 1": "H 100, u of values, lambda 1",
        "H 100, **u of values**, lambda 3": "H 100, u of values, lambda 3",
    }
    title = "Hopper-medium (the log: 1374), epochs"
    return _offline_table(title, "hopper-medium", runs, TENS)


def offline_halfcheetah() -> str:
    runs = {
        "H 100, MOPO's u, lambda 1 (MOPO's for this log, with H 1)": "H 100, lambda 1",
        "H 100, MOPO's u, lambda to cover 90% of the error (about 4)": "H 100, lambda covers 90%",
        "H 100, **u of values**, lambda 1": "H 100, u of values, lambda 1",
        "H 100, **u of values**, lambda 3": "H 100, u of values, lambda 3",
    }
    title = "HalfCheetah-medium (the log: 5088), epochs"
    return _offline_table(title, "halfcheetah-medium", runs, TENS[:4])


def offline_floor() -> str:
    """Ten epochs each from the first on."""
    runs = {
        "lambda 2, without a floor": "H 100, u of values, lambda 2",
        "lambda 2, with it": "H 100, u of values, lambda 2, floored targets",
        "lambda 1, with it": "H 100, u of values, lambda 1, floored targets",
        "lambda 5, with it": "H 100, u of values, lambda 5, floored targets",
    }
    spans = ((1, 10), *TENS)
    title = "Hopper-medium, seed 1, H 100, u of values; epochs"
    return _offline_table(title, "hopper-medium", runs, spans)


# Title, log, lambda and seed of the runs of both stages with long rollouts.
LONG = (
    ("Hopper-medium, H 100, u of values, lambda 2", "hopper-medium", "2", "1"),
    ("Hopper-medium, the same (stopped)", "hopper-medium", "2", "2"),
    ("Hopper-medium, the same, lambda 1.5 (stopped)", "hopper-medium", "1.5", "1"),
    ("HalfCheetah-medium, the same, lambda 1.5", "halfcheetah-medium", "1.5", "1"),
)


def long_run(coefficient: str) -> str:
    """How handover-mujoco.csv names the runs with a lambda."""
    return f"H 100, u of values, lambda {coefficient}"


def online_long() -> str:
    rows = []
    for title, log, coefficient, seed in LONG:
        run = long_run(coefficient)
        epochs = offline_epochs(log, run, seed)
        rows.append([title, seed, epochs, *epochs_row(run, log, seed)])
    return markdown(("", "seed", *EPOCHS_HEAD), rows)


def gate_before() -> str:
    """Hopper-medium, seed 3, without a gate."""
    curves = curves_of("hopper-medium", "H 100, u of values, lambda 2", "3")
    rows = [["really", *map(fixed, curves["evaluated"])]]
    rows += [[name, *map(str, values)] for name, values in IN_THE_MODELS.items()]
    return markdown(("online epoch", *map(str, range(EPOCHS + 1))), rows)


def gate_newest() -> str:
    titles = ("Hopper-medium", "Hopper-medium-replay", "HalfCheetah-medium")
    rows = []
    for title, (log, newest) in zip(titles, NEWEST.items(), strict=True):
        acts = curves_of(log, "moore_robust")["evaluated"]
        rows.append([title, "acts", *map(fixed, acts)])
        rows.append(["", "newest", *map(str, newest)])
    return markdown(("online epoch", "", *map(str, range(EPOCHS + 1))), rows)


def hopper_options() -> str:
    """Hopper-medium-replay, seed 1: handover-hopper-1.csv."""
    runs = {
        "`moore:1` as it is": "moore:1 as it is",
        "targets clipped from the hand-over on": "clip_targets at the hand-over",
        "all of it, offline stage included": "all of it from the start",
    }
    rows = []
    for name, run in runs.items():
        found = rows_of("handover-hopper-1.csv", run=run, stage="online")[: EPOCHS + 1]
        cells = [acted(number(row["eval_return"]), number(row["acting_return"])) for row in found]
        rows.append([name, *cells, *[""] * (EPOCHS + 1 - len(cells))])
    return markdown(("evaluated (acting)", *EPOCH_HEAD), rows)


def numbers() -> dict[str, str]:
    """How well the mean target tells good offline epochs: Hopper-medium, lambda 2, seed 2."""
    run = {"log": "hopper-medium", "run": "H 100, u of values, lambda 2", "seed": "2"}
    rows = rows_of("handover-mujoco.csv", **run, stage="offline")
    targets, returns = ([float(row[key]) for row in rows] for key in ("q_target", "eval_return"))
    ranks = [stats.spearmanr(targets[-n:], returns[-n:]).statistic for n in (len(rows), 30)]
    return {"target-rank": fixed(ranks[0], 2), "target-rank-late": fixed(ranks[1], 2)}


TABLES = {
    "discounts": discounts,
    "target-rate": target_rate,
    "offline-hopper": offline_hopper,
    "offline-halfcheetah": offline_halfcheetah,
    "offline-floor": offline_floor,
    "online-long": online_long,
    "gate-before": gate_before,
    "gate-newest": gate_newest,
    "hopper-options": hopper_options,
}
