"""Counts what is told of actions that overflowed, of clipped rewards, and of second logs.

The systems are those of `rows_out_of_place.py`. One action entry is stored in eight bits and
overflows; beside it stand logs that are sound: the action fits into its type, or is cut at its end;
the reward has a limit in all rows; and the episodes of one log are two logs of the same system,
those before and after, or the calm and the rough ones.
"""

import argparse
import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from rows_out_of_place import KINDS

from moore.data.dataset import Dataset, from_log
from moore.data.log import Log
from moore.findings.clipped_rewards import clipped_rewards
from moore.findings.two_logs import changed_between
from moore.findings.wrapped_actions import wrapped_actions

ROWS, LENGTH = 3000, 100
REPORTED = 3000  # the first seed of the table in docs/results; not looked at before
COLUMNS = ("system", "logs", "overflowed", "sound_actions", "false_actions", "sound_rewards",
           "false_rewards", "pairs", "false_pairs")  # fmt: skip


def eight_bits(log: Log) -> tuple[np.ndarray, list[np.ndarray]]:
    """The first action entry as it overflows; and all as they fit, and as they are cut."""
    most = np.abs(log.action).max(axis=0) + 1e-9
    fits, cut = np.rint(127.4 * log.action / most), np.rint(160 * log.action / most)
    action = log.action.copy()
    action[:, 0] = cut[:, 0].astype(int).astype(np.int8)
    return action, [fits.astype(np.float32), np.clip(cut, -128, 127).astype(np.float32)]


def two_logs(log: Log) -> list[tuple[Dataset, Dataset]]:
    """The episodes of a log as two: those before and after, and the worse and the better half."""
    data, episode = from_log(log), np.arange(log.size) // LENGTH
    earned = log.reward.reshape(-1, LENGTH).sum(axis=1)
    halves = (np.arange(len(earned)) < len(earned) // 2, earned < np.median(earned))
    return [(_rows(data, half[episode]), _rows(data, ~half[episode])) for half in halves]


def _rows(data: Dataset, rows: np.ndarray) -> Dataset:
    keys = ("obs", "action", "reward", "next_obs", "terminated", "truncated", "successor_known")
    return replace(data, **{key: getattr(data, key)[rows] for key in keys})


def told_of(log: Log) -> dict[str, int]:
    """What is told of one log, in counts."""
    ends = log.terminated | log.truncated
    overflowed, sound = eight_bits(log)
    low, high = np.quantile(log.reward, (0.3, 0.6))
    rewards = (log.reward, np.maximum(log.reward, low), np.minimum(log.reward, high))
    pairs = two_logs(log)
    return {
        "overflowed": bool(wrapped_actions(replace(log, action=overflowed), ends)),
        "sound_actions": len(sound),
        "false_actions": sum(
            bool(wrapped_actions(replace(log, action=action), ends)) for action in sound
        ),
        "sound_rewards": len(rewards),
        "false_rewards": sum(bool(clipped_rewards(reward, ends)) for reward in rewards),
        "pairs": len(pairs),
        "false_pairs": sum(bool(changed_between(one, other)) for one, other in pairs),
    }


def measure(kind: str, seeds: range) -> dict[str, object]:
    """A line of the CSV."""
    found = [told_of(KINDS[kind](np.random.default_rng(seed), ROWS, LENGTH)) for seed in seeds]
    return {
        "system": kind,
        "logs": len(found),
        **{key: sum(map(int, (one[key] for one in found))) for key in found[0]},
    }


def main() -> None:
    """Writes the table, a line at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="CSV; default: standard output")
    parser.add_argument("--seeds", type=int, default=4, help="systems of each kind")
    parser.add_argument("--first", type=int, default=REPORTED, help="the first seed")
    asked = parser.parse_args()
    with open(asked.out, "w", newline="") if asked.out else sys.stdout as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for kind in KINDS:
            table.writerow(measure(kind, range(asked.first, asked.first + asked.seeds)))
            file.flush()


if __name__ == "__main__":
    main()
