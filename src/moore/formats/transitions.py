"""Makes a log from the rows of a table: which row follows which, and where episodes end.

Row t holds an observation and the action taken in it; its successor is the next row of the same
episode. An episode ends at a border (label, file, flag, window), at a gap or an irregular interval
of the time, and before a row without observation, so that no transition spans one of these. Two
borders only cut, because the process goes on over them: that of a window, and that of a label where
the map says `continues`. There the next row is the successor all the same.
"""

from dataclasses import dataclass, replace

import numpy as np

from moore.data.checks import blocks
from moore.data.cuts import unflagged_ends
from moore.data.intervals import ROW_SECONDS, span
from moore.data.log import Log
from moore.errors import InputError
from moore.formats.column_map import ColumnMap
from moore.formats.rows import TableRows
from moore.formats.sampling import (
    check_increasing,
    describe_intervals,
    measure_intervals,
    window_numbers,
)
from moore.numbers import counted

_FEW_INTERVALS = 20  # have no usual one


@dataclass(frozen=True)
class Names:
    """The names of the columns, one for each dimension."""

    obs: list[str]
    action: list[str]
    units: dict[str, str]

    @property
    def metadata(self) -> dict[str, object]:
        found: dict[str, object] = {"obs_names": self.obs, "action_names": self.action}
        for key, columns in (("obs_units", self.obs), ("action_units", self.action)):
            if any(column in self.units for column in columns):
                found[key] = [self.units.get(column, "") for column in columns]
        return found


def make_log(
    rows: TableRows, columns: ColumnMap, names: Names, *, name: str, notes: list[str], ends: bool
) -> Log:
    """Makes the log, without its hash.

    Args:
        rows: the rows; the content of their arrays may be destroyed.
        columns: the roles of the columns.
        names: names of the observation and action dimensions.
        name: name of the log.
        notes: the reader's notes so far.
        ends: whether the last row ends its episode.

    Raises:
        InputError: times do not increase, an episode goes on after its flag, or no row is left.
    """
    notes = notes + _missing(rows, columns, names)
    used = np.flatnonzero(rows.has_obs)
    if len(used) == 0:
        raise InputError(_nothing_left(name, rows, notes))

    def where(at: int) -> str:
        return rows.where(int(used[at]))

    begins, follows, usual, found = _borders(rows, columns, used, where, name)
    notes += found
    last, followed = np.append(begins[1:], True), np.append(follows[1:], False)
    plain = rows.next_obs is None and columns.reward_of == columns.flags_of == "row"
    complete = rows.has_action & rows.has_reward & rows.has_flags
    if plain and complete[used].all() and not (last & followed).any():
        log = _every_row(rows, used, last, name)
    else:
        log, found = _known_pairs(rows, columns, used, last, followed, where, name)
        notes += found
    if log.size == 0:
        raise InputError(_nothing_left(name, rows, notes))
    lost = int(rows.terminal[used].sum() - log.terminated.sum())
    if lost:
        notes.append(
            f"{lost:,} rows flagged terminal end no transition: a gap, a missing value or the "
            "begin of an episode lies before them"
        )
    if not ends and len(used) == rows.size and not log.terminated[-1] and not rows.timeout[-1]:
        assert log.truncated is not None  # it was found above
        log.truncated[-1] = False
    metadata = names.metadata | {"columns": columns.content, "notes": notes}
    metadata |= {} if usual is None else {ROW_SECONDS: usual}
    if rows.next_obs is None and log.next_obs is not None:
        signs = unflagged_ends(replace(log, next_obs=None), log.terminated | log.truncated)
        metadata |= {"unflagged_ends": signs} if signs else {}
    if rows.windows is not None:
        goes_on = np.zeros(rows.size, bool)
        goes_on[used[:-1]] = ~last[:-1] & (np.diff(used) == 1)
        if rounded := rows.windows.lost(goes_on):
            metadata["float32"] = rounded
    return Log(**{**vars(log), "env_id": columns.env_id, "metadata": metadata})


