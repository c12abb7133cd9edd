"""Writes the log of a live session: every record is on the disk before anybody uses it."""

import os
from pathlib import Path
from typing import Any

from moore.envs.identity import CUSTOM
from moore.files import to_disk, writing
from moore.formats.live_records import FORMAT, Records, encode, name_of
from moore.runs.world import World


def header_of(session: str, world: World, patience: int) -> dict[str, Any]:
    """The facts about a session that its log holds."""
    return {
        "session": session,
        "env_id": "" if world.env_id == CUSTOM else world.env_id,
        "action_low": world.bounds.low.tolist(),
        "action_high": world.bounds.high.tolist(),
        "patience": patience,
    }


class Journal:
    """One file of a session's log, open for new records (`moore.formats.live_records`).

    A record that was written survives the end of the process. `sync` waits until it also survives a
    loss of power.
    """

    def __init__(self, folder: Path, facts: dict, before: Records):
        """Begins a new file; files of earlier times are never touched.

        Args:
            folder: the folder of the log.
            facts: what the header says besides the format.
            before: the records of the earlier files, which were read to their end.

        Raises:
            InputError: the file cannot be written.
        """
        self._path = folder / name_of(len(before.files()) + 1)
        self._size = self._crc = 0
        self._behind = self._begun = False
        self._file: int | None = None
        with writing(self._path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._file = os.open(self._path, flags | getattr(os, "O_BINARY", 0), 0o644)
        follows = None if before.end is None else list(before.end)
        try:
            self.write([{"kind": "log", "format": FORMAT, "follows": follows, **facts}])
            to_disk(folder)
        except BaseException:
            self.close()
            self._path.unlink(missing_ok=True)
            raise

    def write(self, records: list[dict]) -> None:
        """Appends the records: all of them or none.

        Raises:
            InputError: the disk refuses, for instance because it is full.
        """
        assert self._file is not None
        lines, crc = [], self._crc
        for record in records:
            line, crc = encode(record, crc)
            lines.append(line)
        content = b"".join(lines)
        then = "; the step is not used, and may be repeated when this is mended"
        with writing(self._path, then):
            if self._begun:  # what was begun could not be taken back yet
                os.ftruncate(self._file, self._size)
            self._begun = True
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(self._file, left) :]
            except OSError:
                os.ftruncate(self._file, self._size)  # of what was begun nothing stays
                self._begun = False
                raise
            self._begun = False
        self._size, self._crc, self._behind = self._size + len(content), crc, True

    def sync(self) -> None:
        """Waits until everything that was written is on the disk itself."""
        if self._file is not None and self._behind:
            with writing(self._path):
                os.fsync(self._file)
            self._behind = False

    def close(self) -> None:
        """Ends the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
