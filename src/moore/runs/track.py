"""Where a run's numbers go: metrics.jsonl always, TensorBoard on request, and the console."""

import contextlib
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from moore.console import plain
from moore.files import writing
from moore.numbers import finite, is_finite


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
        """Opens the file, cut back to what the checkpoint knew of.

        Raises:
            InputError: nothing can be written there.
        """
        self._path = path
        with writing(path):
            path.touch()
            os.truncate(path, min(keep_bytes, path.stat().st_size))
            self._hash = hashlib.sha256(path.read_bytes())
            self._bytes = path.stat().st_size
            # Unbuffered: nothing is left to write when it is closed on a full disk.
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by `close`)

    def write(self, row: dict) -> None:
        """Appends a row.

        Raises:
            InputError: the disk refuses.
        """
        line = (json.dumps(jsonable(row)) + "\n").encode()
        with writing(self._path, f", then go on with `moore run --resume {self._path.parent}`"):
            left = memoryview(line)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        self._hash.update(line)
        self._bytes += len(line)

    @property
    def mark(self) -> dict:
        """How much is written, and its hash: by these a checkpoint knows the file again."""
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}

    def close(self) -> None:
        self._file.close()


def why_unknown(path: Path, mark: dict) -> str:
    """Why a metrics file does not begin as it was at a checkpoint; "" if it does."""
    try:
        with open(path, "rb") as file:
            content = file.read(mark["bytes"])
    except OSError as error:
        return f"metrics.jsonl cannot be read ({error.strerror})"
    if len(content) < mark["bytes"]:
        return f"metrics.jsonl has {len(content):,} of its {mark['bytes']:,} bytes"
    if hashlib.sha256(content).hexdigest() != mark["sha256"]:
        return "metrics.jsonl was altered since"
    return ""


class TensorBoard:
    """Scalars of every row, under their own names and as charts/episodic_return, charts/SPS.

    The events are those of metrics.jsonl: a run that goes on writes them anew, so that no epoch is
    lost or there twice.
    """

    def __init__(self, folder: Path, rows: Iterable[dict] = ()):
        """Replaces the folder's event files by one with these rows.

        Raises:
            InputError: the disk refuses.
        """
        from tensorboardX.event_file_writer import EventsWriter

        self._folder = folder
        with self._writing():
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
            # Written here and now; the usual writer has a thread, which may lag behind.
            self._file = EventsWriter(str(folder / "events"))
            for row in rows:
                self._add(row)
            self._file.flush()

    def write(self, row: dict) -> None:
        """Adds a row's scalars; they are on disk afterwards.

        Raises:
            InputError: the disk refuses.
        """
        with self._writing():
            self._add(jsonable(row))
            self._file.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what a full disk has refused was said before
            self._file.close()

    def _writing(self):
        return writing(f"{self._folder}: TensorBoard's event file")

    def _add(self, row: dict) -> None:
        if row["stage"] == "online" and row["epoch"] == 0:
            return  # the hand-over, at the step of the last offline epoch
        for name, value in row.items():
            if "/" in name and is_finite(value):
                self._scalar(f"{row['stage']}/{name}", value, row)
        if acting := finite(row.get("online/episode_returns")):
            self._scalar("charts/episodic_return", float(np.mean(acting)), row)
        if "time/steps_per_second" in row:
            self._scalar("charts/SPS", row["time/steps_per_second"], row)

    def _scalar(self, name: str, value: int | float, row: dict) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        summary = scalar(name, value)
        self._file.write_event(Event(wall_time=time.time(), step=row["updates"], summary=summary))


class Reporter:
    """A progress bar on a terminal, plain lines elsewhere, nothing when quiet. All on stderr."""

    def __init__(self, *, quiet: bool = False):
        self._console = Console(file=sys.stderr, quiet=quiet, highlight=False)
        self._progress: Progress | None = None

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
