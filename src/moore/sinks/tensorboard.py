"""TensorBoard: event files in the run folder."""

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from moore.files import writing
from moore.sinks.json_lines import jsonable
from moore.sinks.sink import Label, scalars


class TensorBoard:
    """Writes the scalars of every row, as offline/NAME and online/NAME, over the updates so far.

    A resumed run writes all rows of metrics.jsonl anew, so that no epoch is missing or there twice.
    """

    def __init__(self, folder: Path, rows: Iterable[dict] = ()):
        """Replaces the folder's event files by one file with these rows.

        Raises:
            InputError: the file cannot be written.
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
            InputError: the row cannot be written, because the disk is full for instance.
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
        for name, value in scalars(row).items():
            if name.startswith("charts/"):
                self._scalar(name, value, row)
            elif "/" in name:
                self._scalar(f"{row['stage']}/{name}", value, row)

    def _scalar(self, name: str, value: int | float, row: dict) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        summary = scalar(name, value)
        self._file.write_event(Event(wall_time=time.time(), step=row["updates"], summary=summary))


def open_sink(
    folder: Path, label: Label, rows: Iterable[dict], say: Callable[[str], None]
) -> TensorBoard:
    """Opens TensorBoard's sink in this run folder. The label is not used.

    Raises:
        InputError: the file cannot be written.
    """
    del label, say
    return TensorBoard(folder, rows)
