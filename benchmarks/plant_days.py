"""Days of examples/plant: false alarms, how late a fault is found, and whether learning pays.

    (cd examples/plant && sh prepare.sh runs/plant)
    python benchmarks/plant_days.py --out docs/results/plant-days.csv

Days of that example, each from another seed, without HTTP and in one process: half of them without
a fault, and half in which the wire of the jacket's sensor comes loose at a random minute from 12:00
to 16:00, for 140 minutes. A day with a fault ends with its alarm, or when the wire is mended. A
line a day is written, with the mean deviation in kelvins from the end of the first shadow to the
fault or the end of the day: of the session, of the policy of the offline stage left as it was, and
of two PID controllers in its place, on the same day. A first line is for a year of the old
controller alone, from another seed than the year that the limits are from: in how many of its
batches they would have been broken.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rows_file import write_rows

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "plant"))

import historian
from limits import worst_of_batches
from operate import FIRST_BATCHES, Control
from pid import Pid
from plant import Fault, Plant
from tank import BATCH_MIN, Readings, Tank

import moore
from moore.guarding.guard import GuardAlarm
from moore.guarding.limits_file import read_limits
from moore.guarding.supervision import GuardSettings

EXAMPLE = Path(historian.__file__).parent
COLUMNS = ("kind", "seed", "batches", "policy_minutes", "fault_at", "alarms", "delay", "signal",
           "session_K", "unlearned_K", "old_K", "tuned_K")  # fmt: skip
TUNED = {"gain": 12.0, "reset_min": 8.0}
FIRST_MIN = FIRST_BATCHES * BATCH_MIN
DAY_MIN, LASTS_MIN = 1440, 140
EARLIEST, LATEST = 720, 960  # minutes in which a fault may begin
YEAR_SEED, SOUND_SEED, FAULT_SEED = 1, 300, 400


class Here:
    """The plant, in this process, as operate.PlantClient shows it."""

    def __init__(self, plant: Plant):
        self._plant = plant

    def read(self) -> tuple[int, Readings]:
        return self._of(self._plant.told())

    def send(self, valve_percent: float) -> tuple[int, Readings]:
        return self._of(self._plant.send(valve_percent))

    def _of(self, told: dict[str, Any]) -> tuple[int, Readings]:
        return told["minute"], Readings(*(told[name] for name in Readings._fields))


def deviation_K(seed: int, until: int, act: Callable[[np.ndarray], np.ndarray] | None) -> float:
    """The mean deviation of a controller that takes over when the session's canary begins.

    Args:
        seed: of the day.
        until: the minute in which it ends.
        act: gives the output (1,) for an observation (5,); None: the old controller goes on.
    """
    plant, old, total = Here(Plant(Tank(seed), 0.0, [])), Pid(), 0.0
    minute, seen = plant.read()
    while minute < until:
        acting = old.act if act is None or minute < FIRST_MIN else act
        total += off_K(seen) * (minute >= FIRST_MIN)
        minute, seen = plant.send(float(acting(np.array(seen, np.float32))[0]))
    return round(total / (until - FIRST_MIN), 3)


def off_K(seen: Readings) -> float:
    """How far the temperature is from its set point."""
    return abs(seen.temperature_C - seen.set_point_C)


def others(prepared: Path, seed: int, until: int) -> dict[str, float]:
    """What others in the place of the session would have had on this day."""
    acting = {"unlearned_K": moore.load_policy(prepared / "offline"), "tuned_K": Pid(**TUNED).act}
    return {name: deviation_K(seed, until, act) for name, act in (acting | {"old_K": None}).items()}


def played(prepared: Path, limits: GuardSettings, seed: int, fault_at: int | None) -> dict:
    """A day, whose fault begins in this minute; None: it has none."""
    faults = []
    if fault_at is not None:
        faults = [Fault("jacket_reads_C", 20.0, fault_at, fault_at + LASTS_MIN)]
    until = DAY_MIN if fault_at is None else fault_at + LASTS_MIN
    sound_until, total = fault_at or DAY_MIN, 0.0
    found = {"kind": "fault" if faults else "sound", "seed": seed, "fault_at": fault_at}
    found |= {"policy_minutes": 0, "alarms": 0, "delay": None, "signal": ""}
    with tempfile.TemporaryDirectory() as folder:
        control = Control(
            Here(Plant(Tank(seed), 0.0, faults)), prepared / "offline", Path(folder) / "session",
            dataset=str(prepared / "log.hdf5"), limits=limits, learner="episodes",
        )  # fmt: skip
        alarm = ""
        with control.session:
            while control.minute < until and found["delay"] is None:
                told = control.run_minute()
                in_fault = told["minute"] >= sound_until
                if told["minute"] >= FIRST_MIN and not in_fault:
                    total += abs(told["temperature_C"] - told["set_point_C"])
                found["policy_minutes"] += told["actor"] == "new" and not in_fault
                if told["alarm"] and told["alarm"] != alarm:
                    found["signal"] = told["alarm"].split()[0]
                    found["alarms"] += not in_fault
                    found["delay"] = told["minute"] - sound_until if in_fault else None
                alarm = told["alarm"]
    found |= {"session_K": round(total / (sound_until - FIRST_MIN), 3)}
    return found | others(prepared, seed, sound_until) | {"batches": control.minute // 60}


def year(limits: GuardSettings, seed: int) -> dict:
    """A year of the old controller alone."""
    high = {limit.name: limit.high for limit in limits.limits}
    with tempfile.TemporaryDirectory() as folder:
        historian.write(log := Path(folder) / "log.csv", 52, seed)
        worst = list(worst_of_batches(log))
    broken = sum(any(one[name] > high[name] for name in high) for one in worst)
    return {"kind": "old", "seed": seed, "batches": len(worst), "alarms": broken}


def rows(prepared: Path, days: int) -> Iterator[dict]:
    """All lines of the file."""
    limits = read_limits(prepared / "limits.toml").guard
    assert limits is not None
    yield year(limits, YEAR_SEED)
    for seed in range(SOUND_SEED, SOUND_SEED + days):
        yield played(prepared, limits, seed, None)
    for seed in range(FAULT_SEED, FAULT_SEED + days):
        begin = int(np.random.default_rng(seed).integers(EARLIEST, LATEST))
        yield played(prepared, limits, seed, begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepared", type=Path, default=EXAMPLE / "runs" / "plant")
    parser.add_argument("--out", type=Path, default=Path("plant-days.csv"))
    parser.add_argument("--days", type=int, default=20, help="of each kind")
    args = parser.parse_args()
    warnings.simplefilter("ignore", GuardAlarm)
    told = rows(args.prepared, args.days)
    write_rows(args.out, COLUMNS, (print(row, flush=True) or row for row in told))


if __name__ == "__main__":
    main()
