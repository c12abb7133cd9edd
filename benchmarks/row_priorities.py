"""Priorities that differ from row to row against the two-group sampler, at 2 million rows.

    python benchmarks/row_priorities.py

Times a draw of rollout starts, the gathering of their transitions, and both, for each; and what a
refresh of the priorities costs, which happens at every refit. Calls take turns; medians.
"""

import argparse
import statistics
import time

import jax
import numpy as np

from moore.replay.buffer import Replay, Transition, full_replay
from moore.replay.draws import Groups, each_row
from moore.replay.priorities import RowScheme
from moore.replay.sampler import gather
from moore.replay.schemes import moore

OBS, ACTION, ONLINE = 11, 3, 100_000


def buffers(rows: int) -> tuple[Replay, Replay]:
    """Random logs of Hopper's sizes."""
    rng = np.random.default_rng(0)

    def transitions(count: int) -> Transition:
        return Transition(
            obs=rng.normal(size=(count, OBS)).astype(np.float32),
            action=rng.uniform(-1, 1, (count, ACTION)).astype(np.float32),
            reward=rng.normal(size=count).astype(np.float32),
            next_obs=rng.normal(size=(count, OBS)).astype(np.float32),
            terminated=np.zeros(count, bool),
            truncated=np.arange(count) % 1000 == 999,
        )

    def full(count: int) -> Replay:
        known = np.ones(count, bool)
        key = jax.random.key(0)
        return full_replay(transitions(count), known, key, holdout_fraction=0.2, max_holdout=1000)

    return full(rows - ONLINE), full(ONLINE)


def newest_first(d, t):
    """A priority function as a user might write it."""
    return np.where(d.online, 1.0, 1.0 / t) / (1.0 + d.age / len(d.age))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    offline, online = buffers(args.rows)
    scheme = RowScheme("newest_first", newest_first)
    rowwise = each_row(scheme, 3, offline, online, ONLINE)
    samplers = {"two groups": Groups(moore(1.0), 3, offline, online), "each row": rowwise}
    gathered = jax.jit(gather)
    print(f"{args.rows:,} rows, medians of {args.repeats}, ms")
    for count in (256, 10_000, 100_000):
        times: dict[tuple[str, str], list[float]] = {}
        for repeat in range(args.repeats + 1):
            for name, sampler in samplers.items():
                start = time.perf_counter()
                rows = jax.block_until_ready(sampler.rows(jax.random.key(repeat), (count,)))
                drawn = time.perf_counter()
                jax.block_until_ready(gathered(offline, online, rows))
                end = time.perf_counter()
                if repeat:  # the first call compiles
                    times.setdefault((name, "draw"), []).append(drawn - start)
                    times.setdefault((name, "gather"), []).append(end - drawn)
                    times.setdefault((name, "both"), []).append(end - start)
        for name in samplers:
            medians = [
                f"{part} {1e3 * statistics.median(times[name, part]):7.3f}"
                for part in ("draw", "gather", "both")
            ]
            print(f"{count:8,} {name:11}", *medians)
    start = time.perf_counter()
    each_row(scheme, 4, offline, online, ONLINE)
    print(f"refresh {1e3 * (time.perf_counter() - start):.0f} ms")


if __name__ == "__main__":
    main()
