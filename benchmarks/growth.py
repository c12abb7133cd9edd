"""How the cost of the inner operations grows with each size, and what each preset takes here.

    python benchmarks/growth.py --out docs/results/growth.csv --plot docs/images/growth.png
    python benchmarks/growth.py --factors members width --clock processor
    python benchmarks/growth.py --presets quickstart laptop/hopper-medium-replay

One size is changed at a time, from the paper's for Hopper. `--presets` asks `moore run --estimate`
of a made log, and writes a line a part. benchmarks/README.md says what is timed.
"""

import argparse
import csv
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processor import load, processor_name, usable_cores, use_clock
from rows_file import write_rows

# What is changed -> its values. Rows end where the memory does: see `--rows`.
FACTORS: dict[str, tuple[int, ...]] = {
    "rows": (10_000, 100_000, 1_000_000, 10_000_000),
    "members": (1, 7, 14),
    "width": (100, 200, 400),
    "batch": (64, 128, 256, 512),
    "H": (1, 5, 20),
    "R": (1_000, 10_000),
    "N": (1, 10, 100),
    "seeds": (1, 2, 4, 8),
}
# What is timed of each.
OPERATIONS = {
    "rows": ("prepare", "fit"),
    "members": ("fit", "imagine"),
    "width": ("fit", "imagine"),
    "batch": ("fit", "update"),
    "H": ("imagine",),
    "R": ("imagine",),
    "N": ("update",),
    "seeds": ("update", "fit"),
}
# What each is called in the picture.
WORDS = {
    "prepare": "preparing the log",
    "fit": "a step of the models",
    "imagine": "imagined rollouts",
    "update": "updates of the agent",
}
NAMES = {
    "rows": "rows of the log", "members": "models of the ensemble",
    "width": "width of their layers", "batch": "rows of a batch", "H": "steps of a rollout (H)",
    "R": "rollouts (R)", "N": "updates (N)", "seeds": "seeds in one program",
}  # fmt: skip
COLUMNS = ("factor", "value", "operation", "unit", "milliseconds", "least", "most", "bytes")
ABOUT = ("processor", "threads", "clock")


def base() -> Any:
    """Hopper's dimensions, the paper's networks, and few rows: each size grows from here."""
    from cells import Sizes

    from moore.presets import preset

    config = preset("paper/hopper-medium-replay")
    return Sizes(
        obs=11, action=3, log_rows=50_000, online_rows=10_000, imagined_rows=50_000,
        updates=20, steps=10, rollouts=1_000, config=config,
    )  # fmt: skip


def changed(sizes: Any, factor: str, value: int) -> tuple[Any, int]:
    """The sizes with one of them changed, and the number of cells."""
    config = sizes.config
    if factor == "rows":
        return dataclasses.replace(sizes, log_rows=value), 1
    if factor in ("R", "N"):
        name = "rollouts" if factor == "R" else "updates"
        return dataclasses.replace(sizes, **{name: value}), 1
    if factor == "seeds":
        return sizes, value
    if factor == "batch":
        sac = dataclasses.replace(config.sac, batch_size=value)
        model = dataclasses.replace(config.model, batch_size=value)
        return dataclasses.replace(
            sizes, config=dataclasses.replace(config, sac=sac, model=model)
        ), 1
    if factor == "H":
        config = dataclasses.replace(config, rollout_length=value)
    else:
        part = {"members": value} if factor == "members" else {"hidden": (value,) * 4}
        if factor == "members":
            part["elites"] = min(value, config.model.elites)
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, **part))
    return dataclasses.replace(sizes, config=config), 1


def measured(factor: str, value: int, repeats: int) -> Iterator[dict[str, Any]]:
    """A row for each operation that is timed of this factor."""
    from cells import Cells, seconds

    sizes, count = changed(base(), factor, value)
    cells = Cells(sizes, count, "float32")
    for operation in OPERATIONS[factor]:
        if operation == "prepare":
            held = sum(leaf.nbytes for leaf in _leaves(cells.log))
            taken = [1e3 * second for second in _prepared(cells, repeats)]
            yield _row(factor, value, operation, "log", taken, held)
            continue
        timed = getattr(cells, operation)()
        # A call of all its units: the more updates in a call, the less a call costs each.
        units = 1 if factor in ("H", "R", "N") else timed.units / count
        unit = "call" if factor in ("H", "R", "N") else f"{timed.unit} of all"
        taken = [1e3 * second / units for second in seconds(timed, repeats)]
        yield _row(factor, value, operation, unit, taken, timed.memory)


def _prepared(cells: Any, repeats: int) -> Iterator[float]:
    """Seconds in which the made log is brought to the device and its holdout is drawn."""
    import jax

    for number in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(cells.log_of(cells.sizes.log_rows, number))
        yield time.perf_counter() - begin


def _leaves(tree: Any) -> list[Any]:
    import jax

    return jax.tree.leaves(tree)


def _row(
    factor: str, value: int, operation: str, unit: str, taken: list[float], held: int | None
) -> dict[str, Any]:
    return {
        "factor": factor,
        "value": value,
        "operation": operation,
        "unit": unit,
        "milliseconds": round(statistics.median(taken), 4),
        "least": round(min(taken), 4),
        "most": round(max(taken), 4),
        "bytes": held,
    }


