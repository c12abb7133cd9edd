"""Runs cells together in this process, in lock step (`moore sweep --together`).

Each cell is a run as any other, with its own folder, environment, checkpoints and random numbers;
only the calls of its large compiled programs are answered together with those of the others
(`moore.lockstep`). Every program is compiled once for all cells of equal settings and sizes.
"""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jax

from moore.console import plain
from moore.errors import InputError
from moore.files import writing
from moore.lockstep.company import Company, Task
from moore.runs.mirror import working_folder
from moore.runs.signals import Stop, listening, obey
from moore.sweeps.cell import Cell, run_cell
from moore.sweeps.outcome import Outcome, Say

# Whether equal calls of the cells are one program that is mapped over them. "auto": on accelerators
# only. On a CPU it is not faster than a program that the cells call in turn, and takes three times
# as long to compile (docs/performance.md).
Batch = Literal["auto", "yes", "no"]

_ANSWER = "\nmoore: stopping, every cell is saved; a second Ctrl-C stops at once.\n"


def run_together(
    waiting: list[Cell],
    outcome: Outcome,
    say: Say,
    *,
    at_most: int = 0,
    batch: Batch = "auto",
    quiet: bool = False,
) -> None:
    """Runs the cells, those that others start from first; one that fails stops no other.

    Args:
        waiting: the cells that are not done; they are taken out of the list.
        outcome: notes how they end.
        say: prints a line.
        at_most: number of cells at a time, which limits the memory; 0: all that are ready.
        batch: see `Batch`.
        quiet: print nothing, not even the answer to a signal.

    Raises:
        Stopped: a signal asked to stop; every cell has saved its state.
    """
    stacked = batch == "yes" or (batch == "auto" and jax.default_backend() != "cpu")
    company = Company(stacked=stacked, say=say)
    with listening() as stop, stop.patience("" if quiet else _ANSWER):
        outcome.skip_lost(waiting, say)
        while group := outcome.ready(waiting)[: at_most or None]:
            for cell in group:
                waiting.remove(cell)
            _run_group(group, company, outcome, say, stop)
            stop.check()
            outcome.skip_lost(waiting, say)


def _run_group(
    group: Sequence[Cell], company: Company, outcome: Outcome, say: Say, stop: Stop
) -> None:
    def on_end(folder: str, error: BaseException | None) -> None:
        if isinstance(error, KeyboardInterrupt) and stop.asked:
            return  # it goes on another time
        outcome.ended(folder, _told(folder, error), say)

    company.run({cell.folder: _task(cell, stop) for cell in group}, on_end)


def _task(cell: Cell, stop: Stop) -> Task:
    def task() -> None:
        obey(stop)
        run_cell(cell)

    return task


def _told(folder: str, error: BaseException | None) -> str:
    """What a cell that failed has to say, which is also written beside its folder; else ""."""
    if error is None:
        return ""
    if isinstance(error, InputError):
        text = f"moore: {plain(str(error))}"
    else:
        text = "".join(traceback.format_exception(error)).strip()
    log = Path(f"{working_folder(folder)}.log")
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text + "\n")
    return text
