"""LeRobot folders: `meta/info.json` and Parquet files below `data/`, versions 2 and 3.

Version 2 has a file for each episode (`data/chunk-000/episode_000000.parquet`), version 3 many
episodes a file (`data/chunk-000/file-000.parquet`); both have the columns `episode_index`,
`frame_index`, `timestamp`, `observation.state`, `action`, and at times `next.reward` and
`next.done`, which are those of the row's own action. Videos and images are not read.
"""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from moore.data.checks import shown
from moore.data.log import Log
from moore.errors import InputError
from moore.formats.column_map import ColumnMap
from moore.formats.log_files import natural_order
from moore.formats.tables import read_files

_DEFAULTS = {
    "obs": ("observation.state",),
    "action": ("action",),
    "reward": "next.reward",
    "episode": "episode_index",
    "time": "timestamp",
}


def read_lerobot(
    source: str, columns: ColumnMap, *, exact: bool = False, own_reward: bool = False
) -> Log:
    """Reads the low-dimensional columns of a LeRobot folder.

    Args:
        source: the folder.
        columns: roles that differ from LeRobot's names. With `terminal = "next.done"` these flags,
            which mark the last row of every episode, count as terminals.
        exact: read observations and actions as float64 instead of float32.
        own_reward: the reward comes from elsewhere.

    Raises:
        InputError: files are missing or damaged, or columns or frames are missing.
    """
    folder = Path(os.path.expanduser(source))
    info = _info(folder, source)
    features = info["features"]
    given: dict[str, Any] = {
        key: getattr(columns, key) or value for key, value in _DEFAULTS.items()
    }
    if own_reward:
        given["reward"] = None
    columns = replace(columns, **given)
    _check_features(features, columns, source)
    files = sorted((folder / "data").glob("**/*.parquet"), key=natural_order)
    if not files:
        raise InputError(f"{source}: no Parquet file below data/; copy the folder with its data")
    log = read_files(
        files,
        source,
        columns,
        exact=exact,
        own_reward=own_reward,
        notes=_notes(features, columns) + _splits(info),
        names={key: _entry_names(feature) for key, feature in features.items()},
        whole=(_count(info, "total_episodes"), _count(info, "total_frames")),
    )
    _check_widths(features, columns, log, source)
    about = {key: info[key] for key in ("codebase_version", "robot_type", "fps") if key in info}
    about = {key: value for key, value in about.items() if isinstance(value, str | int | float)}
    return replace(log, metadata=log.metadata | about)


def _info(folder: Path, source: str) -> dict:
    try:
        info = json.loads((folder / "meta" / "info.json").read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{source}: meta/info.json cannot be read ({shown(error)}); copy the folder again"
        ) from error
    version = str(info.get("codebase_version")) if isinstance(info, dict) else ""
    features = info.get("features") if isinstance(info, dict) else None
    if not version.startswith(("v2", "v3")) or not isinstance(features, dict):
        raise InputError(
            f"{source}: meta/info.json is of version {shown(version) or 'none'}; expected a "
            "LeRobot folder of version 2 or 3; convert it with LeRobot's own scripts"
        )
    if not all(isinstance(feature, dict) for feature in features.values()):
        raise InputError(f"{source}: the features of meta/info.json are no tables; copy it again")
    return info


def _check_features(features: dict, columns: ColumnMap, source: str) -> None:
    numbers = [key for key in features if not _is_picture(features[key])]
    for column in (*columns.obs, *columns.action, columns.reward, columns.terminal):
        if column is None or column in numbers:
            continue
        if column in features:
            raise InputError(
                f"{source}: {shown(column)} is made of pictures, which are not read; expected "
                f"columns of numbers: {shown(', '.join(numbers))}"
            )
        hint = "; or give a function, --reward module:function" if column == columns.reward else ""
        raise InputError(
            f"{source}: no column {shown(column)}; the folder has {shown(', '.join(numbers))}; "
            f"name another in the column map{hint}"
        )


def _check_widths(features: dict, columns: ColumnMap, log: Log, source: str) -> None:
    """Refuses columns with more or fewer numbers a row than the description says."""
    for keys, values in ((columns.obs, log.obs), (columns.action, log.action)):
        shapes = [features[key].get("shape") for key in keys]
        if not all(isinstance(s, list) and s and all(type(n) is int for n in s) for s in shapes):
            continue
        expected = sum(math.prod(shape) for shape in shapes)
        if expected != values.shape[1]:
            raise InputError(
                f"{source}: {shown(', '.join(keys))} {'has' if len(keys) == 1 else 'have'} "
                f"{values.shape[1]} numbers a row, meta/info.json says {expected}; expected as "
                "many; copy the folder again, or correct its description"
            )


def _count(info: dict, key: str) -> int | None:
    """A number of the description; None if it says none."""
    return info[key] if type(info.get(key)) is int else None


def _is_picture(feature: dict) -> bool:
    return feature.get("dtype") in ("video", "image")


def _notes(features: dict, columns: ColumnMap) -> list[str]:
    used = (*columns.obs, *columns.next_obs)
    left_out = [k for k in features if str(k).startswith("observation") and k not in used]
    notes = [f"observations left out: {shown(', '.join(left_out))}"] if left_out else []
    if columns.terminal is None and "next.done" in features:
        notes.append(
            "next.done is not taken as terminal (it marks the last row of an episode, however it "
            'ended): every episode ends truncated; terminal = "next.done" takes it'
        )
    return notes


def _splits(info: dict) -> list[str]:
    """A note on parts that were meant to be held out, which are read like the others."""
    splits, episodes = info.get("splits"), info.get("total_episodes")
    if not isinstance(splits, dict) or list(splits.values()) in ([], [f"0:{episodes}"]):
        return []
    told = ", ".join(f"{name} {part}" for name, part in splits.items())
    return [
        f"meta/info.json splits the episodes: {shown(told)}; all are read, those that were held "
        "out too; copy the files of the ones to learn from, if it shall be fewer"
    ]


def _entry_names(feature: dict) -> list[str]:
    """Of the entries of a list column; LeRobot has a list, or lists by kind of device."""
    names = feature.get("names")
    if isinstance(names, dict):
        names = [name for group in names.values() if isinstance(group, list) for name in group]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []
    return names
