"""How often sensors a row late, missing rows and reversed episodes are found, and told wrongly.

    python benchmarks/rows_out_of_place.py --out docs/results/rows-out-of-place.csv
    python benchmarks/rows_out_of_place.py --first 0 --seeds 4  # those to tune the checks with

Each line of the CSV is a kind of system at one length: `logs` of that many systems, each from a
seed of its own; `two` of them have two sensors or more, and `four` have four. All other columns are
numbers of logs. Something is told of the log as it is: `false_sensors`, `false_missing` and
`false_reversed` (of which any other change of some episodes is one). Or a fault is found with the
right columns and numbers, once one sensor of two or more was moved by a row (`sensor_late`,
`sensor_early`; `late_or`, where the note names it beside another possibility, and `early_or`), two
sensors of four or more (`two_late`), every third, fifth or tenth row was left out (`third`,
`fifth`, `tenth`), or a third of the episodes was put in the other order of time (`reversed`). Seeds
below 1000 were looked at while the checks were made.
"""

import argparse
import csv
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import more_systems as more
import numpy as np
import slipped_rows
import slipped_systems as systems
from slipped_rows import Make
from slipped_systems import Rng

from moore.data.log import Log
from moore.findings.late_columns import late_columns
from moore.findings.left_out import left_out
from moore.findings.mixed_laws import mixed_laws

LENGTHS = {2000: 100, 6000: 150}  # rows: steps of an episode
REPORTED = 10_000  # the first seed
_REWARDS = ("random rewards", "sparse rewards")


def _log(rng: Rng, rows: int, length: int, *, system, how: dict) -> Log:
    return systems.logged(system(rng, **how), rng, rows, length)


def _of(system, **how: object) -> Make:
    return partial(_log, system=system, how=how)


_MOTIONS = {
    f"motion, {controller}, {'new' if new else 'old'} speed": _of(
        more.motion, controller=controller, new_speed=new
    )
    for controller in ("feedback", "white", "held", "sine", "filtered", "bang")
    for new in (False, True)
}
KINDS: dict[str, Make] = {
    **{kind: make for kind, make in slipped_rows.KINDS.items() if kind not in _REWARDS},
    **_MOTIONS,
    "motion, noisy sensors": _of(more.motion, sensor=0.05),
    "motion, new speed, noisy sensors": _of(more.motion, sensor=0.02, new_speed=True),
    "lagging sensors": _of(more.lagging),
    "lagging sensors, white actions": _of(more.lagging, controller="white"),
    "tanks in a row, some not seen": _of(more.chain),
    "places of a rod": _of(more.rod),
    "a position measured twice": _of(more.two_sensors),
    "a motor that is not seen": _of(more.unseen_motor),
    "a measured disturbance": _of(more.disturbed),
    "a set-point": _of(more.follower),
    "friction that sticks": _of(more.sticking),
    "a pendulum that turns": _of(more.turning),
    "a controller that holds": _of(more.now_and_then),
    "a controller that holds, linear": _of(more.now_and_then, make=systems.linear),
    "a controller that lets go": _of(more.now_and_then, lets_go=True),
    "actions in turns": _of(more.in_turns),
    "a sensor read every few rows": _of(more.slow_sensor),
    "rounded readings": _of(more.rounded),
    "the action before observed": _of(more.with_last_action),
    "a load that is not seen": _of(more.loaded),
}
FALSE = ("false_sensors", "false_missing", "false_reversed")
FOUND = ("sensor_late", "late_or", "sensor_early", "early_or", "two_late", "third", "fifth",
         "tenth", "reversed")  # fmt: skip
COLUMNS = ("system", "rows", "logs", "two", "four", *FALSE, *FOUND)


def told_of(log: Log, length: int, rng: Rng) -> dict[str, bool]:
    """What is said of a log, and of it with a fault put in; keys as in `COLUMNS`."""
    log = replace(log, next_obs=None)
    dims = log.obs.shape[1]
    chosen = rng.permutation(dims)
    told = {
        "two": dims > 1,
        "four": dims > 3,
        "false_sensors": bool(late_columns(log, log.truncated)),
        "false_missing": bool(left_out(log, log.truncated)),
        "false_reversed": bool(mixed_laws(log, log.truncated)),
    }
    for way, rows in (("late", 1), ("early", -1)):
        found = _sensors(log, chosen[:1], rows)
        right = (frozenset(chosen[:1].tolist()), way)
        told[f"sensor_{way}"] = dims > 1 and found == [right]
        told[f"{way}_or"] = len(found) == 2 and right in found
    right = (frozenset(chosen[:2].tolist()), "late")
    told["two_late"] = dims > 3 and right in _sensors(log, chosen[:2], 1)
    for name, every in (("third", 3), ("fifth", 5), ("tenth", 10)):
        rows = np.arange(log.size)
        count = rows if rng.integers(2) else rows % length
        text = f"after every {every - 1} rows one seems"
        thin = _kept(log, rows[count % every != every - 1], length)
        told[name] = left_out(thin, thin.truncated).startswith(text)
    back = np.arange(log.size).reshape(-1, length)
    some = rng.permutation(len(back))[: len(back) // 3]
    back[some] = back[some, ::-1]
    turned = _kept(log, back.reshape(-1), length)
    told["reversed"] = "backwards" in mixed_laws(turned, turned.truncated)
    return told


def _sensors(log: Log, entries: np.ndarray, rows: int) -> list[tuple[frozenset[int], str]]:
    """The sets of entries that are named once some were moved, and "late" or "early"."""
    obs = log.obs.copy()
    obs[:, entries] = np.roll(obs[:, entries], rows, axis=0)
    text = late_columns(replace(log, obs=obs), log.truncated)
    sets = re.findall(r"observations? ([\d, ]+) a row (late|early)", text)
    return [(frozenset(map(int, which.split(", "))), way) for which, way in sets]


def _kept(log: Log, rows: np.ndarray, length: int) -> Log:
    """The log's rows in another order, or some of them; episodes end where the next one begins."""
    episode = rows // length
    ends = np.append(episode[1:] != episode[:-1], True)
    obs, action, reward = (column[rows] for column in (log.obs, log.action, log.reward))
    return Log(obs, action, reward, ends & False, ends, None, name="made")


def measure(kind: str, rows: int, seeds: range) -> dict[str, object]:
    """A line of the CSV."""
    results = []
    for seed in seeds:
        rng = np.random.default_rng([seed, rows])
        results.append(told_of(KINDS[kind](rng, rows, LENGTHS[rows]), LENGTHS[rows], rng))
    counts = {key: sum(result[key] for result in results) for key in results[0]}
    return {"system": kind, "rows": rows, "logs": len(results), **counts}


def main() -> None:
    """Writes the table, a line at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="CSV; default: standard output")
    parser.add_argument("--seeds", type=int, default=10, help="systems of each kind and length")
    parser.add_argument("--first", type=int, default=REPORTED, help="the first seed")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    asked = parser.parse_args()
    with open(asked.out, "w", newline="") if asked.out else sys.stdout as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for kind in asked.kinds:
            for rows in LENGTHS:
                seeds = range(asked.first, asked.first + asked.seeds)
                table.writerow(measure(kind, rows, seeds))
                file.flush()


if __name__ == "__main__":
    main()
