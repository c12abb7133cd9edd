"""The limits of the guard's signals, by one rule from the log of the old controller.

    python limits.py --log runs/plant/log.csv --out runs/plant/limits.toml

Of every batch it takes the largest value of each signal. The limit is what 999 of 1000 batches have
kept, plus 1 K. Batches count in which the PID controller was left alone, and in the one before them
too: what a hand has done is no measure of what a policy may do.
"""

import argparse
import csv
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from historian import HEADER
from signals import Watch
from tank import BATCH_MIN, Readings

KEPT = 0.999  # share of the batches that have kept a limit
MARGIN_K = 1.0
MODE, BATCH = HEADER.index("TIC101.MODE"), HEADER.index("BATCH")
READ = slice(1, 1 + len(Readings._fields))


def worst_of_batches(path: Path) -> Iterator[dict[str, float]]:
    """The largest value of each signal in each batch that counts, {signal: kelvins}."""
    alone_before = False
    with path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows), next(rows)  # names and units
        for _, group in groupby(rows, key=lambda row: row[BATCH]):
            batch = list(group)
            alone = all(row[MODE] == "AUTO" for row in batch)
            whole = len(batch) == BATCH_MIN and all(all(row[READ]) for row in batch)
            if alone and alone_before and whole:
                yield _worst([Readings(*map(float, row[READ])) for row in batch])
            alone_before = alone


def _worst(batch: list[Readings]) -> dict[str, float]:
    watch = Watch()
    told = [watch.after(before, after) for before, after in pairwise(batch)]
    return {name: max(one[name] for one in told) for name in told[0]}


def limits(worst: list[dict[str, float]]) -> dict[str, float]:
    """The limit of each signal in kelvins."""
    return {
        name: round(float(np.quantile([one[name] for one in worst], KEPT)) + MARGIN_K, 1)
        for name in worst[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", type=Path, default=Path("runs/plant/log.csv"))
    parser.add_argument("--out", type=Path, default=Path("runs/plant/limits.toml"))
    args = parser.parse_args()
    worst = list(worst_of_batches(args.log))
    tables = [f"[signals.{name}]\nhigh = {high}\n" for name, high in limits(worst).items()]
    args.out.write_text(f"# By limits.py, from {len(worst)} batches.\n" + "".join(tables))
    print(args.out.read_text(), end="")


if __name__ == "__main__":
    main()
