"""`moore_robust` and the paper's algorithm over the hand-over, on eight MuJoCo logs."""

from collections.abc import Callable

import numpy as np

from handover_runs import (
    ALGORITHMS,
    DEVELOPMENT,
    EPOCHS,
    LOGGED,
    WORTHLESS,
    by_swing,
    curves_of,
    estimate,
    metrics_of,
    newest_clones,
    offline_returns,
    online_returns,
    over_logs,
    quick_stages,
    reference_for,
    rows_of,
)
from moore.evaluation.stats import Estimate, holm, iqm, mean, sign_flip
from text import acted, between, fixed, interval, markdown, share

CLONE = "a clone of the log's better part"
# A policy that never changes: its dip, acting dip and gain.
STILL = ("0", "0, and luck", "0")
BOLD = "**`moore_robust`**"
TITLES = {"moore_robust": BOLD, "guards alone": "guards alone", "moore": "`moore`"}
ALL = tuple(LOGGED)
SOMETHING = tuple(log for log in LOGGED if log not in WORTHLESS)
OTHERS = tuple(log for log in LOGGED if log not in DEVELOPMENT)
# How a row over these logs is named, after the algorithm.
SOMETHING_LOGS = {", the six logs where `moore` hands over something": SOMETHING}
OTHER_LOGS = {", the five logs that are not development logs": OTHERS}


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
        level = interval(hand_over, one)
        rows.append([f"the hand-over of `{run}`, frozen", level, *STILL, level])
    level = interval(_clones(), one)
    rows.append([f"{CLONE}, on {len(_clone_scores())} of the logs", level, *STILL, level])
    return markdown(head, rows)


def _clone_scores() -> list[float]:
    """D4RL's score of a clone, a log: of the newest run of `moore_safe` that evaluated one."""
    earned = newest_clones()
    return [reference_for(log).score(earned[log]) for log in LOGGED if log in earned]


def _clones() -> Estimate:
    return estimate(iqm, np.asarray(_clone_scores()))


def logs_iqm() -> str:
    head = ("", "runs", "hand-over, score", "evaluated dip share", "acting dip share")
    head += ("gain, score", "mean of the last 5, score")
    named = {"": ALL, **SOMETHING_LOGS, **OTHER_LOGS}
    rows = [
        [
            TITLES[run] + text, str(len(logs)), over(run, "offline_score", logs, one),
            over(run, "dip_share", logs), over(run, "behaviour_dip_share", logs),
            over(run, "gain_score", logs, one), over(run, "final_score", logs, one),
        ]
        for text, logs in named.items() for run in ALGORITHMS
    ]  # fmt: skip
    for run in ALGORITHMS:
        level = over(run, "offline_score", form=one)
        frozen = [f"the hand-over of {TITLES[run]}, frozen", str(len(ALL)), level]
        rows.append([*frozen, *STILL, level])
    level, count = interval(_clones(), one), len(_clone_scores())
    rows.append([CLONE, str(count), level, *STILL, level])
    return markdown(head, rows)


# What is compared over the logs, and its metric.
PAIRED = {
    "hand-over, score": "offline_score",
    "gain, score": "gain_score",
    "mean of the last 5, score": "final_score",
    "evaluated dip share": "dip_share",
    "evaluated dip, points": "dip_score",
}


def _paired(metric: str) -> np.ndarray:
    return over_logs("moore_robust", metric) - over_logs("moore", metric)


def logs_paired() -> str:
    """What the advantage is made of: paired over the logs, with exact tests."""
    head = ("`moore_robust` less `moore`, paired over eight logs", "mean [95%]")
    head += ("exact sign-flip p", "p after Holm, five tests")
    gaps = {title: _paired(metric) for title, metric in PAIRED.items()}
    chances = np.asarray([sign_flip(values) for values in gaps.values()])
    rows = []
    for (title, values), *p in zip(gaps.items(), chances, holm(chances), strict=True):
        form = two if PAIRED[title] == "dip_share" else one
        rows.append([title, interval(estimate(mean, values), form), *(fixed(v, 3) for v in p)])
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


def titled_runs(log: str) -> list[tuple[str, str, str]]:
    """(run, seed, title) of every run on a log, seed after seed."""
    runs = {run: online_returns().get((log, run), {}) for run in TITLES}
    return [
        (run, seed, f"{log_title(log)} {seed}, {TITLES[run]}")
        for seed in sorted({seed for seeds in runs.values() for seed in seeds})
        for run in TITLES
        if seed in runs[run]
    ]


EPOCHS_HEAD = ("offline epochs", "hand-over", *map(str, range(1, EPOCHS + 1)), "dip share")
EPOCHS_HEAD += ("acting (by luck)",)


