"""Runs the cells of a grid: as processes, on Ray, or together in this one (`moore sweep`)."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from moore.compiled import settings_that_keep_programs
from moore.errors import InputError
from moore.files import writing
from moore.runs.mirror import working_folder
from moore.runs.signals import Stop, listening
from moore.sinks.console import Reporter
from moore.sweeps.cell import Cell, as_json, limit_threads
from moore.sweeps.needs import Needs
from moore.sweeps.outcome import Outcome
from moore.sweeps.ray_pool import RayPool
from moore.sweeps.together import Batch, run_together

# Seconds that the cells of a stopped sweep have to save their state.
_GRACE = 5.0


def sweep(
    cells: Sequence[Cell],
    *,
    jobs: int = 0,
    ray_address: str | None = None,
    needs: Needs | None = None,
    together: bool = False,
    batch: Batch = "auto",
    quiet: bool = False,
) -> Outcome:
    """Runs the cells that are not done yet; a cell that fails does not stop the others.

    Args:
        cells: the cells, offline stages before the online ones that start from them.
        jobs: number of processes at a time; 0 starts one a core. Each gets its share of the cores.
            With `together`, number of cells at a time; 0 runs all.
        ray_address: address of a Ray cluster that sees the same files, or "local".
        needs: what a cell on Ray needs; None: a CPU.
        together: run the cells in this process, see `moore.sweeps.together`.
        batch: whether their equal calls are one batched program, see there.
        quiet: print nothing.
    """
    if jobs < 0:
        raise InputError(f"--jobs is {jobs}; it must not be negative.")
    if together and ray_address:
        raise InputError("--together runs all cells in one process; leave out --ray, or it.")
    if needs is not None and not ray_address:
        raise InputError("--cpus and --gpus place cells on a Ray cluster; give --ray with them.")
    report, outcome = Reporter(quiet=quiet), Outcome(len(cells))
    outcome.done = [cell.folder for cell in cells if cell.done]
    report.say(f"{len(cells)} cells, {len(outcome.done)} of them done already")
    waiting = [cell for cell in cells if cell.folder not in outcome.done]
    if together:
        run_together(waiting, outcome, report.say, at_most=jobs, batch=batch, quiet=quiet)
        return outcome
    pool = RayPool(ray_address, needs or Needs()) if ray_address else _ProcessPool(jobs)
    try:
        with listening() as stop:
            _drive(waiting, pool, outcome, report.say, stop)
    finally:
        pool.close()
    return outcome


def _drive(
    waiting: list[Cell], pool, outcome: Outcome, say: Callable[[str], None], stop: Stop
) -> None:
    """Starts each cell as soon as there is room and its offline stage is done."""
    running: dict[str, object] = {}
    while waiting or running:
        stop.check()
        outcome.skip_lost(waiting, say)
        for cell in outcome.ready(waiting)[: max(pool.room - len(running), 0)]:
            waiting.remove(cell)
            running[cell.folder] = pool.start(cell)
        for folder, process in list(running.items()):
            error = pool.ended(process)
            if error is None:
                continue
            del running[folder]
            outcome.ended(folder, error, say)
        time.sleep(pool.pause)


class _ProcessPool:
    """A pool of processes on this machine, each on its own cores."""

    pause = 0.2

    def __init__(self, jobs: int):
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        count = len(cores) or os.cpu_count() or 1
        self.room = jobs or count
        share = max(count // self.room, 1)
        shares = [cores[i * share : (i + 1) * share] for i in range(self.room)] if cores else []
        # More jobs than cores: they take turns.
        self._free = [part or [cores[i % count]] for i, part in enumerate(shares)]
        self._threads = share
        self._running: list[_Process] = []

    def start(self, cell: Cell) -> "_Process":
        cores = self._free.pop(0) if self._free else []
        process = _Process(cell, cores, self._threads)
        self._running.append(process)
        return process

    def ended(self, process: "_Process") -> str | None:
        """None while the process runs, "" if it succeeded, else the last lines of its output."""
        status = process.child.poll()
        if status is None:
            return None
        self._running.remove(process)
        self._free.append(process.cores)
        process.close()
        if status == 0:
            return ""
        text = Path(process.log.name).read_text(errors="replace").strip()
        return text or f"exit status {status}"

    def close(self) -> None:
        """Stops the processes; each may save a nearly complete epoch before it is killed."""
        for process in self._running:
            process.child.terminate()
        end = time.monotonic() + _GRACE
        for process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.child.wait(max(end - time.monotonic(), 0.0))
            process.child.kill()
            process.child.wait()
            process.close()


class _Process:
    def __init__(self, cell: Cell, cores: list[int], threads: int):
        folder = working_folder(cell.folder)
        self.cores = cores
        with writing(f"{folder}.log"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            self.log = open(f"{folder}.log", "w")  # noqa: SIM115 (closed when it has ended)
        self.child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "moore.sweeps.cell",
                as_json(cell),
                json.dumps(cores),
                "watched",
            ],
            stdin=subprocess.PIPE,  # never written to: it closes with this process
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env=os.environ | settings_that_keep_programs() | limit_threads(threads),
        )

    def close(self) -> None:
        self.log.close()
        assert self.child.stdin is not None  # a pipe
        self.child.stdin.close()
