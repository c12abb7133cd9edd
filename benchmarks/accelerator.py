"""What an accelerator makes of the inner operations, of many cells at a time, and of whole runs.

    python benchmarks/accelerator.py                   # the inner operations: needs no environment
    python benchmarks/accelerator.py --runs --device-env   # whole runs too
    python benchmarks/accelerator.py --small           # checks every program, on a CPU in minutes
    python benchmarks/accelerator.py --json --cells 1 8 32

A cell is a learner; the cells of a program share its log. benchmarks/README.md says what is timed.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import jax
from cells import FORMATS, Cells, Sizes, Timed, product, program_bytes, seconds, small
from processor import processor_name

from moore.planning.work import offline_work, online_work
from moore.version import __version__

if TYPE_CHECKING:
    from device_world import World

# Operation -> the parts of `moore.planning.work` that it does.
PARTS = {"update": ("update",), "model step": ("fit", "refit"), "imagined step": ("imagine",)}
HEAD = ("operation", "cells", "format", "ms", "a second", "GFLOP/s", "share of a product", "MiB")


def inner_operations(sizes: Sizes, counts: list[int], repeats: int) -> list[dict[str, Any]]:
    """A row for each operation, number of cells and format; SAC computes in float32 alone."""
    peaks = {name: _rate(product(sizes.product, name), repeats) for name in FORMATS}
    rows = []
    for count in counts:
        for name in FORMATS:
            cells = Cells(sizes, count, name)
            made = [cells.fit, cells.imagine] + ([cells.update] if name == "float32" else [])
            for make in made:
                rows.append(_row(make(), count, name, peaks[name], repeats))
    return rows


def _rate(timed: Timed, repeats: int) -> float:
    return timed.gigaflop / statistics.median(seconds(timed, repeats))


def _row(timed: Timed, cells: int, name: str, peak: float, repeats: int) -> dict[str, Any]:
    taken = list(seconds(timed, repeats))
    median = statistics.median(taken)
    return {
        "operation": timed.unit,
        "cells": cells,
        "format": name,
        "milliseconds": 1e3 * median * cells / timed.units,
        "least": 1e3 * min(taken) * cells / timed.units,
        "most": 1e3 * max(taken) * cells / timed.units,
        "per_second": timed.units / median,
        "gigaflop_per_second": timed.gigaflop / median,
        "share": timed.gigaflop / median / peak,
        "bytes": timed.memory,
    }


def seeds_an_hour(rows: list[dict[str, Any]], sizes: Sizes) -> list[dict[str, Any]]:
    """Seeds of the configuration in an hour, by their learning alone, for each count and format.

    The fits are counted at the cap of their steps; the system's steps and the evaluations are not.
    """
    learner, epochs = Cells(sizes, 1, "float32").learner, sizes.config.online.epochs
    both = (offline_work(learner), online_work(learner, epochs))
    work = {
        unit: sum(stage.get(part, 0) for stage in both for part in parts)
        for unit, parts in PARTS.items()
    }
    times = {(row["operation"], row["cells"], row["format"]): row["milliseconds"] for row in rows}
    found = []
    for cells, name in dict.fromkeys((row["cells"], row["format"]) for row in rows):
        each = {unit: times[unit, cells, name] for unit in ("model step", "imagined step")}
        # An agent computes in float32 whatever the models do.
        each["update"] = times["update", cells, "float32"]
        hours = sum(work[unit] * each[unit] for unit in PARTS) / 3.6e6
        found.append({"cells": cells, "format": name, "hours": hours, "an_hour": cells / hours})
    return found


def device_epochs(sizes: Sizes, counts: list[int], repeats: int) -> list[dict[str, Any]]:
    """Whole online epochs with the environment on the device."""
    from device_world import world

    there, rows = world(), []
    sized = replace(sizes, obs=there.obs, action=there.action)
    for count in counts:
        timed = device_epoch(Cells(sized, count, "float32"), there)
        median = statistics.median(seconds(timed, repeats))
        row = {"environment": there.name, "cells": count, "seconds": median}
        rows.append(row | {"steps_per_second": count * sizes.updates / median})
    return rows


def device_epoch(cells: Cells, there: "World") -> Timed:
    """An epoch of all cells; any transfer between host and device within it is an error."""
    from device_world import epoch_program

    program, carry = epoch_program(cells, there)
    compiled = program.lower(carry).compile()

    def call() -> None:
        nonlocal carry
        with jax.transfer_guard("disallow"):
            carry, told = compiled(carry)
            jax.block_until_ready(told)

    return Timed("epoch", cells.count, 0.0, call, program_bytes(compiled))


def device() -> dict[str, Any]:
    """What the numbers depend on; the memory is the largest so far, where the device tells it."""
    one = jax.devices()[0]
    told = one.memory_stats() or {}
    return {
        "device": one.device_kind,
        "platform": one.platform,
        "processor": processor_name(),
        "moore": __version__,
        "jax": jax.__version__,
        "peak_bytes": told.get("peak_bytes_in_use"),
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report as Markdown."""
    if report["small"]:
        yield "Sizes that say nothing about speed (--small): the programs were checked, no more."
        yield ""
    yield from _table(HEAD, (_cells_of(row) for row in report["operations"]))
    yield ""
    seeds = (
        [str(row["cells"]), row["format"], f"{row['hours']:.3g}", f"{row['an_hour']:.3g}"]
        for row in report["seeds"]
    )
    yield from _table(("cells", "format", "hours of learning", "seeds an hour"), seeds)
    for row in report.get("device_epochs", []):
        yield ""
        yield (f"{row['environment']}, {row['cells']} cells: {row['seconds']:.3g} s an epoch, "
               f"{row['steps_per_second']:.4g} steps a second")  # fmt: skip
    if "runs" in report:
        from accelerator_runs import curve_lines

        yield ""
        yield from curve_lines(report["runs"])


