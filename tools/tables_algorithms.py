"""Fig. 1 and what stands beside it: algorithms, what holds them back, another implementation."""

from collections import defaultdict

import numpy as np

from handover_runs import estimate, rows_of
from moore.evaluation.scores import reference_scores
from moore.evaluation.stats import iqm, probability_of_improvement
from moore.evaluation.transfer import DIP_EPOCHS, FINAL_EVALUATIONS
from tables_schemes import (
    CLONE,
    HALFCHEETAH,
    HOPPER,
    INVERTED,
    PENDULUM,
    clones,
    column,
    logged_clone,
    two,
)
from text import fixed, interval, listed, markdown, share, significant

QUICK_TASKS = (PENDULUM, INVERTED)


def _lowest(name: str, task: str, variant: str) -> np.ndarray:
    """Of the hand-over and the first ten epochs, a number a seed."""
    found = defaultdict(list)
    for row in rows_of(name, task=task, variant=variant):
        if int(row["epoch"]) <= DIP_EPOCHS:
            found[row["seed"]].append(float(row["eval_return"]))
    return np.asarray([min(returns) for returns in found.values()])


def _minutes(scale: str, task: str, variant: str) -> float:
    (row,) = rows_of("fig1-minutes.csv", scale=scale, task=task, variant=variant)
    return float(row["minutes"])


def variants(task: str) -> list[str]:
    """Those of Fig. 1 that were run on a small task, in its order."""
    return list(dict.fromkeys(row["variant"] for row in rows_of("fig1-quick.csv", task=task)))


def _fig1(task: str) -> str:
    rows = []
    for variant in variants(task):
        offline, final, dips = (
            column("fig1-quick.csv", task, variant, metric)
            for metric in ("offline", "final", "dip_share")
        )
        lowest = _lowest("fig1-quick-curves.csv", task, variant)
        cells = [interval(estimate(iqm, v), significant) for v in (offline, lowest, final)]
        cells.append(interval(estimate(iqm, dips), two))
        rows.append([f"`{variant}`", *cells, fixed(_minutes("quick", task, variant), 1)])
    for variant in ("moore:1", "moore_robust"):
        start = column("fig1-quick.csv", task, variant, "offline")
        rows.append(_unchanging(f"the hand-over of `{variant}`, frozen", start))
    rows.append(_unchanging(CLONE, clones(task, 5)))
    head = ("IQM [95% interval] of 5 seeds", "offline", "lowest", "final", "dip share")
    return markdown((*head, "minutes a run"), rows)


def _unchanging(title: str, earned: np.ndarray) -> list[str]:
    """A row of policies that never change, which earn so much, a number a seed."""
    return [title, *[interval(estimate(iqm, earned), significant)] * 3, "0", ""]


def fig1_pendulum() -> str:
    return _fig1(PENDULUM)


def fig1_inverted() -> str:
    return _fig1(INVERTED)


# Log, variant and title of the cells of Fig. 1 that were run at laptop scale.
LAPTOP = (
    (HOPPER, "moore:1", "Hopper, `moore` (Fig. 2)"),
    (HOPPER, "awac", "Hopper, `awac`"),
    (HOPPER, "iql", "Hopper, `iql`"),
    (HOPPER, "rlpd", "Hopper, `rlpd` (5,000 random steps first)"),
    (HOPPER, "sac", "Hopper, `sac` (the same)"),
    (HALFCHEETAH, "moore:1", "HalfCheetah, `moore` (Fig. 2)"),
    (HALFCHEETAH, "moore_robust", "HalfCheetah, `moore_robust`"),
    (HALFCHEETAH, "awac", "HalfCheetah, `awac`"),
    (HALFCHEETAH, "iql", "HalfCheetah, `iql`"),
    ("HalfCheetah-v5 halfcheetah-random", "moore:1", "HalfCheetah-random, `moore`"),
    ("Hopper-v5 hopper-medium+hopper-expert", "moore:1", "Hopper-medium-expert, `moore`"),
    (
        "HalfCheetah-v5 halfcheetah-medium+halfcheetah-expert",
        "moore:1",
        "HalfCheetah-medium-expert, `moore`",
    ),
)
FROM_SCRATCH = ("rlpd", "sac")


