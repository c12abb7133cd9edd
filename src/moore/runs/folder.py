"""Reads the files of a run folder; errors say which file is damaged or was altered."""

import json
import math
from pathlib import Path

from moore.errors import InputError, near_folder
from moore.files import read_object, short_path

_NUMBERS = ("env_steps", "updates", "eval/return", "eval/score", "time/epoch")
_LISTS = ("eval/returns", "eval/lengths", "online/episode_returns")
# Type of an entry of summary.json, if there is one of this name.
_SUMMARY = {
    "env_id": str, "algorithm": str, "scheme": str, "seed": int, "discount": float,
    "dataset": dict, "reference": dict, "offline": dict, "online": dict, "acting": dict,
    "transfer": dict, "time": dict, "versions": dict, "hardware": dict,
    "yardstick": dict, "clone": dict,
}  # fmt: skip
_WORDS = ("source", "between")  # entries of parts that otherwise hold numbers
_MAY_BE_NULL = ("dataset", "reference", "transfer", "yardstick")


def check_is_there(path: Path) -> None:
    """Raises InputError if this file of a run is missing: its folder holds no run."""
    if path.exists():
        return
    folder = short_path(path.parent)
    if not path.parent.exists():
        raise InputError(f"there is no folder {folder}{near_folder(path.parent)}")
    inside = sorted(path.parent.glob(f"*/{path.name}"))
    hint = f" Runs are in it: {folder / inside[0].parent.name} is one." if inside else ""
    if (path.parent / "session.json").is_file():
        hint = " It is a session, which began from a run; moore.Session.resume goes on with it."
    raise InputError(f"{folder} is not the folder of a run: it holds no {path.name}.{hint}")


def read_metrics(path: str | Path) -> list[dict]:
    """The rows of a `metrics.jsonl`, without a last line that is still being written.

    Raises:
        InputError: if there is no such file, or another line is not a row of metrics.
    """
    check_is_there(Path(path))
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} ({error}); give the folder of a run") from error
    rows = []
    for place, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if place == len(lines):
                break
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {place}: expected a JSON object, got {line[:60]!r}")
        if name := _misfit(row):
            raise InputError(f"{path}, line {place} is damaged: '{name}' is {row.get(name)!r}")
        rows.append(row)
    return rows


def _misfit(row: dict) -> str:
    """Names the first entry that no run can have written; "" if there is none."""
    if row.get("stage") not in ("offline", "online"):
        return "stage"
    if type(row.get("epoch")) is not int:
        return "epoch"
    for name in _NUMBERS:
        if not _number_or_null(row.get(name)):
            return name
    for name in _LISTS:
        values = row.get(name, [])
        if values is not None and not (
            isinstance(values, list) and all(map(_number_or_null, values))
        ):
            return name
    return ""


def _number_or_null(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def read_summary(folder: Path) -> dict:
    """The summary.json of a run.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = folder / "summary.json"
    summary = read_object(path)
    for name, kind in _SUMMARY.items():
        value = summary.get(name)
        if name not in summary or (value is None and name in _MAY_BE_NULL):
            continue
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise InputError(f"{path} is damaged: '{name}' is {str(value)[:40]!r}.")
    for part in ("transfer", "acting", "time", "reference", "yardstick"):
        for name, value in (summary.get(part) or {}).items():
            if name not in _WORDS and not (_number_or_null(value) and _is_finite(value)):
                raise InputError(f"{path} is damaged: {part} '{name}' is {str(value)[:40]!r}.")
    return summary


def _is_finite(value: int | float | None) -> bool:
    return value is None or math.isfinite(value)
