"""Reads the log of a live session as a log like any other.

Every step that was measured completely is a row. Rows of one unit stand together; an episode is cut
where a step was lost, was not measured, or has no reward yet.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from moore.data.log import Log, hash_file, with_notes
from moore.errors import InputError
from moore.formats.column_map import ColumnMap
from moore.formats.live_records import Records
from moore.formats.live_steps import Step, Steps, Unit, vector


def read_live_log(
    source: str, columns: ColumnMap, *, exact: bool = False, own_reward: bool = False
) -> Log:
    """The rows of a session's log.

    Args:
        source: the folder.
        columns: must be empty, for the records have fixed names.
        exact: makes no difference, for the arrays are float32.
        own_reward: makes no difference: rows without a reward are left out nevertheless.

    Raises:
        InputError: the log is damaged, or holds no step that was measured completely.
    """
    del exact, own_reward
    if columns.content:
        raise InputError(
            f"{source}: a column map is given, but the records of a session have fixed names; "
            "leave it out"
        )
    records = Records(Path(os.path.expanduser(source)))
    steps = Steps()
    units: defaultdict[Unit, _Rows] = defaultdict(_Rows)
    for record in records:
        steps.patience = records.header["patience"]
        done = list(steps.take(record))
        if record["kind"] == "act":
            units.setdefault(record["unit"], _Rows())  # in the order of their first steps
        for step in done:
            units[step.unit].add(step)
    pending = sum(not step.settled for left in steps.open.values() for step in left)
    for unit, left in steps.open.items():
        for step in left:
            step.lost = step.lost or not step.settled
            units[unit].add(step)
    rows = [step for unit in units.values() for step in unit.rows]
    if not rows:
        raise InputError(
            f"{source}: none of its {steps.last} steps was measured completely (observation, "
            "action, reward and next observation); expected at least one; record more"
        )
    dropped = sum(unit.dropped for unit in units.values()) - pending
    notes = [*records.notes, *_told(dropped, pending)]
    header = records.header
    returns = [total for unit in units.values() for total in unit.returns]
    about = {"units": list(units), "policies": _policies(rows)}
    digest = hashlib.sha256("".join(hash_file(file) for file in records.files()).encode())
    statistics = _statistics(returns)
    return Log(
        obs=np.stack([step.obs for step in rows]),
        action=np.stack([step.action for step in rows]),
        reward=np.asarray([step.reward for step in rows], np.float32),
        terminated=np.asarray([step.terminated for step in rows]),
        truncated=np.concatenate([unit.cuts for unit in units.values()]).astype(bool),
        next_obs=np.stack([step.next_obs for step in rows if step.next_obs is not None]),
        name=source,
        env_id=header["env_id"] or None,
        sha256=digest.hexdigest(),
        infos=_infos(rows, about),
        metadata=with_notes({"session": about}, notes),
        episode_returns=statistics.get("episode_returns"),
        episode_lengths=statistics.get("episode_lengths"),
    )


@dataclass
class _Rows:
    """The rows of one unit.

    Attributes:
        rows: steps that were measured completely.
        cuts: for each of them whether the episode is cut after it; so it is after the last one.
        returns: sums of rewards and numbers of steps of complete episodes.
        dropped: number of steps that are no rows.
    """

    rows: list[Step] = field(default_factory=list)
    cuts: list[bool] = field(default_factory=list)
    returns: list[tuple[float, int]] = field(default_factory=list)
    dropped: int = 0
    _episode: list[float] = field(default_factory=list)
    _complete: bool = True
    _follows: bool = False

    def add(self, step: Step) -> None:
        if step.whole:
            if self._follows:
                self.cuts[-1] = False
            self.rows.append(step)
            self.cuts.append(not step.terminated)
            self._episode.append(step.reward or 0.0)
        else:
            self.dropped += step.number > 0
            self._complete = False
        self._follows = step.whole and not step.ends
        if step.ends:
            if self._complete:
                self.returns.append((sum(self._episode), len(self._episode)))
            self._episode, self._complete = [], True


def _told(dropped: int, pending: int) -> list[str]:
    notes = []
    if dropped:
        notes.append(f"{dropped} steps were lost or not measured completely; they are left out")
    if pending:
        notes.append(f"{pending} steps wait for their reward or successor; they are left out")
    return notes


def _policies(rows: Iterable[Step]) -> list[str]:
    return list(dict.fromkeys(step.policy for step in rows if step.policy is not None))


def _infos(rows: list[Step], about: dict) -> dict[str, np.ndarray]:
    """What else is known of every row; NaN or -1 stands for nothing."""
    policies: dict[str | None, int] = {name: i for i, name in enumerate(about["policies"])}
    units: dict[Unit, int] = {unit: i for i, unit in enumerate(about["units"])}
    density = [np.nan if step.log_density is None else step.log_density for step in rows]
    gate = [-1 if step.gate is None else int(step.gate) for step in rows]
    found = {
        "log_density": np.asarray(density),
        "policy": np.asarray([policies.get(step.policy, -1) for step in rows]),
        "gate": np.asarray(gate),
        "unit": np.asarray([units[step.unit] for step in rows]),
        "step": np.asarray([step.number for step in rows]),
    }
    return found | (_decisions(rows) if any(step.decision for step in rows) else {})


def _decisions(rows: list[Step]) -> dict[str, np.ndarray]:
    """Where a controller stood by: who acted (0 the old one, 1 the new policy), and both actions.

    -1 and NaN stand for nothing. What was sent may be neither: a transfer, an interlock.
    """
    nothing = [None] * len(rows[0].action)
    told = [step.decision or {} for step in rows]
    return {
        "actor": np.asarray([("old", "new").index(x["actor"]) if x else -1 for x in told]),
        "old_action": np.stack([vector(x.get("old") or nothing) for x in told]),
        "new_action": np.stack([vector(x.get("new") or nothing) for x in told]),
    }


def _statistics(returns: list[tuple[float, int]]) -> dict[str, np.ndarray]:
    """Of the complete episodes; without any, every uncut stretch counts as one."""
    if not returns:
        return {}
    totals, counts = zip(*returns, strict=True)
    return {"episode_returns": np.asarray(totals), "episode_lengths": np.asarray(counts)}