def _borders(
    rows: TableRows, columns: ColumnMap, used: np.ndarray, where, name: str
) -> tuple[np.ndarray, np.ndarray, float | None, list[str]]:
    """Which of the used rows begin an episode, and which are the successors of the row before.

    Returns:
        (m,) bool: rows that do not continue an episode; (m,) bool: rows that follow the one before,
        be it the last of an episode; the usual seconds between two rows, if that is known; and
        notes.
    """
    notes, usual = [], None
    episode = np.cumsum(rows.first)[used]  # by label and file
    begins = np.append(True, episode[1:] != episode[:-1])
    flagged = (rows.terminal | rows.timeout)[used]
    after = np.append(False, flagged[:-1])
    inside = ~begins
    if columns.episode is not None and (after & inside).any():
        row = int((after & inside).argmax())
        raise InputError(
            f"{name}: {where(row)} goes on with the same {columns.episode}, after a row that is "
            f"flagged as the episode's end ({int((after & inside).sum())} such rows); expected no "
            "rows of an episode after its end; leave out the rows or the column of flags"
        )
    begins |= after
    consecutive = np.append(False, np.diff(used) == 1)
    adjacent, joined = ~begins & consecutive, np.zeros(len(used), bool)
    if rows.time is not None:
        time = rows.time[used]
        check_increasing(time, ~begins, where, name=name, column=columns.time or "the time")
        intervals = measure_intervals(
            time, adjacent, tick=rows.tick, tolerance=columns.gap_tolerance
        )
        if intervals is not None:
            notes += describe_intervals(intervals, where)
            adjacent &= ~intervals.breaks
            usual = intervals.usual if intervals.count >= _FEW_INTERVALS else None
        if intervals is not None and columns.continues:
            joined = consecutive & ~after & ~adjacent & intervals.usual_before(time, rows.tick)
    starts = begins.copy()
    begins, follows = ~adjacent, adjacent | joined
    if columns.window is not None:
        notes.append(f"cut into windows of {span(columns.window)}, each ends truncated")
        window = window_numbers(time, starts, tick=rows.tick, seconds=columns.window)
        begins |= np.append(True, window[1:] != window[:-1])
    if columns.episode_rows is not None:
        notes.append(f"cut into windows of {columns.episode_rows} rows, each ends truncated")
        first = np.flatnonzero(begins)
        length = np.diff(np.append(first, len(used)))
        begins |= (np.arange(len(used)) - np.repeat(first, length)) % columns.episode_rows == 0
    return begins, follows, usual, notes


def _every_row(rows: TableRows, used: np.ndarray, last: np.ndarray, name: str) -> Log:
    """The log without stored successors; each one is the next row's observation."""
    terminated = rows.terminal[used]
    return Log(
        obs=_take(rows.obs, used),
        action=_take(rows.action, used),
        reward=np.full(len(used), np.nan) if rows.reward is None else _take(rows.reward, used),
        terminated=terminated,
        truncated=last & ~terminated,
        next_obs=None,
        name=name,
    )


