"""Reads a folder of rows: all of it if it is small, otherwise a random part of it."""

from dataclasses import replace

from moore.data import row_file
from moore.data.log import Log, with_notes
from moore.data.row_file import Whole, open_rows
from moore.formats.subset import Budget


def read_row_log(
    source: str, *, infos: bool = False, exact: bool = False, budget: Budget | None = None
) -> Log:
    """The rows of the folder, if they are at most `row_file.ROOM`; else random stretches of it.

    A part that the budget asks for is a log of its own. Without one, `Log.whole` is the log that
    the rows are a part of.

    Args:
        source: the folder.
        infos, exact: as for other readers; such a folder holds nothing else, in one type.
        budget: how much of the log to read.

    Raises:
        InputError: the folder is damaged.
    """
    del infos, exact
    file = open_rows(source)
    room = row_file.ROOM if budget is None else budget.rows(file.size)
    rows, ends = file.sample(max(room, 1), 0 if budget is None else budget.seed)
    records = file.take(rows)
    values = {key: records[key].copy() for key in file.type.names or ()}
    values["truncated"] |= ends & ~values["terminated"]
    log = Log.of(
        values,
        name=source,
        env_id=file.facts["env_id"],
        sha256=file.sha256,
        reference=file.reference,
        metadata=dict(file.facts["metadata"]),
    )
    if len(rows) == file.size:
        return _with_episodes(log, file)
    if budget is not None:
        told = {"rows": len(rows), "of_rows": file.size, "seed": budget.seed}
        return replace(log, metadata=log.metadata | {"subset": told})
    note = (
        f"{file.size:,} rows stay on disk (docs/large-logs.md); what is said of rows is said of "
        f"{len(rows):,} of them, whole stretches drawn at random"
    )
    metadata = with_notes(log.metadata, [note])
    return _with_episodes(replace(log, metadata=metadata, whole=Whole(file, rows)), file)


def _with_episodes(log: Log, file: row_file.RowFile) -> Log:
    returns, lengths = file.episode_returns, file.episode_lengths
    return replace(log, episode_returns=returns, episode_lengths=lengths)


def count_rows(source: str) -> int:
    """Number of rows."""
    return open_rows(source).size