def logs_epochs() -> str:
    rows = []
    for log in LOGGED:
        for run, seed, title in titled_runs(log):
            epochs = offline_epochs(log, run, seed)
            rows.append([title, epochs, *epochs_row(run, log, seed)])
        earned = fixed(newest_clones()[log]) if log in newest_clones() else "none made"
        still = ["0", "0, and luck"] if log in newest_clones() else ["", ""]
        rows.append([f"{log_title(log)}, a clone", "", earned, *[""] * EPOCHS, *still])
    return markdown(("", *EPOCHS_HEAD), rows)


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


def _values() -> dict[str, str]:
    """Interquartile means of the logs that are not development logs."""
    return {
        f"{run}-{name}-others": form(estimate(iqm, over_logs(run, metric, OTHERS)).value)
        for run in ALGORITHMS
        for name, metric, form in (("dip", "dip_share", two), ("gain", "gain_score", one))
    }


def _swings() -> dict[str, str]:
    """How far the last offline epochs say what comes: runs, and the stages that they share."""
    quick = "quick/inverted-pendulum"
    kinds, (swings, dips) = by_swing(), quick_stages().T
    runs = kinds[f"{quick}, no gate"]
    gated, gated_stages = kinds[f"{quick}, a gate"], quick_stages(gate=True)
    hopper = kinds["laptop/hopper-medium-expert, no gate"]
    cheetah = kinds["laptop/halfcheetah-medium-replay, no gate"]
    fell = cheetah[cheetah[:, 1] > 0.02, 1]

    def beyond(pairs: np.ndarray) -> str:
        return f"{(pairs[:, 1] > pairs[:, 0] + 0.02).sum()} of {len(pairs)}"

    return {
        "swing-runs": str(len(runs)),
        "swing-stages": str(len(dips)),
        "swing-beyond": str((runs[:, 1] > runs[:, 0] + 0.02).sum()),
        "swing-r": two(np.corrcoef(swings, dips)[0, 1]),
        "swing-above": str((swings > 0.8).sum()),
        "swing-dip-above": two(dips[swings > 0.8].mean()),
        "swing-dip-below": two(dips[swings < 0.2].mean()),
        "swing-gated": str((gated[:, 0] > 0.5).sum()),
        "swing-gated-stages": str((gated_stages[:, 0] > 0.5).sum()),
        "swing-gated-dip": share(gated[gated[:, 0] > 0.5, 1].max()),
        "swing-hopper": beyond(hopper),
        "swing-moore": beyond(kinds["MuJoCo, moore"]),
        "swing-robust": beyond(kinds["MuJoCo, moore_robust"]),
        "swing-cheetah": f"{len(fell)} of {len(cheetah)}",
        "swing-cheetah-dips": between(fell, two),
        "swing-cheetah-most": two(cheetah[:, 0].max()),
    }


def _deep(logs: tuple[str, ...]) -> str:
    """On how many of these logs the paper's algorithm dips by more than 0.2."""
    return f"{(over_logs('moore', 'dip_share', logs) > 0.2).sum()} of {len(logs)}"


def _failures() -> dict[str, str]:
    """Where `moore_robust` falls or stands still, and where a share of `moore` says little."""
    hopper = curves_of("hopper-medium", "moore_robust")["evaluated"]
    rows = rows_of(
        "handover-mujoco.csv", log="halfcheetah-medium-expert", run="moore_robust", stage="offline"
    )
    first, *targets, last = (float(row["q_target"]) for row in rows[-10:])
    dips = dict(zip(LOGGED, over_logs("moore_robust", "dip_share"), strict=True))
    paper = over_logs("moore", "dip_share", WORTHLESS)
    return {
        "expert-dip": f"{fixed(100 * dips['halfcheetah-medium-expert'])}%",
        "expert-dip-share": two(dips["halfcheetah-medium-expert"]),
        "expert-targets": f"{fixed(first)} to {fixed(max(targets))} and back to {fixed(last)}",
        "held-on-hopper": f"{(hopper[1:] == hopper[0]).sum()} of {EPOCHS}",
        "acting-largest": two(over_logs("moore_robust", "behaviour_dip_share").max()),
        "hopper-expert-dip": two(dips["hopper-medium-expert"]),
        "worthless-dips": " and ".join(map(two, paper)),
        "moore-deep-dips": _deep(ALL),
        "moore-deep-dips-six": _deep(SOMETHING),
    }


def numbers() -> dict[str, str]:
    final = _paired("final_score")
    return {
        "moore-dip-six": over("moore", "dip_share", SOMETHING),
        "moore_robust-dip-six": over("moore_robust", "dip_share", SOMETHING),
        **_values(),
        **_swings(),
        **_failures(),
        "paired-hand-over": interval(estimate(mean, _paired("offline_score")), one),
        "paired-final": interval(estimate(mean, final), one),
        "paired-final-p": fixed(sign_flip(final), 3),
    }


TABLES = {
    "readme": readme,
    "logs-iqm": logs_iqm,
    "logs-paired": logs_paired,
    "logs-epochs": logs_epochs,
    "logs-threshold": epochs_to_threshold,
}
