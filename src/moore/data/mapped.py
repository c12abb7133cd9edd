"""The kinds of logs whose columns a map names: which one a source is."""

from collections.abc import Callable
from pathlib import Path

from moore.data.log import Log

_TABLES = (".csv", ".tsv", ".parquet", ".pq")


def mapped_reader(source: str) -> Callable[..., Log] | None:
    """`read(source, columns, exact=..., own_reward=...)` for such a source; None: another kind."""
    path = Path(source).expanduser()
    suffix = path.suffix.lower()
    if path.is_dir():
        if (path / "meta" / "info.json").is_file():
            from moore.data.lerobot import read_lerobot

            return read_lerobot
        found = {file.suffix.lower() for file in path.iterdir()}
        if not found & set(_TABLES):
            return None
    elif suffix == ".mat":
        from moore.data.matlab import read_matlab

        return read_matlab
    elif suffix in (".hdf5", ".h5"):
        from moore.data.robomimic import is_robomimic, read_robomimic

        return read_robomimic if is_robomimic(path) else None
    elif suffix not in _TABLES:
        return None
    from moore.data.tables import read_tables

    return read_tables
