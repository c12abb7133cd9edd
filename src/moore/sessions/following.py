"""Follows the log of a session while another process writes it."""

from collections.abc import Iterator
from pathlib import Path

from moore.errors import InputError
from moore.files import to_disk
from moore.formats.live_records import Records, decode, name_of

# So much of a file is read at a time, in bytes.
CHUNK = 1 << 22


class Following:
    """The records of a log as they are appended, each of them once, from the first one on.

    A record whose line is not complete yet waits for the next call. If its writer could not write
    it to the end (a full disk), the line is taken back, and what stands there later is read.
    """

    def __init__(self, folder: Path):
        """Nothing is read before the first call of `new`."""
        self._records = Records(folder)
        self._place, self._size, self._crc, self._line = 1, 0, 0, 0

    def new(self) -> Iterator[dict]:
        """Records that came since the last call; at most `CHUNK` bytes of them.

        Raises:
            InputError: a line is damaged, or the file is shorter than what was read of it.
        """
        # Asked first: a file is complete as soon as there is the next one.
        complete = self._file(self._place + 1).exists()
        content, at_end = self._read()
        *lines, rest = content.split(b"\n")
        for line in lines:
            yield from self._taken(line)
        if complete and at_end:
            if rest and decode(rest, self._crc) is not None:
                yield from self._taken(rest)  # it lacks nothing but its end
            if self._size:
                self._records.end = self._size, self._crc
            self._place, self._size, self._crc, self._line = self._place + 1, 0, 0, 0

    def sync(self) -> None:
        """Waits until what was read is on the disk itself."""
        to_disk(self._file(self._place))

    def _file(self, place: int) -> Path:
        return self._records.folder / name_of(place)

    def _read(self) -> tuple[bytes, bool]:
        """The next bytes, and whether the file ends after them."""
        file = self._file(self._place)
        try:
            size = file.stat().st_size
            if size < self._size:
                raise InputError(f"{file} is shorter than before; it was altered.")
            if size == self._size:
                return b"", True
            with open(file, "rb") as opened:
                opened.seek(self._size)
                content = opened.read(CHUNK)
                if b"\n" not in content:
                    content += opened.read()
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}); see who may") from None
        return content, self._size + len(content) >= size

    def _taken(self, line: bytes) -> Iterator[dict]:
        """The record of the next line, unless it is the header."""
        self._line += 1
        found = decode(line, self._crc)
        file = self._file(self._place)
        if found is None:
            self._records.refuse(file, self._line, "does not match its checksum")
        record, self._crc = found
        self._size += len(line) + 1
        if self._line > 1:
            yield record
        else:
            self._records.check_header(file, record)
