"""A log of up to 100 million rows on disk: what converting it, opening it and drawing from it cost.

    python benchmarks/large_log.py --out docs/results/large-log.csv
    python benchmarks/large_log.py --rows 10000000 --updates 0 --folder /fast/disk

A log of pendulums is made slice by slice, as an HDF5 file as `moore convert` reads it. Each step
runs in a process of its own, whose memory is watched: what it has of its own (anonymous memory,
which the system cannot take back), without the pages of the file that the system keeps as long as
there is room. Draws from memory are those of a log of at most `row_file.ROOM` rows. Draws and
updates are in processor time, and everything for which the disk is waited for in wall-clock time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from processor import load, processor_name
from rows_file import write_rows

SIZES = (1_000_000, 10_000_000, 100_000_000)
COLUMNS = ("rows", "what", "value", "least", "most", "unit", "processor")
EPISODE = 200  # steps
_SLICE = 500_000  # rows that are made at a time
_BATCH = 256


def pendulums(rows: int, seed: int) -> dict[str, np.ndarray]:
    """Steps of Gymnasium's pendulums under random torques, in D4RL's layout; whole episodes."""
    rng = np.random.default_rng(seed)
    count = rows // EPISODE
    angle, speed = rng.uniform(-np.pi, np.pi, count), rng.uniform(-1, 1, count)
    obs, torque = np.empty((count, EPISODE + 1, 3), np.float32), np.empty((count, EPISODE, 1))
    reward = np.empty((count, EPISODE), np.float32)
    obs[:, 0] = np.stack([np.cos(angle), np.sin(angle), speed], axis=1)
    for step in range(EPISODE):
        u = rng.uniform(-2, 2, count)
        torque[:, step, 0] = u
        wrapped = (angle + np.pi) % (2 * np.pi) - np.pi
        reward[:, step] = -(wrapped**2 + 0.1 * speed**2 + 0.001 * u**2)
        speed = np.clip(speed + (15 * np.sin(angle) + 3 * u) * 0.05, -8, 8)
        angle = angle + speed * 0.05
        obs[:, step + 1] = np.stack([np.cos(angle), np.sin(angle), speed], axis=1)
    ends = np.zeros((count, EPISODE), bool)
    ends[:, -1] = True
    return {
        "observations": obs[:, :-1].reshape(-1, 3),
        "actions": torque.reshape(-1, 1).astype(np.float32),
        "rewards": reward.reshape(-1),
        "next_observations": obs[:, 1:].reshape(-1, 3),
        "terminals": np.zeros(rows, bool),
        "timeouts": ends.reshape(-1),
    }


def make(path: Path, rows: int) -> None:
    """Writes the log, slice by slice."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["env_id"] = "Pendulum-v1"
        for begin in range(0, rows, _SLICE):
            part = pendulums(min(_SLICE, rows - begin), begin)
            for key, values in part.items():
                if not begin:
                    shape = (rows, *values.shape[1:])
                    file.create_dataset(key, shape, values.dtype, chunks=(2**14, *shape[1:]))
                file[key][begin : begin + len(values)] = values


