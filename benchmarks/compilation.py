"""What a run compiles, and how long that takes: with an empty cache of programs, and a full one.

    python benchmarks/compilation.py --out docs/results/compilation.csv    # the quickstart, twice
    python benchmarks/compilation.py quick/pendulum --run --online.epochs 1 --offline.epochs 1

Each run is a process of its own, and all times are of its processor: with one thread what an idle
core would take. benchmarks/README.md says what is counted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from processor import processor_name
from rows_file import write_rows

# What JAX calls the parts. Where the cache has a program, the last of them reads it.
_COMPILE = "/jax/core/compile/backend_compile_duration"
_PARTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    _COMPILE,
)
# JAX keeps only programs that took a second to compile, unless it is told to keep all.
KEEP_ALL = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
LISTED = 25  # programs that are printed, those that take longest
COLUMNS = (
    "preset", "cache", "programs", "compile", "trace_and_lower", "run", "setup", "processor",
)  # fmt: skip


class Counted(threading.local):
    """Seconds of the processor in a thread's programs: parts within parts count once.

    Attributes:
        programs: how many were compiled, or read from the cache.
        compile: seconds of compiling and reading.
        whole: seconds of tracing, lowering and compiling together.
        each: name of a program -> seconds of compiling or reading it, each time that it was.
    """

    def __init__(self) -> None:
        self.programs, self.compile, self.whole = 0, 0.0, 0.0
        self.each: dict[str, list[float]] = defaultdict(list)
        self._begun: list[float] = []

    def begin(self, event: str, _: float, **__: Any) -> None:
        """JAX begins a part."""
        if event in _PARTS:
            self._begun.append(time.process_time())

    def end(self, event: str, _: float, *, fun_name: str = "", **__: Any) -> None:
        """JAX has done the part that it began last."""
        if event not in _PARTS:
            return
        passed = time.process_time() - self._begun.pop()
        if event == _COMPILE:
            self.programs += 1
            self.compile += passed
            self.each[fun_name].append(passed)
        if not self._begun:
            self.whole += passed


def one(arguments: list[str]) -> dict[str, Any]:
    """What `moore run` with these arguments took, in this process."""
    import jax

    counted = Counted()
    jax.monitoring.register_scalar_listener(counted.begin)
    jax.monitoring.register_event_duration_secs_listener(counted.end)
    from moore.cli import main

    setup = time.process_time()
    main(["run", *arguments])
    for name, times in sorted(counted.each.items(), key=lambda item: -sum(item[1]))[:LISTED]:
        print(f"{name:<40} {[round(seconds, 2) for seconds in times]}", file=sys.stderr)
    return {
        "programs": counted.programs,
        "compile": round(counted.compile, 2),
        "trace_and_lower": round(counted.whole - counted.compile, 2),
        "run": round(time.process_time() - setup, 1),
        "setup": round(setup, 1),
    }


def both(preset: str, settings: list[str]) -> list[dict[str, Any]]:
    """A row for the run that begins with an empty cache, and one for its repetition."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cache = {"JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "cache")}
        for name in ("empty", "full"):
            told = Path(folder) / f"{name}.json"
            given = [preset, "--out", str(Path(folder) / name), *settings]
            command = [sys.executable, __file__, "--told", str(told), "--run", *given]
            subprocess.run(command, check=True, env=os.environ | KEEP_ALL | cache)
            found = json.loads(told.read_text())
            rows.append({"preset": preset, "cache": name} | found | {"processor": processor_name()})
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("preset", nargs="?", default="quickstart", help="preset that is run (quickstart)")
    add("--out", type=Path, help="CSV to write")
    add("--told", type=Path, help=argparse.SUPPRESS)
    add("--run", nargs=argparse.REMAINDER, help="flags of `moore run`; the last of the arguments")
    chosen = parser.parse_args(argv)
    if chosen.told:
        chosen.told.write_text(json.dumps(one(chosen.run)))
        return
    rows = both(chosen.preset, chosen.run or [])
    for row in rows:
        print(row)
    if chosen.out:
        write_rows(chosen.out, COLUMNS, rows)


if __name__ == "__main__":
    main()
