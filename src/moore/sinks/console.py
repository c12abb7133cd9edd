"""The console: a progress bar on a terminal, plain lines elsewhere. Everything goes to stderr."""

import sys

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from moore.console import plain
from moore.numbers import finite, is_finite


class Reporter:
    """Shows progress on stderr: a bar on a terminal, plain lines elsewhere, nothing if quiet."""

    def __init__(self, *, quiet: bool = False):
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False)
        self._progress: Progress | None = None
        self.title = ""

    def say(self, text: str) -> None:
        self._console.print(plain(text), soft_wrap=True, markup=False)

    def start(self, title: str, total: int, done: int = 0) -> None:
        self.stop()
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[news]}"),
                console=self._console,
            )
            self._progress.start()
            self._task = self._progress.add_task(title, total=total, completed=done, news="")
        self.title, self._total = title, total

    def advance(self, done: int, news: str) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=done, news=news)
        else:
            self.say(f"{self.title} {done}/{self._total}  {news}")

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class ConsoleSink:
    """The sink that prints a line an epoch.

    After a resume, repeated rows are printed again. Rows of a stage that is already over are not.
    """

    def __init__(self, report: Reporter):
        self._report = report

    def write(self, row: dict) -> None:
        if row["stage"] != self._report.title or (_is_online(row) and row["epoch"] == 0):
            return
        self._report.advance(row["epoch"], news(row))
        if skipped := row.get("losses/skipped_updates"):
            self._report.say(
                f"{skipped:,.0f} updates of {row['stage']} epoch {row['epoch']} were skipped: they "
                "led to numbers that are not finite."
            )

    def close(self) -> None:
        self._report.stop()


def news(row: dict) -> str:
    """The line that sums up an epoch, from its row of metrics."""
    acting = finite(row.get("online/episode_returns"))
    named = {
        "return {:.1f}": row.get("eval/return"),
        "score {:.1f}": row.get("eval/score"),
        "acting {:.1f}": float(np.mean(acting)) if acting else None,
        "online share {:.3f}": row.get("replay/online_share") if _is_online(row) else None,
        "model error {:.4g}": row.get("model/holdout_mse"),
        "{:.1f} s": row.get("time/epoch"),
    }
    parts = [text.format(value) for text, value in named.items() if is_finite(value)]
    if "eval/return" in row and not is_finite(row["eval/return"]):
        parts.insert(0, "return not a finite number")
    return ", ".join(parts)


def _is_online(row: dict) -> bool:
    return row.get("stage") == "online"