def fig1_laptop() -> str:
    head = ("medium-replay logs where no other is named, seed 0, 10 online epochs of 1000 steps",)
    head += ("hand-over", "lowest", "final", "dip share", "acting dip share", "minutes, one core")
    rows = []
    for task, variant, title in LAPTOP:
        (row,) = rows_of("fig1-laptop.csv", task=task, variant=variant, seed="0")
        (lowest,) = _lowest("fig1-laptop-curves.csv", task, variant)
        dips = [share(float(row[name])) for name in ("dip_share", "behaviour_dip_share")]
        rows.append([
            title, fixed(float(row["offline"])), fixed(lowest), fixed(float(row["final"])),
            *(("", "") if variant in FROM_SCRATCH else dips),
            fixed(_minutes("laptop", task, variant)),
        ])  # fmt: skip
    for task, title in ((HOPPER, "Hopper"), (HALFCHEETAH, "HalfCheetah")):
        start = column("fig1-laptop.csv", task, "moore:1", "offline")[0]
        for name, earned in (
            ("the hand-over of `moore`, frozen", fixed(start)),
            (CLONE, logged_clone(task)),
        ):
            rows.append([f"{title}, {name}", *[earned] * 3, "0", "0, and luck", ""])
    return markdown(head, rows)


def controls() -> str:
    """Finals of seeds 0, 1, 2 on InvertedPendulum; as they are: from Fig. 1."""

    def as_it_is(variant: str) -> str:
        return listed(column("fig1-quick.csv", INVERTED, variant, "final")[:3])

    def changed(control: str) -> str:
        seeds = defaultdict(list)
        for row in rows_of("fig1-quick-controls.csv", control=control):
            seeds[row["seed"]].append(float(row["eval_return"]))
        return listed(_finals(seeds))

    rows = [
        ["CQL as it is (w = 5)", as_it_is("cql")],
        ["four updates a step", changed("cql, 4 updates a step")],
        [
            "`--cql.conservative-weight 0` from the hand-over on",
            changed("cql, conservative weight 0"),
        ],
        ["both", changed("cql, both")],
        ["Adaptive BC as it is (2 updates a step)", as_it_is("adaptive_bc")],
        [
            "`--online.updates-per-step 10`, as its authors",
            changed("adaptive_bc, 10 updates a step"),
        ],
    ]
    return markdown(("", "final (mean of the last 5 evaluations)"), rows)


def budgets() -> str:
    """The offline stages of two algorithms, each with both numbers of updates."""
    rows = []
    for task in QUICK_TASKS:
        for variant, usual, other in (("moore:1", 7500, 30000), ("moore_robust", 30000, 7500)):
            runs = defaultdict(list)
            for row in rows_of("fig1-quick-budgets.csv", task=task, variant=variant):
                runs[row["seed"]].append(float(row["eval_return"]))
            begun, ended = (
                column("fig1-quick.csv", task, variant, m) for m in ("offline", "final")
            )
            as_it_is = [begun, _lowest("fig1-quick-curves.csv", task, variant), ended]
            changed = [[r[0] for r in runs.values()], [min(r) for r in runs.values()]]
            for updates, found in sorted(((usual, as_it_is), (other, [*changed, _finals(runs)]))):
                cells = [interval(estimate(iqm, np.asarray(v)), significant) for v in found]
                rows.append([task.split("-")[0], f"`{variant}`", f"{updates:,}", *cells])
    head = ("IQM [95% interval] of 5 seeds", "", "offline updates, at most")
    return markdown((*head, "offline", "lowest", "final"), rows)


def _finals(runs: dict[str, list[float]]) -> list[float]:
    return [float(np.mean(returns[-FINAL_EVALUATIONS:])) for returns in runs.values()]


def _offline(implementation: str, log: str, agent: str, updates: int, count: int) -> list[float]:
    """Means of the last so many evaluations up to these updates, a number a seed."""
    seeds = defaultdict(list)
    for row in rows_of("offline-d3rlpy.csv", implementation=implementation, log=log, agent=agent):
        if int(row["updates"]) <= updates:
            seeds[row["seed"]].append((int(row["updates"]), float(row["return"])))
    return [
        float(np.mean([value for _, value in sorted(found)[-count:]]))
        for found in seeds.values()
        if max(found)[0] == updates
    ]


