"""Reads the file of a controller as a whole, up to a size."""

from pathlib import Path

from moore.errors import InputError

# Larger than any policy that acts in milliseconds.
LARGEST = 512 * 2**20


def read_whole(path: Path, what: str) -> bytes:
    """The content of a file.

    Args:
        path: the file.
        what: what it should be, for errors.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); expected {what}.") from None
    if len(content) > LARGEST:
        raise InputError(f"{path} is larger than {LARGEST // 2**20} MiB; expected {what}.")
    return content
