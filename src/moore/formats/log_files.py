"""The files of a log of tables: a file, a folder or a pattern, and what is told of them."""

import glob
import os
import re
from pathlib import Path

from moore.data.checks import shown
from moore.errors import InputError, near_file
from moore.formats.column_map import ColumnMap

CSV = (".csv", ".tsv")
PARQUET = (".parquet", ".pq")
_SHOWN = 5


def find_files(source: str) -> list[Path]:
    """The files of a log, of one kind, in the order of their names (2 before 10).

    Hidden files, which some systems and editors put beside others, are none of a log's.

    Raises:
        InputError: there is no file, a link to one leads nowhere, or there are both CSV and Parquet
            files.
    """
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        found = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    elif os.path.exists(path) or not set("*?[") & set(source):
        found = [path]
    else:
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
    tables = [f for f in found if f.suffix.lower() in CSV + PARQUET]
    files = [f for f in tables if os.path.isfile(f)]
    lost = sorted(f for f in tables if os.path.islink(f) and not os.path.exists(f))
    if lost:
        raise InputError(
            f"{source}: the link {shown(lost[0])} leads nowhere; expected a file; mend it or "
            "remove it"
        )
    kinds = {f.suffix.lower() in CSV for f in files}
    if len(kinds) > 1:
        raise InputError(f"{source}: CSV and Parquet files; expected one kind; name a pattern")
    if not files:
        given = "no CSV or Parquet file in it" if os.path.isdir(path) else "no such file"
        hint = near_file(path) or "; check the name and the folder"
        raise InputError(f"{source}: {given}{hint}")
    return sorted(files, key=natural_order)


def natural_order(path: Path) -> list:
    """A sort key that compares digits as numbers, so that 2 comes before 10."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(int(p), p) if p.isdecimal() else (-1, p) for p in parts]


def about_folder(source: str) -> list[str]:
    """A note on what else lies in a folder, such as packed files or further folders."""
    path = Path(os.path.expanduser(source))
    if not os.path.isdir(path):
        return []
    read = (*CSV, *PARQUET, ".toml")
    others = sorted(
        entry.name + "/" * entry.is_dir()
        for entry in path.iterdir()
        if not entry.name.startswith(".") and (entry.is_dir() or entry.suffix.lower() not in read)
    )
    if not others:
        return []
    named = shown(", ".join(others[:_SHOWN])) + (", ..." if len(others) > _SHOWN else "")
    return [f"not read in this folder: {named}"]


def about_empty(files: list[str]) -> list[str]:
    """A note on files without rows, by their names."""
    if not files:
        return []
    named = shown(", ".join(files[:_SHOWN])) + (", ..." if len(files) > _SHOWN else "")
    return [f"{len(files)} of the files have no rows: {named}"]


def about_episodes(columns: ColumnMap, files: int, file_ends: bool) -> list[str]:
    """Notes on a log in which no column tells episodes."""
    named = columns.episode or columns.window or columns.episode_rows
    if files > 1 and file_ends and not named:
        return [f"{files} files, each an episode (truncated at its end, unless flagged)"]
    if not (named or columns.terminal or columns.timeout):
        return [
            "no column tells episodes: the log is one, cut only at gaps (cut it with episode, "
            "window or episode_rows)"
        ]
    return []
