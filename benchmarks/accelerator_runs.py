"""Whole runs in each number format, and the change of the curve that a format causes.

    python benchmarks/accelerator_runs.py --epochs 4 --seeds 0 1 2 --out docs/results/bf16.csv
    python benchmarks/accelerator_runs.py --presets quick/pendulum --epochs 2

This command makes short runs of a preset with the paper's algorithm, a row an evaluation.
`accelerator.py --runs` makes whole ones of the quickstart.
"""

import argparse
import dataclasses
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cells import FORMATS
from processor import processor_name
from rows_file import write_rows

import moore
from moore.config import Config

COLUMNS = ("preset", "format", "seed", "evaluation", "return", "seconds", "processor")


def configuration(compute: str, seed: int, *, small: bool) -> Config:
    """The quickstart with the paper's algorithm, whose models compute in this format."""
    config = dataclasses.replace(moore.preset("quickstart", algorithm="moore"), seed=seed)
    model = dataclasses.replace(config.model, compute=compute)
    if not small:
        return dataclasses.replace(config, model=model)
    model = dataclasses.replace(model, max_fit_steps=40, max_refit_steps=5)
    return dataclasses.replace(
        config,
        model=model,
        offline=dataclasses.replace(config.offline, epochs=1, updates_per_epoch=5),
        online=dataclasses.replace(
            config.online, epochs=1, steps_per_epoch=50, refit_every=50, updates_per_step=1
        ),
        evaluation=dataclasses.replace(config.evaluation, episodes=1),
    )


def runs(formats: tuple[str, ...], *, small: bool, seeds: int = 2) -> list[dict[str, Any]]:
    """A row for each format and seed: seconds, and the evaluated return of every epoch."""
    rows = []
    for compute in formats:
        for seed in range(1 if small else seeds):
            config = configuration(compute, seed, small=small)
            with tempfile.TemporaryDirectory() as folder:
                out, begin = Path(folder) / "run", time.perf_counter()
                moore.run(config, out=out, quiet=True)
                row = {"format": compute, "seed": seed, "seconds": time.perf_counter() - begin}
                rows.append(row | {"returns": returns(out / "metrics.jsonl")})
    return rows


def returns(metrics: Path) -> list[float]:
    """The evaluated returns of a run, epoch by epoch, of both stages."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [row["eval/return"] for row in rows if "eval/return" in row]


def distance(one: list[float], other: list[float]) -> float:
    """Mean difference of two curves over the epochs that both have."""
    pairs = list(zip(one, other, strict=False))
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def curve_lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """How far the curves of two formats lie apart, beside those of two seeds of one format."""
    curves = {(row["format"], row["seed"]): row["returns"] for row in rows}
    first, *others = dict.fromkeys(row["format"] for row in rows)
    seeds = sorted({row["seed"] for row in rows})
    for row in rows:
        yield (f"{row['format']}, seed {row['seed']}: {row['seconds']:.0f} s, "
               f"{3600.0 / row['seconds']:.3g} seeds an hour, last return "
               f"{row['returns'][-1]:.4g}")  # fmt: skip
    for other in others:
        for seed in seeds:
            apart = distance(curves[first, seed], curves[other, seed])
            yield f"{first} and {other}, seed {seed}: {apart:.4g} apart in the mean of the epochs"
    if len(seeds) > 1:
        apart = distance(curves[first, seeds[0]], curves[first, seeds[1]])
        yield f"{first}, seeds {seeds[0]} and {seeds[1]}: {apart:.4g} apart"


def short(name: str, compute: str, seed: int, epochs: int) -> Config:
    """The preset with the paper's algorithm, so many epochs of each stage and short fits."""
    config = dataclasses.replace(moore.preset(name, algorithm="moore"), seed=seed)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, compute=compute, max_fit_steps=1000),
        offline=dataclasses.replace(config.offline, epochs=epochs),
        online=dataclasses.replace(config.online, epochs=epochs),
        diagnostics=False,
    )


def evaluations(config: Config) -> list[dict[str, Any]]:
    """A row for each evaluation of a run; its seconds are the processor's, of the whole run."""
    with tempfile.TemporaryDirectory() as folder:
        out, begin = Path(folder) / "run", time.process_time()
        moore.run(config, out=out, quiet=True)
        passed = time.process_time() - begin
        found = returns(out / "metrics.jsonl")
    return [
        {"evaluation": number, "return": round(value, 3), "seconds": round(passed, 1)}
        for number, value in enumerate(found)
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    quick = ["quick/pendulum", "quick/inverted-pendulum"]
    add("--presets", nargs="+", default=quick, help=f"presets ({' '.join(quick)})")
    add("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of each format (0 1)")
    add("--epochs", type=int, default=3, help="epochs of each stage (3)")
    add("--out", type=Path, help="CSV that is written after every run")
    chosen = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    for name, seed, compute in itertools.product(chosen.presets, chosen.seeds, FORMATS):
        about = {"preset": name, "format": compute, "seed": seed, "processor": processor_name()}
        found = evaluations(short(name, compute, seed, chosen.epochs))
        rows += [about | row for row in found]
        print(about, [row["return"] for row in found], f"{found[0]['seconds']} s", flush=True)
        if chosen.out:
            write_rows(chosen.out, COLUMNS, rows)


if __name__ == "__main__":
    main()
