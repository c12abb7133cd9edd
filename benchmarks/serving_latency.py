"""How long calls of `moore serve` take over this machine's loopback, for the client.

    python benchmarks/serving_latency.py --steps 5000
    python benchmarks/serving_latency.py --steps 5000 --pause 0.05 --learn-between

The policy is that of `session_latency.py`: 17 observations, 6 actions, two layers of 256. The
server is a process of its own. A request that was refused because learning took longer than the
server's patience is counted, and asked again. Beside the clock on the wall there is the work of
both processes (Linux), which other processes on the machine do not lengthen.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from session_latency import OBS, SHARES, finished_run

from moore.serving.client import Client, ServerError


def serving(run: Path, folder: Path, *more: str) -> tuple[subprocess.Popen, str]:
    """A server, and its address."""
    command = [sys.executable, "-m", "moore", "serve", str(run), "--port", "0", *more]
    command += ["--accept", "hand-over", "--max-rate", "1000000", "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if not line:
        raise SystemExit("the server has not started")
    return process, line.split()[0]


def work(process: subprocess.Popen) -> tuple[float, float]:
    """Seconds that this process and the server have worked so far."""
    words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time(), (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Times calls."""

    def __init__(self):
        self.times, self.busy = defaultdict(list), 0

    def __call__(self, name: str, call, *args, **kwargs):
        while True:
            begin = time.perf_counter()
            try:
                found = call(*args, **kwargs)
            except ServerError as error:
                if error.code != "busy":
                    raise
                self.busy += 1
                continue
            self.times[name].append(time.perf_counter() - begin)
            return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two cycles")
    parser.add_argument("--learn-between", action="store_true")
    args = parser.parse_args()
    print(f"load of the last minute: {os.getloadavg()[0]:.1f}", file=sys.stderr)
    rng, watch = np.random.default_rng(1), Watch()
    with tempfile.TemporaryDirectory() as place:
        more = ("--learn-between",) * args.learn_between
        process, address = serving(finished_run(Path(place)), Path(place) / "session", *more)
        with Client(address, timeout=300) as client:
            if args.learn_between:  # the programs of learning are compiled before the clock runs
                client.act(rng.normal(size=OBS))
                client.observe(reward=0.0, next_obs=rng.normal(size=OBS), truncated=True)
                client.learn(updates=2)
            before = work(process)
            for step in range(args.steps):
                obs, next_obs = rng.normal(size=(2, OBS)).tolist()
                end = step % 100 == 99
                act = client.act_binary if step % 2 else client.act
                watch("act, binary" if step % 2 else "act, JSON", act, obs)
                told = {"reward": 0.0, "next_obs": next_obs, "truncated": end}
                watch("observe, JSON", client.observe, **told)
                time.sleep(args.pause)
            worked = 1e3 * np.subtract(work(process), before) / args.steps
            updates = client.status()["updates"]
        process.terminate()
        assert process.wait() == 0
    print("| call | median | 99% | 99.9% |\n|---|---|---|---|")
    for name in sorted(watch.times):
        found = 1e3 * np.quantile(watch.times[name], SHARES)
        print(f"| {name} | " + " | ".join(f"{value:.2f} ms" for value in found) + " |")
    print(f"Work of a cycle: {worked[0]:.2f} ms in the client, {worked[1]:.2f} ms in the server.")
    print(f"{updates} updates meanwhile, {watch.busy} requests were refused as busy.")


if __name__ == "__main__":
    main()
