"""One day of the plant, with all its processes, and the picture of that day.

    python day.py --out runs/plant --seed 11

First it prepares what is missing in OUT (prepare.sh). Then it starts the plant, the session and the
live page, waits until the day is over, and draws it: OUT/day-SEED has the session, the trend and
the picture. At 14:10 the wire of the jacket's sensor comes loose, so that it reads 20 °C; at 16:30
it is mended.
"""

import argparse
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from picture import draw, read_trend
from plant import fault_of

HERE = Path(__file__).parent
FAULT = "jacket_reads_C=20@850-990"


def environment() -> dict[str, str]:
    """Variables by which the processes find this Python, its commands and this example."""
    found = dict(os.environ)
    for name, path in (("PATH", Path(sys.executable).parent), ("PYTHONPATH", HERE)):
        found[name] = os.pathsep.join(filter(None, (str(path), found.get(name))))
    return found


def started(stack: ExitStack, *words: str | Path) -> tuple[subprocess.Popen, str]:
    """A process of this Python that ends with the stack, and the first line that it prints."""
    command = [sys.executable, *map(str, words)]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"{' '.join(command)} did not start")
    return process, line


def play(prepared: Path, out: Path, *, seed: int, batches: int, fault: str) -> None:
    """Plays a day.

    Args:
        prepared: the folder with the log and the offline run.
        out: a new folder for the session and the trend.
        seed: seed of the plant.
        batches: number of hours.
        fault: what breaks; see plant.py.
    """
    out.mkdir()
    with ExitStack() as stack:
        _, told = started(
            stack, HERE / "plant.py", "--port", "0", "--seed", str(seed), "--fault", fault
        )
        print(told)
        session, told = started(
            stack, HERE / "operate.py", "--plant", told.split()[0], "--batches", str(batches),
            "--run", prepared / "offline", "--log", prepared / "log.hdf5",
            "--limits", prepared / "limits.toml",
            "--out", out / "session", "--trend", out / "trend.csv",
        )  # fmt: skip
        print(told)
        print(started(stack, "-m", "moore", "watch", out / "session", "--port", "0")[1])
        for line in session.stdout or ():
            print(line, end="", flush=True)
        if session.wait():
            raise RuntimeError("the session has failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/plant"))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--fault", default=FAULT, help="what breaks, and in which minutes")
    args = parser.parse_args()
    try:
        prepared, fault = args.out.absolute(), fault_of(args.fault)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    out = prepared / f"day-{args.seed}"
    if out.exists():
        parser.error(f"{out} is there already; remove it, or play another day with --seed")
    subprocess.run(["sh", "prepare.sh", prepared], cwd=HERE, env=environment(), check=True)
    play(prepared, out, seed=args.seed, batches=args.batches, fault=args.fault)
    broken_h = fault.begin / 60.0, fault.end / 60.0
    draw(read_trend(out / "trend.csv"), out / "day.png", broken_h=broken_h)
    print(out / "day.png")


if __name__ == "__main__":
    main()