def _table(head: tuple[str, ...], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _cells_of(row: dict[str, Any]) -> list[str]:
    size = "" if row["bytes"] is None else f"{row['bytes'] / 2**20:.0f}"
    return [
        row["operation"],
        str(row["cells"]),
        row["format"],
        f"{row['milliseconds']:.3g}",
        f"{row['per_second']:.4g}",
        f"{row['gigaflop_per_second']:.4g}",
        f"{row['share']:.0%}",
        size,
    ]


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--cells", type=int, nargs="+", default=[1, 8, 32], help="learners in one program")
    add("--repeats", type=int, default=5, help="calls that count (5)")
    add("--small", action="store_true", help="tiny sizes: checks the programs, times nothing")
    add("--runs", action="store_true", help="also whole runs with Gymnasium, in both formats")
    add("--device-env", action="store_true", help="also epochs with the environment on the device")
    add("--json", action="store_true", help="print JSON, not tables")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    sizes = small() if chosen.small else Sizes()
    if jax.devices()[0].platform == "cpu" and not chosen.small:
        print("warning: there is no accelerator here; this takes long on a CPU.", file=sys.stderr)
    rows = inner_operations(sizes, chosen.cells, chosen.repeats)
    report = {"small": chosen.small, "operations": rows, "seeds": seeds_an_hour(rows, sizes)}
    if chosen.device_env:
        report["device_epochs"] = device_epochs(sizes, chosen.cells, chosen.repeats)
    if chosen.runs:
        from accelerator_runs import runs

        report["runs"] = runs(FORMATS, small=chosen.small)
    about = {key: value for key, value in asdict(sizes).items() if key != "config"}
    report |= {"machine": device(), "sizes": about, "repeats": chosen.repeats}
    print(json.dumps(report, indent=1) if chosen.json else "\n".join(lines(report)))


if __name__ == "__main__":
    main()
