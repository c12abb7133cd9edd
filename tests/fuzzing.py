"""Asks the process that reads damaged files, and outlives it; thousands of cases by seed.

python tests/fuzzing.py FIRST COUNT    # runs the seeds FIRST, FIRST + 1, ...
"""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_bases import bases
from fuzz_cases import Dice, draw_case, kind_of

WORKER = Path(__file__).with_name("fuzz_worker.py")
LONGEST_WAIT = 1200  # s; the worker itself counts processor time
FINAL = (b'{"end": "dataset"', b'{"end": "refused"', b'{"end": "failed"', b'{"end": "crashed"')
FINAL += (b'{"end": "hung"',)
CASES_OF_A_WORKER = 2000  # then a new one


class Reader:
    """The other process: started on the first case; its child is a new one after a crash."""

    def __init__(self):
        self._process = None
        self._asked = 0

    def ask(self, case: dict) -> dict:
        """The outcome; `end` is "crashed" or "hung" where there came none."""
        if self._process is None or self._asked >= CASES_OF_A_WORKER:
            self.close()
            self._start()
        self._asked += 1
        self._process.stdin.write(json.dumps(case).encode() + b"\n")
        self._process.stdin.flush()
        answer = b""
        while not (lines := answer.split(b"\n"))[-2:][0].startswith(FINAL):
            answer += self._read()
        outcome = json.loads(lines[-2])
        if outcome["end"] in ("crashed", "hung"):
            return _died(lines, outcome)
        return outcome

    def _read(self) -> bytes:
        waiting = select.select([self._process.stdout], [], [], LONGEST_WAIT)[0]
        part = os.read(self._process.stdout.fileno(), 2**16) if waiting else b""
        if not part:
            raise RuntimeError(f"the worker ended, or stands: {self._process.poll()}")
        return part

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
        self._process = None

    def _start(self):
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
            start_new_session=True,  # with its child
        )
        self._asked = 0


def _died(lines: list[bytes], outcome: dict) -> dict:
    """Where it refused first, only our own plain reading afterwards went wrong."""
    if lines[0].startswith(b'{"end": "refused so far"'):
        return json.loads(lines[0]) | {"end": "refused", "libhdf5": outcome["end"]}
    return outcome | {"told": b" ".join(lines).decode()[-2000:]}


@dataclass
class Tally:
    """How the cases ended."""

    ends: Counter = field(default_factory=Counter)  # (kind of case, end)
    messages: Counter = field(default_factory=Counter)  # of refusals, without their particulars
    saved: Counter = field(default_factory=Counter)  # what a refusal saved libhdf5 from
    bytes_only: Counter = field(default_factory=Counter)  # (format, end, numbers changed)
    faults: list = field(default_factory=list)  # (seed, end, what, case)
    seconds: float = 0.0

    def add(self, seed: int, case: dict, outcome: dict) -> None:
        self.ends[kind_of(case), outcome["end"]] += 1
        if [change[0] for change in case["changes"]] == ["bytes"]:
            plain = "plain" in case["base"] or "long" in case["base"]
            checked = case["base"].split("-")[0] + " without checksums" * plain
            self.bytes_only[checked, outcome["end"], outcome.get("changed", False)] += 1
        if outcome["end"] == "refused":
            self.saved[outcome.get("libhdf5", "")] += 1
            self.messages[_gist(outcome["told"])] += 1
        elif outcome["end"] != "dataset":
            self.faults.append((seed, outcome["end"], outcome["told"], case))

    def __str__(self) -> str:
        kinds = sorted({kind for kind, _ in self.ends})
        ends = ["dataset", "refused", "failed", "crashed", "hung"]
        rows = [["", "cases", *ends]]
        for kind in [*kinds, "all"]:
            counts = [
                sum(n for (k, e), n in self.ends.items() if e == end and kind in (k, "all"))
                for end in ends
            ]
            rows.append([kind, str(sum(counts)), *map(str, counts)])
        lines = [f"{row[0]:18}" + "".join(f"{cell:>9}" for cell in row[1:]) for row in rows]
        saved = (
            f"refused before libhdf5 crashed: {self.saved['crashed']}, hung: {self.saved['hung']}"
        )
        saved += f", took more than 1 GiB: {self.saved['memory']}"
        lines += ["", f"{self.seconds:.0f} s", saved, "", "damaged bytes alone"]
        for (what, end, changed), count in sorted(self.bytes_only.items()):
            lines.append(f"{count:7} {what}: {end}{' of other numbers' if changed else ''}")
        lines += ["", "refused because of"]
        lines += [f"{count:7} {gist}" for gist, count in self.messages.most_common()]
        lines += ["", "faults" if self.faults else "no faults"]
        lines += [f"seed {seed} {end}: {told}\n  {case}" for seed, end, told, case in self.faults]
        return "\n".join(lines)


def _gist(message: str) -> str:
    """A message without names, numbers and lists."""
    text = message.replace("minari:made/log-v0", "log").partition(": ")[2]
    text = re.sub(r"\(.*\)|\{.*\}", "(..)", text)
    text = re.sub(
        r"arrays .* missing; the file has .*?; expected", "arrays missing; expected", text
    )
    text = re.sub(
        r"\b(obs|next_obs|action|reward|terminated|truncated|successor_known)\b", "KEY", text
    )
    return re.sub(r"\d[\d.e+-]*", "N", text)[:80]


def run_seeds(first: int, count: int, *, most_faults: int = 1000) -> Tally:
    """Seeds one after the other, until `most_faults` went wrong."""
    tally, reader, start = Tally(), Reader(), time.monotonic()
    names = bases()
    try:
        for seed in range(first, first + count):
            case = draw_case(Dice(seed), names)
            tally.add(seed, case, reader.ask(case))
            if len(tally.faults) >= most_faults:
                break
    finally:
        reader.close()
    tally.seconds = time.monotonic() - start
    return tally


if __name__ == "__main__":
    print(run_seeds(*map(int, sys.argv[1:3])))
