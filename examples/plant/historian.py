"""A year of the tank in the historian: its PID controller, its operators, its gaps, as one CSV.

    python historian.py --out runs/plant/log.csv

The plant runs from Monday to Friday, a batch an hour. In one batch of four an operator takes the
valves by hand for some minutes. This is what makes the log informative: a controller that always
does the same teaches nothing about what else could be done. --weeks 13 is the first quarter of that
year.
"""

import argparse
import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from pid import Pid
from tank import BATCH_MIN, HIGH_PERCENT, LOW_PERCENT, Tank

HEADER = ("time", "TI101.PV", "TI102.PV", "FI103.PV", "ZI101.PV", "TIC101.SP", "TIC101.OP",
          "TIC101.MODE", "BATCH")  # fmt: skip
UNITS = ("", "degC", "degC", "L/min", "%", "degC", "%", "", "")
START = datetime(2026, 3, 2)  # a Monday
DAY_MIN = 1440
BY_HAND = 0.25  # share of the batches


class Operator:
    """Leaves most batches alone."""

    def __init__(self, rng: np.random.Generator):
        self._rng, self._pid = rng, Pid()

    def begin_batch(self) -> None:
        """Decides what is done in this batch."""
        rng, self._by_hand, self._output = self._rng, range(0), 0.0
        if rng.random() < BY_HAND:
            begin = int(rng.integers(0, BATCH_MIN - 15))
            self._by_hand = range(begin, begin + int(rng.integers(4, 15)))
            self._output = float(round(rng.uniform(LOW_PERCENT, HIGH_PERCENT)))

    def act(self, obs: np.ndarray, minute: int) -> tuple[float, str]:
        """The output in percent in this minute of the batch, and the mode of the controller."""
        automatic = self._pid.act(obs)
        if minute not in self._by_hand:
            return float(automatic[0]), "AUTO"
        self._pid.track(obs, np.array([self._output]))
        return self._output, "MAN"


def rows_of(weeks: int, seed: int) -> Iterator[tuple]:
    """The rows of so many weeks. Some are missing, and some have no value of a sensor."""
    rng = np.random.default_rng(seed)
    tank, operator, batch = Tank(seed), Operator(rng), 0
    for day in (day for day in range(7 * weeks) if day % 7 < 5):
        outage = range(0)
        if rng.random() < 0.1:  # the historian was down for a while
            outage = range(begin := int(rng.integers(0, DAY_MIN)), begin + int(rng.integers(5, 90)))
        for minute in range(DAY_MIN):
            if minute % BATCH_MIN == 0:
                operator.begin_batch()
                batch += 1
            seen = tank.read()
            output, mode = operator.act(np.array(seen), minute % BATCH_MIN)
            tank.run(output)
            if minute not in outage:
                told = ["" if rng.random() < 2e-5 else value for value in seen]
                time = START + timedelta(days=day, minutes=minute)
                yield time.isoformat(), *told, round(output, 2), mode, batch


def write(path: Path, weeks: int, seed: int) -> None:
    """The CSV of so many weeks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, UNITS, *rows_of(weeks, seed)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/plant/log.csv"))
    parser.add_argument("--weeks", type=int, default=52)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write(args.out, args.weeks, args.seed)


if __name__ == "__main__":
    main()