def _known_pairs(
    rows: TableRows,
    columns: ColumnMap,
    used: np.ndarray,
    last: np.ndarray,
    followed: np.ndarray,
    where,
    name: str,
) -> tuple[Log, list[str]]:
    """The rows with a complete transition, with their successors, and notes on the others.

    `last` are the last rows of episodes, `followed` the rows whose successor is the next row.
    """
    after = np.append(used[1:], used[-1])  # of the row before an end: never asked
    terminal, has_flags = rows.terminal[used], rows.has_flags[used]
    reward, has_reward = rows.reward, rows.has_reward[used]
    if columns.flags_of == "next":
        terminal, has_flags = rows.terminal[after] & followed, rows.has_flags[after] & followed
    elif (terminal & ~rows.has_action[used]).any():
        row = int((terminal & ~rows.has_action[used]).argmax())
        raise InputError(
            f"{name}: {where(row)} is flagged terminal and has no action; expected the action that "
            "ended the episode; if the flag is of the state that was reached, say terminal_of = "
            '"next"'
        )
    if rows.reward is not None:
        reward = rows.reward[after if columns.reward_of == "next" else used]
        if columns.reward_of == "next":
            has_reward = rows.has_reward[after] & followed
    known = followed if rows.next_obs is None else rows.has_next[used]
    keep = rows.has_action[used] & has_reward & has_flags & (known | terminal)
    at = np.flatnonzero(keep)
    obs = _take(rows.obs, used[at])
    if rows.next_obs is None:
        next_obs = _take(rows.obs, after[at])
    else:
        next_obs = _take(rows.next_obs, used[at])
    next_obs[~known[at]] = obs[~known[at]]
    follows = np.append(~last[at[:-1]] & (np.diff(at) == 1), False)
    lost = int(((known | terminal) & ~keep).sum())
    notes = [f"{lost:,} rows with a successor miss a value and are no transitions"] if lost else []
    log = Log(
        obs=obs,
        action=_take(rows.action, used[at]),
        reward=np.full(len(at), np.nan) if reward is None else reward[at],
        terminated=terminal[at],
        truncated=~follows & ~terminal[at],
        next_obs=next_obs,
        successor_known=None if known[at].all() else known[at],
        name=name,
    )
    return log, notes


def _take(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return values if len(rows) == len(values) else values[rows]


def _missing(rows: TableRows, columns: ColumnMap, names: Names) -> list[str]:
    """Notes on the missing values of each column, and on what happens to their rows."""
    found = []
    matrices = [(rows.obs, names.obs), (rows.action, names.action)]
    if rows.next_obs is not None:
        matrices.append((rows.next_obs, list(columns.next_obs) or names.obs))
    if rows.reward is not None:
        matrices.append((rows.reward[:, None], [columns.reward or "reward"]))
    for values, columns_of in matrices:
        count, first = np.zeros(values.shape[1], int), np.zeros(values.shape[1], int)
        for block in blocks(len(values), values[:1].nbytes):
            wrong = np.isnan(values[block])
            new = (count == 0) & wrong.any(axis=0)
            first[new] = block.start + wrong.argmax(axis=0)[new]
            count += wrong.sum(axis=0)
        found += [(columns_of[i], int(count[i]), int(first[i])) for i in np.flatnonzero(count)]
    flags = " or ".join(c for c in (columns.terminal, columns.timeout) if c)
    for there, column in (
        (rows.has_time, columns.time or "time"),
        (rows.has_label, columns.episode or "episode"),
        (rows.has_flags, flags or "flags"),
    ):
        if not there.all():
            found.append((column, int((~there).sum()), int(there.argmin())))
    notes = [
        f"{column} has no finite value in {counted(count, 'row')} (first: {rows.where(row)})"
        for column, count, row in found
    ]
    without = int((~rows.has_obs).sum())
    if without:
        notes.append(
            f"{without:,} of {rows.size:,} rows have no observation, time or episode: the episode "
            "ends before each of them (truncated), and no transition spans one"
        )
        lost = int((rows.terminal & ~rows.has_obs).sum())
        if lost:
            notes.append(
                f"{lost:,} of them {'is' if lost == 1 else 'are'} flagged terminal: these ends "
                "count as truncated"
            )
    return notes


def _nothing_left(name: str, rows: TableRows, notes: list[str]) -> str:
    told = f" ({'; '.join(notes)})" if notes else ""
    return (
        f"{name}: no transition in {rows.size} rows{told}; expected rows with a value in every "
        "column of the map, each followed by one of the same episode; leave out columns that are "
        "mostly empty, or repair the log"
    )
