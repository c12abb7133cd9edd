"""Times moore beside other libraries, each in a process of its own, in turn.

    python benchmarks/peers/run.py                    # makes .venv-peers, installs, prints a table
    python benchmarks/peers/run.py --json             # the same with every single time
    python benchmarks/peers/run.py --threads 1 --clock processor   # beside other work
    python benchmarks/peers/run.py --repeats 9 --only sbx d3rlpy
    python benchmarks/peers/run.py --torch "torch==2.13.0+cpu"   # another build of PyTorch

benchmarks/README.md says what is compared with what. moore itself is that of this Python.
"""

import argparse
import json
import os
import platform
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from environment import prepare, python_of
from processor import load, processor_name, usable_cores
from report import OURS, markdown
from work import UNITS, Sizes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Seconds before each call: the threads of a library go on spinning for a while after a product.
PAUSE = 0.05
# Seconds after which a library is given up: the first call compiles.
PATIENCE = 600.0
# Above this load something else is running.
MAX_LOAD = 0.5
# XLA sizes its pool by NPROC; the others are those of PyTorch and of the libraries behind NumPy.
THREADS = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Library:
    """Where a library is: its module beside this file, and what pip installs for it."""

    module: str
    requirements: tuple[str, ...] = ()


def libraries(torch: str) -> dict[str, Library]:
    """All of them; d3rlpy first, for it pins other packages."""
    # rltools multiplies matrices by loops of its own where it finds no BLAS.
    mkl = ("mkl", "mkl-include") if platform.machine() in ("x86_64", "AMD64") else ()
    return {
        OURS: Library("ours"),
        "d3rlpy": Library("d3", (torch, "d3rlpy")),
        "stable-baselines3": Library("stable", (torch, "stable-baselines3")),
        "sbx": Library("sbx_sac", (torch, "sbx-rl")),
        "kit": Library("kit", (torch, "numpy")),
        "rltools": Library("rl_tools", ("rltools", *mkl)),
    }


class Worker:
    """A library in a process of its own, which waits until it is asked."""

    def __init__(self, python: Path, module: str, threads: int, clock: str, sizes: Sizes):
        command = [str(python), str(HERE / "worker.py"), module, str(threads), clock]
        self._process = subprocess.Popen(
            [*command, json.dumps(asdict(sizes))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_surroundings(module, threads),
            preexec_fn=lambda: _stay_on(threads),
        )
        self.about = self._answer()

    def milliseconds(self, operation: int) -> dict[str, Any]:
        """Asks for an operation; the time of a unit, or why there is none."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"operation": operation}).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # a pipe that is broken, or closed by `end`
            return {"failed": "it has ended"}
        return self._answer()

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        if not select.select([out], [], [], PATIENCE)[0]:
            self._process.kill()
            return {"failed": f"no answer within {PATIENCE:.0f} s"}
        line = out.readline()
        if not line:
            return {"failed": f"it ended with exit status {self._process.wait()}"}
        return json.loads(line)


def _surroundings(module: str, threads: int) -> dict[str, str]:
    """Everything runs on the CPU with so many threads; only ours sees the sources of ours."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    kept |= dict.fromkeys(THREADS, str(threads))
    kept |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return kept | ({"PYTHONPATH": str(ROOT / "src")} if module == "ours" else {})


def _stay_on(threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, usable_cores()[:threads])


def measure(workers: dict[str, Any], repeats: int) -> list[dict[str, Any]]:
    """Rows of the report: in every round each operation of each library once, in turn.

    The first round compiles and is left out. Where a call fails, the library is not asked for it
    again, and the reason stands in its row.
    """
    rows, asked = [], []
    for library, worker in workers.items():
        if "failed" in worker.about:
            rows.append({"who": library, "reason": worker.about["failed"]})
            continue
        for place, told in enumerate(worker.about["operations"]):
            row = {"operation": told["name"], "who": told["who"], "includes": told["includes"]}
            row |= {"version": worker.about["version"], "milliseconds": []}
            rows.append(row)
            asked.append((row, worker, place))
    # The same operation of all libraries, one after the other.
    asked.sort(key=lambda one: list(UNITS).index(one[0]["operation"]))
    for number in range(1 + repeats):
        for row, worker, place in asked:
            if "reason" in row:
                continue
            time.sleep(PAUSE)
            found = worker.milliseconds(place)
            if "failed" in found:
                row["reason"] = f"{row['operation']}: {found['failed']}"
            elif number:
                row["milliseconds"].append(found["milliseconds"])
    return rows


def machine(threads: int, clock: str) -> dict[str, Any]:
    """What the times depend on, besides the sizes."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "clock": clock,
        "load": load(),
        "python": platform.python_version(),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report for people."""
    yield "  ".join(f"{name}: {value}" for name, value in report["machine"].items() if value != "")
    yield "  ".join(f"{name}: {value}" for name, value in report["sizes"].items())
    yield ""
    yield from markdown(report)


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = list(libraries("torch"))
    add = parser.add_argument
    add("--venv", type=Path, default=ROOT / ".venv-peers", help="folder of the environment")
    add("--no-install", action="store_true", help="install nothing; use what is there")
    add("--torch", default="torch", help="requirement of PyTorch that pip is given (torch)")
    add("--only", nargs="+", choices=known, default=known, help="libraries, beside moore")
    add("--threads", type=int, default=len(usable_cores()), help="of every library (all cores)")
    add("--clock", choices=("wall", "processor"), default="wall", help="seconds of what (wall)")
    add("--repeats", type=int, default=7, help="rounds that count (7)")
    add("--json", action="store_true", help="print JSON, not a table")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    chosen, sizes = options(argv), Sizes()
    about = machine(chosen.threads, chosen.clock)
    if about["load"] > MAX_LOAD and chosen.clock == "wall":
        print("warning: something else is running: trust the ratios alone.", file=sys.stderr)
    known = libraries(chosen.torch)
    asked = {name: known[name] for name in known if name == OURS or name in chosen.only}
    requirements = {name: library.requirements for name, library in asked.items()}
    missing = prepare(chosen.venv, requirements, install=not chosen.no_install)
    rows = [{"who": name, "reason": reason} for name, reason in missing.items()]
    workers = {}
    try:
        for name, library in asked.items():
            if name not in missing:
                python = Path(sys.executable) if name == OURS else python_of(chosen.venv)
                of = library.module, chosen.threads, chosen.clock
                workers[name] = Worker(python, *of, sizes)
        rows = measure(workers, chosen.repeats) + rows
    finally:
        for worker in workers.values():
            worker.end()
    report = {
        "machine": about,
        "sizes": asdict(sizes),
        "units": UNITS,
        "repeats": chosen.repeats,
        "rows": rows,
    }
    print(json.dumps(report, indent=1) if chosen.json else "\n".join(lines(report)))


if __name__ == "__main__":
    main()