def d3rlpy_inverted_pendulum() -> str:
    head = ("InvertedPendulum, 7,500 updates: mean of the last five evaluations",)
    head += ("here, seeds 0 to 4", "d3rlpy, seeds 0 to 2")
    named = {"CQL": ("cql", "cql"), "IQL": ("iql", "iql"), "AWAC": ("awac", "awac")}
    bc = "TD3+BC (Adaptive BC's offline stage has ten critics instead of two)"
    named[bc] = ("adaptive_bc", "td3bc")
    log = "inverted-pendulum-medium"
    rows = [
        [
            title,
            listed(_offline("moore", log, ours, 7500, 5)),
            listed(_offline("d3rlpy", log, theirs, 7500, 5)),
        ]
        for title, (ours, theirs) in named.items()
    ]
    return markdown(head, rows)


# Log, title, agent here, agent of d3rlpy, what CORL and Lee et al. publish.
PUBLISHED = (
    ("hopper", "IQL", "iql", "iql", "97.4 ± 6.4", ""),
    ("hopper", "AWAC", "awac", "", "96.4 ± 5.3", "32"),
    ("hopper", "CQL", "cql", "", "95.1 ± 5.3", "38"),
    ("hopper", "Cal-QL", "cal_ql", "", "", ""),
    ("hopper", "TD3+BC (Adaptive BC was not run again)", "", "td3bc", "64.4 ± 21.5", ""),
    ("halfcheetah", "IQL", "iql", "", "44.5 ± 0.2", ""),
    ("halfcheetah", "AWAC", "awac", "", "44.7 ± 0.7", "39"),
    ("halfcheetah", "CQL", "cql", "", "45.0 ± 0.3", "43"),
    ("halfcheetah", "Adaptive BC; there TD3+BC, seeds 0, 1", "adaptive_bc", "td3bc",
     "44.8 ± 0.6", ""),
)  # fmt: skip
UPDATES = (20_000, 40_000, 60_000)
LAST = 10_000  # updates whose evaluations are averaged


def d3rlpy_scores() -> str:
    head = ("log", "", "here: 20,000 updates", "40,000", "60,000")
    head += ("d3rlpy, same log: 20,000", "40,000", "60,000", "CORL, D4RL v2", "Lee et al., D4RL v0")

    def scores(implementation: str, environment: str, agent: str) -> list[str]:
        names = {"hopper": "Hopper-v5", "halfcheetah": "HalfCheetah-v5"}
        reference, log = reference_scores(names[environment]), f"{environment}-medium-replay"
        every = LAST // (1000 if implementation == "moore" else 2000)
        found = [_offline(implementation, log, agent, updates, every) for updates in UPDATES]
        return [listed(map(reference.score, seeds), lambda v: fixed(v, 1)) for seeds in found]

    rows = [
        [
            {"hopper": "Hopper", "halfcheetah": "HalfCheetah"}[environment],
            title,
            *scores("moore", environment, ours),
            *scores("d3rlpy", environment, theirs),
            corl,
            lee,
        ]
        for environment, title, ours, theirs, corl, lee in PUBLISHED
    ]
    return markdown(head, rows)


def numbers() -> dict[str, str]:
    def beats(other: str) -> str:
        finals = [
            [column("fig1-quick.csv", task, variant, "final") for task in QUICK_TASKS]
            for variant in ("moore:1", other)
        ]
        return interval(probability_of_improvement(*finals), two)

    slower = [
        _minutes("quick", task, "moore_robust") / _minutes("quick", task, "moore:1")
        for task in QUICK_TASKS
    ]
    return {
        "moore-beats-naive": beats("naive"),
        "moore-beats-no-penalty": beats("no_penalty"),
        "slower-pendulum": fixed(slower[0], 1),
        "slower-inverted-pendulum": fixed(slower[1], 1),
    }


TABLES = {
    "fig1-pendulum": fig1_pendulum,
    "fig1-inverted": fig1_inverted,
    "fig1-laptop": fig1_laptop,
    "fig1-controls": controls,
    "fig1-budgets": budgets,
    "d3rlpy-inverted-pendulum": d3rlpy_inverted_pendulum,
    "d3rlpy-scores": d3rlpy_scores,
}
