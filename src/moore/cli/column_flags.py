"""Flags that say which columns of a table are what, for convert and inspect."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from moore.cli.parse import words

if TYPE_CHECKING:
    from moore.formats.column_map import ColumnMap

_FUNCTION = re.compile(r"\w+(\.\w+)*:\w+")
_LISTS = ("obs", "action", "next_obs")


@dataclass(frozen=True)
class ColumnFlags:
    """Which columns of a CSV, Parquet, MATLAB, robomimic or LeRobot log are what.

    Attributes:
        columns: a column map (TOML, see docs/logs.md); by default the one beside the log. The flags
            below, which are its keys, prevail over it.
        obs: columns of the observation, with commas between them.
        action: columns of the action.
        next_obs: columns of the true successor; by default it is the next row of the episode.
        reward: column of the reward, or module:function(obs, action, next_obs) that computes it,
            for logs of any kind.
        episode: column that names the episode.
        continues: whether the process goes on from one episode to the next, so that the first row
            of the next one is the successor of the last row, if the time says so.
        time: column of the time; a gap in it ends the episode.
        terminal: column of flags that are set where the system itself ended the episode.
        timeout: column of flags that are set where the episode was cut, by a time limit for
            instance.
        reward_of: "row" if each row holds the reward of its own action, "next" if that reward is in
            the following row.
        terminal_of: the same choice for the two columns of flags; by default as reward_of.
        episode_rows: cut a continuous log into episodes of this many rows.
        window: cut a continuous log into episodes of this duration, such as "1 day".
        gap_tolerance: a gap ends the episode if its interval differs from the usual one by more
            than this share; by default 0.5.
        filter_key: a list of demonstrations in robomimic's file (below mask/), such as train; only
            these are read.
    """

    columns: Path | None = None
    obs: str | None = None
    action: str | None = None
    next_obs: str | None = None
    reward: str | None = None
    episode: str | None = None
    continues: bool | None = None
    time: str | None = None
    terminal: str | None = None
    timeout: str | None = None
    reward_of: str | None = None
    terminal_of: str | None = None
    episode_rows: int | None = None
    window: str | None = None
    gap_tolerance: float | None = None
    filter_key: str | None = None


class ReadingArguments(TypedDict):
    """Two of the arguments of `read_log`, and of whatever reads a log with its help."""

    columns: "Path | ColumnMap | None"
    reward: str | None


def reading_of(options: ColumnFlags, source: str) -> ReadingArguments:
    """The arguments `columns` and `reward` of `read_log`."""
    keys = [f.name for f in fields(ColumnFlags) if f.name != "columns"]
    flags = {key: getattr(options, key) for key in keys if getattr(options, key) is not None}
    reward = None
    if _FUNCTION.fullmatch(flags.get("reward", "")):
        reward = flags.pop("reward")
    flags |= {key: words(flags[key]) for key in _LISTS if key in flags}
    if not flags:
        return {"columns": options.columns, "reward": reward}
    from moore.formats.column_map import make_map

    return {"columns": make_map(source, options.columns, flags), "reward": reward}
