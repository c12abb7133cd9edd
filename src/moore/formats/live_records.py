"""The records of a live session: JSON lines, each with a checksum that covers all lines before it.

A folder holds files steps-000001.jsonl, steps-000002.jsonl and so on, one for each time that the
session was opened. A line is written in one piece and never changed. So a process that is killed
loses at most the line that it was writing; such an incomplete last line is left out and told, and
damage anywhere else is an error. The first line of a file says where the file before it ended.

    {"kind": "act", "step": 17, "unit": 0, "obs": [0.5], "action": [0.1], ..., "crc": "89ab01cd"}
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from moore.data.checks import shown
from moore.errors import InputError

FORMAT = 1
PATTERN = "steps-*.jsonl"
_JSON = json.JSONEncoder(allow_nan=False)
_TAIL = len(', "crc": "00000000"}')


def encode(record: dict, crc: int) -> tuple[bytes, int]:
    """A record as a line, and the checksum after it; `crc` is the one of the line before."""
    body = _JSON.encode(record)[:-1].encode()
    crc = zlib.crc32(body, crc)
    return body + b', "crc": "%08x"}\n' % crc, crc


def decode(line: bytes, crc: int) -> tuple[dict, int] | None:
    """The record of a line (without its end), and the checksum after it; None if it is damaged."""
    body = line[:-_TAIL]
    crc = zlib.crc32(body, crc)
    if line[-_TAIL:] != b', "crc": "%08x"}' % crc:
        return None
    try:
        record = json.loads(body + b"}")
    except (ValueError, RecursionError):
        return None
    return (record, crc) if isinstance(record, dict) else None


@dataclass
class Records:
    """The records of a folder, in order.

    Attributes:
        folder: the folder.
        notes: what was left out, in sentences; complete after the records were read.
        header: the first record of the newest file.
        end: bytes and checksum of the newest file's whole records.
    """

    folder: Path
    notes: list[str] = field(default_factory=list)
    header: dict = field(default_factory=dict)
    end: tuple[int, int] | None = None

    def files(self) -> list[Path]:
        """The files, the oldest first."""
        return sorted(self.folder.glob(PATTERN))

    def __iter__(self) -> Iterator[dict]:
        """All records but the headers.

        Raises:
            InputError: a line is damaged, a file is missing, or a later version wrote them.
        """
        for place, file in enumerate(self.files(), start=1):
            if file.name != name_of(place):
                raise InputError(
                    f"{self.folder}: {name_of(place)} is missing; expected every file of the log; "
                    "put back a copy of it"
                )
            yield from self._of_file(file)

    def _of_file(self, file: Path) -> Iterator[dict]:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}); see who may") from None
        *lines, rest = content.split(b"\n")
        crc = size = 0
        for number, line in enumerate([*lines, rest], start=1):
            found = decode(line, crc)
            if found is None:
                if number <= len(lines):
                    self.refuse(file, number, "does not match its checksum")
                if line:
                    self.notes.append(
                        f"{file.name} ends with a record that was not written completely; it is "
                        "left out"
                    )
                break
            record, crc = found
            size += len(line) + 1
            if number == 1:
                self.check_header(file, record)
                self.header = record
            else:
                yield record
        if size:
            self.end = size, crc

    def check_header(self, file: Path, header: dict) -> None:
        """Raises InputError unless this is the header of a file that follows those before."""
        if header.get("kind") != "log" or header.get("format") != FORMAT:
            self.refuse(file, 1, f"is no header of format {FORMAT}")
        follows, end = header.get("follows"), None if self.end is None else list(self.end)
        if follows != end:
            self.refuse(file, 1, f"follows a file that ended at {follows}, which ends at {end}")

    def refuse(self, file: Path, number: int, what: str) -> NoReturn:
        """Raises InputError for a line of a file."""
        raise InputError(
            f"{file}: line {number} {what}: the log is damaged, or was altered; put back a copy of "
            "this file"
        )


def name_of(place: int) -> str:
    """Name of the file at this place, counted from 1."""
    return f"steps-{place:06d}.jsonl"


def is_live_log(folder: Path) -> bool:
    """Whether a folder holds the records of a session."""
    return (folder / name_of(1)).is_file()


def misfit(record: dict) -> InputError:
    """The error for a whole record that no session can have written."""
    return InputError(
        f"a record of the log does not fit those before it: {shown(record)}; expected the records "
        "of one session in their order; put back a copy of the log"
    )
