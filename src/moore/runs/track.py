"""Where a run's numbers go: metrics.jsonl always, TensorBoard on request, and the console."""

import json
import math
import os
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def jsonable(value):
    """Plain JSON values; numbers that JSON does not know become None."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, str | bool | int) or value is None:
        return value
    number = np.asarray(value)
    if number.ndim:
        return [jsonable(item) for item in number]
    number = number.item()
    return None if isinstance(number, float) and not math.isfinite(number) else number


class MetricsFile:
    """metrics.jsonl: one JSON object a line, on disk before the checkpoint."""

    def __init__(self, path: Path, *, keep_bytes: int = 0):
        """Opens the file, cut back to what the checkpoint knew of."""
        path.touch()
        os.truncate(path, min(keep_bytes, path.stat().st_size))
        self._file = open(path, "a")  # noqa: SIM115 (closed by `close`)

    def write(self, row: dict) -> int:
        """Appends a row and returns the length of the file in bytes."""
        self._file.write(json.dumps(jsonable(row)) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """Scalars of every row, under their own names and as charts/episodic_return, charts/SPS."""

    def __init__(self, folder: Path):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def write(self, row: dict, *, step: int) -> None:
        for name, value in row.items():
            if "/" in name and isinstance(value, int | float):
                self._writer.add_scalar(f"{row['stage']}/{name}", value, step)
        if row.get("online/episode_returns"):
            mean = float(np.mean(row["online/episode_returns"]))
            self._writer.add_scalar("charts/episodic_return", mean, step)
        if "time/steps_per_second" in row:
            self._writer.add_scalar("charts/SPS", row["time/steps_per_second"], step)
        self._writer.flush()


class Reporter:
    """A progress bar on a terminal, plain lines elsewhere, nothing when quiet. All on stderr."""

    def __init__(self, *, quiet: bool = False):
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False)
        self._progress: Progress | None = None

    def say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False)

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
        self._title, self._total = title, total

    def advance(self, done: int, news: str) -> None:
        if self._progress is not None:
            self._progress.update(self._task, completed=done, news=news)
        else:
            self.say(f"{self._title} {done}/{self._total}  {news}")

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def news(row: dict) -> str:
    """One line on an epoch, from its row of metrics."""
    parts = []
    if "eval/return" in row:
        parts.append(f"return {row['eval/return']:.1f}")
    if "eval/score" in row:
        parts.append(f"score {row['eval/score']:.1f}")
    if row.get("online/episode_returns"):
        parts.append(f"acting {np.mean(row['online/episode_returns']):.1f}")
    if row["stage"] == "online" and "replay/online_share" in row:
        parts.append(f"online share {row['replay/online_share']:.3f}")
    if "model/holdout_mse" in row:
        parts.append(f"model error {row['model/holdout_mse']:.4g}")
    parts.append(f"{row['time/epoch']:.1f} s")
    return ", ".join(parts)
