"""The console: a progress bar on a terminal, plain lines elsewhere. Everything goes to stderr."""

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from moore.console import plain
from moore.numbers import finite, is_finite

# What a person reads instead of the title of a part of the work.
_DOING = {"offline": "offline, learning from the log", "online": "online, acting and learning"}
# Seconds between two plain lines about work that is under way.
_PATIENCE = 30.0
# No time is foretold from a smaller share of the work than this.
_ENOUGH = 0.02
# Nor by the pace after the first part, before so much of another is done.
_STEADY = 0.5


class Reporter:
    """Shows progress on stderr: a bar on a terminal, plain lines elsewhere, nothing if quiet.

    Args:
        quiet: show nothing.
        now: clock, in seconds.
    """

    def __init__(self, *, quiet: bool = False, now: Callable[[], float] = time.monotonic):
        nowhere = sys.stderr is None  # as for a service
        file: Any = None if nowhere else _Forgiving(sys.stderr)
        self._console = Console(file=file, quiet=quiet or nowhere, highlight=False)
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._now = now
        self._began = self._told = 0.0
        self._first, self._total = 0, 0
        self._warm: tuple[float, float] | None = None  # when the first part was done, and how much
        self.title, self._news = "", ""

    def say(self, text: str) -> None:
        self._console.print(plain(text), soft_wrap=True, markup=False)

    def start(self, title: str, total: int, done: int = 0) -> None:
        self.stop()
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[news]}"),
                console=self._console,
            )
            self._progress.start()
            doing = _DOING.get(title, title)
            self._task = self._progress.add_task(doing, total=total, completed=done, news="")
        self.title, self._total, self._news = title, total, ""
        self._began = self._told = self._now()
        self._first, self._warm = done, None

    def advance(self, done: int, news: str) -> None:
        """Tells that so much is done, and how it stands."""
        self._news = news
        self._show(done, news)

    def under_way(self, done: int | float, doing: str = "") -> None:
        """Tells how much is done within a part of the work, which may happen very often.

        Args:
            done: whole parts that are done, and the share of the one under way.
            doing: what is being done; by default the last news stays.
        """
        if self._progress is None and self._now() - self._told < _PATIENCE:
            return
        self._show(done, doing or self._news)

    def _show(self, done: int | float, news: str) -> None:
        news = ", ".join(filter(None, (news, self._left(done))))
        self._told = self._now()
        if self._progress is not None:
            self._progress.update(self._task, completed=done, news=plain(news))
        else:
            self.say(f"{self.title} {int(done)}/{self._total}  {news}".rstrip())

    def _left(self, done: int | float) -> str:
        """The time that is left if the rest goes on as what was done.

        The first part also compiles the programs, so it does not count once there is another.
        """
        made, rest = done - self._first, self._total - done
        if rest <= 0 or made < _ENOUGH * (self._total - self._first):
            return ""
        now, since, at = self._now(), self._began, float(self._first)
        if made >= 1:
            self._warm = self._warm or (now, done)
            if done - self._warm[1] >= _STEADY:
                since, at = self._warm
        return f"about {_rounded((now - since) * rest / (done - at))} left"

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _rounded(seconds: float) -> str:
    """A duration as a person would say it."""
    for length, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * length:
            count = seconds / length
            return f"{count:.0f} {unit}" if count >= 9.5 or unit == "min" else f"{count:.1f} {unit}"
    return f"{max(seconds, 1.0):.0f} s"


class _Forgiving:
    """A stream; where it cannot be written, what is said is lost, and the run goes on.

    Standard error may be a file on a full disk, or a terminal that is gone.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class ConsoleSink:
    """The sink that prints a line an epoch.

    After a resume, repeated rows are printed again. Rows of a stage that is already over are not.
    """

    def __init__(self, report: Reporter):
        self._report = report

    def write(self, row: dict) -> None:
        told, begins = news(row), row["epoch"] == 0
        if row["stage"] != self._report.title or (begins and (_is_online(row) or not told)):
            return
        self._report.advance(row["epoch"], told)
        if skipped := row.get("losses/skipped_updates"):
            self._report.say(
                f"{skipped:,.0f} updates of {row['stage']} epoch {row['epoch']} were skipped: they "
                "led to numbers that are not finite."
            )

    def close(self) -> None:
        self._report.stop()


def news(row: dict) -> str:
    """What a person wants to know of an epoch, from its row of metrics: what is earned."""
    acting = finite(row.get("online/episode_returns"))
    named = {
        "return {:.1f}": row.get("eval/return"),
        "earned in the system {:.1f}": float(np.mean(acting)) if acting else None,
    }
    if not any(map(is_finite, named.values())):
        named["return in the models {:.1f}"] = row.get("model/episode_return")
    parts = [text.format(value) for text, value in named.items() if is_finite(value)]
    if "eval/return" in row and not is_finite(row["eval/return"]):
        parts.insert(0, "return not a finite number")
    return ", ".join(parts)


def _is_online(row: dict) -> bool:
    return row.get("stage") == "online"
