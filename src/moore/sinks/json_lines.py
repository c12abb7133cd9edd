"""metrics.jsonl, the sink that every run has; checkpoints and reports read it."""

import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np

from moore.files import writing


def jsonable(value):
    """The value as plain JSON; NaN and infinities, which JSON does not know, become None."""
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
    """One JSON object a line; a row is on disk before the checkpoint that counts it.

    A resumed run first cuts the file back to the length that its checkpoint recorded, so that no
    row is there twice.
    """

    def __init__(self, path: Path, *, keep_bytes: int = 0, then: str | None = None):
        """Opens the file and cuts it back to the length that the checkpoint recorded.

        Args:
            path: the file.
            keep_bytes: this length.
            then: what an error tells to do when its cause is removed; by default to resume the run.

        Raises:
            InputError: the file cannot be written.
        """
        self._path = path
        again = f", then go on with `moore run --resume {path.parent}`"
        self._then = again if then is None else then
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
            InputError: the row cannot be written, because the disk is full for instance.
        """
        line = (json.dumps(jsonable(row)) + "\n").encode()
        with writing(self._path, self._then):
            os.truncate(self._path, self._bytes)  # a row that was begun on a full disk
            left = memoryview(line)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        self._hash.update(line)
        self._bytes += len(line)

    @property
    def mark(self) -> dict:
        """The length and the hash of the file, by which a checkpoint recognises it."""
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}

    def close(self) -> None:
        self._file.close()


def why_unknown(path: Path, mark: dict) -> str:
    """Says how a metrics file differs from what a checkpoint recorded; "" if it does not."""
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