def presets(names: list[str], rows: int, log_file: Path | None = None) -> Iterator[dict[str, Any]]:
    """What each preset takes here at most, part by part, on this log or a made one of so many rows.

    A preset whose log ships with the package is estimated on that one.
    """
    import jax
    from made_log import made_log

    from moore.planning.estimate import estimate_run
    from moore.presets import preset

    for name in names:
        # Otherwise a preset of the shapes of an earlier one would compile nothing.
        jax.clear_caches()
        config = preset(name)
        log, told = None, "its own log"
        if not (config.dataset or "").startswith("builtin:"):
            # A plant is of any shape; here it has Hopper's.
            config = dataclasses.replace(config, env_id=config.env_id or "Hopper-v5")
            if log_file is not None:
                log, told = log_file, f"`{log_file.stem}`"
            else:
                log, told = made_log(config.env_id, rows), f"{rows:,} made rows"
        found = estimate_run(config, dataset=log)
        for stage in ("once", "offline", "online"):
            yield {
                "factor": "preset", "value": name, "operation": stage,
                "unit": f"run on {told}",
                "milliseconds": round(1e3 * found.seconds(stage)), "bytes": found.memory,
            }  # fmt: skip


def plot(rows: list[dict[str, str]], path: Path) -> None:
    """Time against each size, on logarithmic axes, one panel a factor."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    lines: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        if row["factor"] in FACTORS:
            point = int(row["value"]), float(row["milliseconds"])
            lines.setdefault(row["factor"], {}).setdefault(row["operation"], []).append(point)
    figure, panels = plt.subplots(
        2, (len(lines) + 1) // 2, figsize=(10, 5), layout="constrained", squeeze=False
    )
    figure.suptitle(
        "Time grows in proportion to a size, and faster with the width of the layers;\n"
        "with more rows of the log its preparation alone takes longer"
    )
    for panel in panels.flat[len(lines) :]:
        panel.set_visible(False)
    for panel, (factor, operations) in zip(panels.flat, lines.items(), strict=False):
        for operation, points in operations.items():
            panel.plot(*zip(*points, strict=True), "o-", label=WORDS[operation])
        places = sorted({place for points in operations.values() for place, _ in points})
        panel.set(xscale="log", yscale="log", xlabel=NAMES[factor], ylabel="milliseconds")
        panel.set_xticks(places, [_told(place) for place in places])
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(ScalarFormatter())
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _told(size: int) -> str:
    """A size as the axes have room for it: 10,000, 10 million."""
    return f"{size // 10**6} million" if size % 10**6 == 0 else f"{size:,}"


def write(path: Path, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """The rows into a CSV; those of factors and presets that are measured anew replace the old."""
    kept = []
    if path.exists():
        anew = {(row["factor"], str(row["value"])) for row in rows}
        kept = [row for row in read(path) if (row["factor"], row["value"]) not in anew]
    all_rows = sorted([*kept, *(row | about for row in rows)], key=_place)
    write_rows(path, [*COLUMNS, *ABOUT], all_rows)


def _place(row: dict[str, Any]) -> tuple[int, int]:
    """Where a row stands: by factor, then by size. The presets come last, as they were given."""
    if row["factor"] not in FACTORS:
        return len(FACTORS), 0
    return list(FACTORS).index(row["factor"]), int(row["value"])


def read(path: Path) -> list[dict[str, str]]:
    """The rows of such a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--factors", nargs="*", choices=list(FACTORS), default=None, help="sizes to change (all)")
    add("--rows", type=int, default=10_000_000, help="largest log; 100,000,000 rows are 11 GB")
    add("--presets", nargs="+", default=[], help="presets to estimate, without any factor")
    add("--preset-log", type=Path, help="log for presets without one of the package")
    add("--preset-rows", type=int, default=100_000, help="rows of the made log of a preset")
    add("--repeats", type=int, default=3, help="calls that count (3)")
    add("--clock", choices=("wall", "processor"), default="wall", help="seconds of what (wall)")
    add("--out", type=Path, help="CSV that the rows are written into")
    add("--plot", type=Path, help="picture of the CSV's rows")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    use_clock(chosen.clock)
    about = {
        "processor": processor_name(),
        "threads": os.environ.get("NPROC") or len(usable_cores()),
        "clock": chosen.clock,
    }
    print(f"{about}, load {load()}", file=sys.stderr)
    factors = chosen.factors
    if factors is None:
        factors = [] if chosen.presets else list(FACTORS)
    rows: list[dict[str, Any]] = []

    def note(found: Iterator[dict[str, Any]]) -> None:
        for row in found:
            rows.append(row)
            print(row, flush=True)
            if chosen.out:
                write(chosen.out, rows, about)

    for factor in factors:
        for value in FACTORS[factor]:
            if factor != "rows" or value <= chosen.rows:
                note(measured(factor, value, chosen.repeats))
    note(presets(chosen.presets, chosen.preset_rows, chosen.preset_log))
    if chosen.plot:
        plot(read(chosen.out) if chosen.out else [_as_text(row) for row in rows], chosen.plot)


def _as_text(row: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in row.items()}


if __name__ == "__main__":
    main()