class Watched:
    """The largest anonymous memory of this process while it is open, in bytes."""

    def __enter__(self) -> "Watched":
        self.most, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, anonymous())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def anonymous() -> int:
    """Bytes of memory that belong to this process alone (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def convert(source: Path, rows: Path) -> list[dict[str, Any]]:
    from moore.formats.row_parts import parts_of_log
    from moore.formats.row_writer import write_rows

    begin = time.perf_counter()
    with Watched() as memory:
        count = write_rows(rows, parts_of_log(str(source)))["rows"]
    passed = time.perf_counter() - begin
    return [
        _row("convert", [count / passed / 1e6], "million rows/s"),
        _row("memory of converting", [memory.most / 1e9], "GB"),
        _row("on disk", [sum(f.stat().st_size for f in rows.iterdir()) / 1e9], "GB"),
    ]


def begin(rows: Path, updates: int) -> list[dict[str, Any]]:
    """Prepares IQL on the log, draws, and makes updates; with the log in memory if it fits."""
    import jax

    from moore.data import row_file
    from moore.experience.protocol import Moment
    from moore.presets import preset
    from moore.runs.setup import prepare

    config = preset("quick/pendulum", algorithm="iql")
    begin, found = time.perf_counter(), []
    with Watched() as memory:
        setup = prepare(config, dataset=str(rows), acts=False)
        found.append(_row("prepare a run", [time.perf_counter() - begin], "s"))
        learner = setup.learner
        state = learner.init(setup.key)
        experience = learner.experience
        now = Moment("offline", 1, state.agent, state.online)

        def draw(number: int) -> Any:
            batches = experience.batches(None, now, jax.random.key(number), 1000)
            return jax.block_until_ready(batches.log.data.reward)

        place = "disk" if learner.task.disk is not None else "memory"
        if learner.task.disk is not None:
            os.posix_fadvise(_descriptor(rows), 0, 0, os.POSIX_FADV_DONTNEED)
            cold = [_timed(lambda: draw(0), time.perf_counter)]
            found.append(_row("draws, nothing read before", _rates(cold, 1000), "million rows/s"))
            data = np.load(rows / row_file.ROWS, mmap_mode="r")
            for at in range(0, len(data), 2**20):
                data[at : at + 2**20]["reward"].sum()  # now the system keeps what it has room for
        else:
            draw = _from_memory(learner, now)
        taken = [_timed(lambda n=n: draw(n + 1)) for n in range(8)][1:]
        found.append(_row(f"draws from {place}", _rates(taken, 1000), "million rows/s"))
        if updates:
            taken = []
            for _ in range(5):
                begin = time.process_time()
                state, _ = learner.update(state, 1, updates)
                taken.append((time.process_time() - begin) / updates * 1e3)
            found.append(_row(f"updates from {place}", taken[1:], "ms"))
    found.append(_row("memory of a run", [memory.most / 1e9], "GB"))
    return found


def _from_memory(learner: Any, now: Any) -> Callable[[int], Any]:
    """Draws and gathers on the device, as the compiled loop of updates does."""
    import jax

    from moore.replay.sampler import gather

    gathered = jax.jit(lambda off, on, rows: gather(off, on, rows.reshape(-1)))

    def draw(number: int) -> Any:
        batches = learner.experience.batches(None, now, jax.random.key(number), 1000)
        return jax.block_until_ready(gathered(learner.offline, now.online, batches.planned))

    return draw


def _descriptor(rows: Path) -> int:
    return os.open(rows / "rows.npy", os.O_RDONLY)


def _timed(call: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> float:
    begin = clock()
    call()
    return clock() - begin


def _rates(seconds: list[float], batches: int) -> list[float]:
    return [_BATCH * batches / second / 1e6 for second in seconds]


def _row(what: str, values: list[float], unit: str) -> dict[str, Any]:
    digits = {"value": statistics.median(values), "least": min(values), "most": max(values)}
    return {"what": what, "unit": unit} | {k: float(f"{v:.3g}") for k, v in digits.items()}


def measured(rows: int, folder: Path, updates: int) -> list[dict[str, Any]]:
    """All measurements of a log of so many rows, which is deleted afterwards."""
    found = []
    with tempfile.TemporaryDirectory(dir=folder) as made:
        source, target = Path(made) / "made.hdf5", Path(made) / "made.rows"
        make(source, rows)
        for step in (["convert", str(source), str(target)], ["begin", str(target), str(updates)]):
            command = [sys.executable, __file__, "--step", *step]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found += json.loads(done.stdout.splitlines()[-1])
            source.unlink(missing_ok=True)
    return [{"rows": rows, **row, "processor": processor_name()} for row in found]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--updates", type=int, default=1000, help="updates in a call; 0: none")
    parser.add_argument("--folder", type=Path, help="where the logs are made; 60 bytes a row")
    parser.add_argument("--out", type=Path, help="CSV to write")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, *given = options.step
        rows = (
            convert(*map(Path, given))
            if name == "convert"
            else begin(Path(given[0]), int(given[1]))
        )
        print(json.dumps(rows))
        return
    print(load(), file=sys.stderr)
    rows = [row for size in options.rows for row in measured(size, options.folder, options.updates)]
    if options.out is not None:
        write_rows(options.out, COLUMNS, rows)
    for row in rows:
        print(f"{row['rows']:>12,}  {row['what']:<28} {row['value']:>8g} {row['unit']}")


if __name__ == "__main__":
    main()
