"""A pass over all rows of a log on disk: whether they are those that were written."""

import hashlib

import numpy as np

from moore.data.checks import blocks
from moore.data.row_file import RowFile
from moore.errors import InputError

_COUNTED = ("rows", "episodes", "terminals", "timeouts", "unknown_successors")


def check_rows(file: RowFile) -> dict:
    """Reads every row, block by block, and compares hash and counts with what log.json says.

    Raises:
        InputError: they differ.
    """
    digest, found = hashlib.sha256(), dict.fromkeys(_COUNTED[2:], 0)
    for rows in blocks(file.size, file.type.itemsize):
        records = np.ascontiguousarray(file.records[rows])
        digest.update(records.data)
        found["terminals"] += int(records["terminated"].sum())
        found["timeouts"] += int(records["truncated"].sum())
        found["unknown_successors"] += int((~records["successor_known"]).sum())
    told = {name: file.facts[name] for name in found}
    if digest.hexdigest() != file.sha256 or found != told:
        raise InputError(
            f"{file.folder}: its rows are not those that were written (their hash differs from the "
            "one in log.json); copy the folder again, or convert the log anew"
        )
    return {name: file.facts[name] for name in _COUNTED}
