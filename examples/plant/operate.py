"""The session beside the plant: the old controller acts, then the policy tries, then it acts.

    python operate.py --run runs/plant/offline --out runs/plant/session --trend runs/plant/trend.csv

Every minute it reads the plant, asks the session for an output, sends it, and tells the session
what came of it. Between two batches the session learns, and then the shift leader may choose
another mode. If it was stopped, the same command goes on.
"""

import argparse
import csv
import http.client
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from good import reward
from pid import Pid
from signals import Watch
from tank import BATCH_MIN, HIGH_PERCENT, LOW_PERCENT, Readings

import moore
from moore.guarding.interlocks import Interlocks
from moore.guarding.limits_file import read_limits
from moore.guarding.supervision import GuardSettings

FIRST_BATCHES = 6  # of shadow, in which the loss budget learns what the old controller earns
CHECK_BATCHES = 3  # of shadow after an alarm, to look for the cause
PROVEN_BATCHES = 3  # that a promoted policy must last in canary
TOLERANCE_K = 10.0  # a batch may earn so much less, in the mean, before the guard calls it a loss
RECOVERY_MIN = 2 * BATCH_MIN  # after an alarm limits must hold in a hot batch and a cold one
HOTTEST_JACKET_C = 105.0
TRANSFER_PERCENT_S = 0.5  # after a switch the output moves by 30% a minute at most
TREND = ("minute", *Readings._fields, "output_percent", "actor", "mode", "reward_K", "budget_K",
         "alarm")  # fmt: skip


class PlantClient:
    """The plant, as the session sees it."""

    def __init__(self, address: str):
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60.0)

    def read(self) -> tuple[int, Readings]:
        """The minute, and the readings."""
        return self._told("GET", "/readings", None)

    def send(self, valve_percent: float) -> tuple[int, Readings]:
        """Sends an output and waits for the end of the minute; the next minute, its readings."""
        return self._told("POST", "/output", json.dumps({"valve_percent": valve_percent}))

    def _told(self, method: str, path: str, body: str | None) -> tuple[int, Readings]:
        self._connection.request(method, path, body)
        answer = self._connection.getresponse()
        told = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"the plant refuses: {told['error']}")
        return told["minute"], Readings(*(told[name] for name in Readings._fields))


class ShiftLeader:
    """Chooses the mode between two batches, by rules that fit on a card.

    Shadow first. Then canary, until a policy was promoted and has stayed so for some batches; then
    on. After an alarm shadow again, for as long as it takes to look for the cause, and until the
    session trusts a policy again.
    """

    def __init__(self) -> None:
        self._batches, self._shadow = 0, FIRST_BATCHES

    def mode(self, before: str, *, trusted: bool, promoted: bool) -> str:
        """The mode of the next batch.

        Args:
            before: the mode of the last one.
            trusted: whether the guard trusts the policy.
            promoted: whether a policy has earned more than the old controller in its trials.
        """
        self._batches += 1
        if before != "shadow" and not trusted:
            self._shadow = CHECK_BATCHES
            return self._begin("shadow")
        if before == "shadow" and trusted and self._batches >= self._shadow:
            return self._begin("canary")
        if before == "canary" and not promoted:
            self._batches = 0
        if before == "canary" and self._batches >= PROVEN_BATCHES:
            return self._begin("on")
        return before

    def _begin(self, mode: str) -> str:
        self._batches = 0
        return mode


def cool_jacket(obs: np.ndarray, action: np.ndarray) -> np.ndarray:
    """The interlock: no steam while the jacket is too hot, whoever acts."""
    too_hot = Readings(*obs).jacket_C > HOTTEST_JACKET_C
    return np.minimum(action, 0.0) if too_hot else action


class Control:
    """Plant and session together, minute by minute.

    Attributes:
        minute: of the plant.
    """

    def __init__(
        self,
        plant: PlantClient,
        run: Path,
        out: Path,
        *,
        dataset: str,
        limits: GuardSettings,
        learner: str,
    ):
        """Begins a session in shadow, or goes on with the one that is there.

        Args:
            plant: the plant.
            run, dataset: folder of the offline run, and its log.
            out: a folder for the session.
            limits: what limits.py has found.
            learner: "episodes": it learns between two batches, and the clock must stand meanwhile;
                or "process".
        """
        self._plant = plant
        self.minute, _ = plant.read()
        bounds = np.array([LOW_PERCENT]), np.array([HIGH_PERCENT])
        beside: dict[str, Any] = {
            "dataset": dataset, "learner": learner, "controller": Pid(),
            "clock": lambda: 60.0 * self.minute,
        }  # fmt: skip
        if (out / "session.json").is_file():  # mode, guard and budget are as they were
            self.session = moore.Session.resume(out, project=cool_jacket, **beside)
        else:
            self.session = moore.Session.from_run(
                run, out, mode="shadow",
                accept=("hand-over",),  # whatever was learned: it only proposes, within a budget
                guard=replace(limits, tolerance=TOLERANCE_K, recovery=RECOVERY_MIN),
                interlocks=Interlocks(*bounds, project=cool_jacket),
                transfer_rate=TRANSFER_PERCENT_S, **beside,
            )  # fmt: skip
        self.minute, self._seen = plant.read()  # to open a session takes a while
        self._leader, self._watch = ShiftLeader(), Watch()

    def run_minute(self) -> dict[str, Any]:
        """One control interval; what the trend recorder keeps of it."""
        session, minute, seen = self.session, self.minute, self._seen
        output = session.act(np.array(seen, np.float32))
        self.minute, self._seen = self._plant.send(float(output[0]))
        earned = float(reward(*(np.array([row]) for row in (seen, output, self._seen)))[0])
        signals = self._watch.after(seen, self._seen)
        ends = self.minute // BATCH_MIN > minute // BATCH_MIN
        if self.minute == minute + 1:
            session.observe(
                reward=earned, next_obs=np.array(self._seen, np.float32), truncated=ends,
                signals=signals,
            )  # fmt: skip
        else:
            session.gap()  # the plant did not wait, so this is not what came of the output
        standing = session.standing[0]
        told = (minute, *seen, float(output[0]), standing.actor, session.mode, earned,
                session.budget, standing.alarm)  # fmt: skip
        if ends:
            self._between_batches()
        return dict(zip(TREND, told, strict=True))

    def _between_batches(self) -> None:
        session = self.session
        promoted = session.status.budget["incumbent"] > 0
        trusted = session.standing[0].trusted
        mode = self._leader.mode(session.mode, trusted=trusted, promoted=promoted)
        if mode != session.mode:
            session.set_mode(mode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plant", default="http://127.0.0.1:8710")
    parser.add_argument("--run", type=Path, default=Path("runs/plant/offline"))
    parser.add_argument("--log", default="runs/plant/log.hdf5")
    parser.add_argument("--limits", type=Path, default=Path("runs/plant/limits.toml"))
    parser.add_argument("--out", type=Path, default=Path("runs/plant/session"))
    parser.add_argument("--trend", type=Path, default=Path("runs/plant/trend.csv"))
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--learner", choices=("episodes", "process"), default="episodes")
    args = parser.parse_args()
    limits = read_limits(args.limits).guard
    if limits is None:
        parser.error(f"{args.limits} has no limits of signals; limits.py makes them from the log")
    control = Control(
        PlantClient(args.plant), args.run, args.out,
        dataset=args.log, limits=limits, learner=args.learner,
    )  # fmt: skip
    print(f"{control.session.folder} controls {args.plant}.", flush=True)
    with control.session, args.trend.open("a", newline="") as file:
        trend = csv.DictWriter(file, TREND)
        if not file.tell():
            trend.writeheader()
        while control.minute < args.batches * BATCH_MIN:
            row = control.run_minute()
            trend.writerow(row)
            file.flush()
            if control.minute % BATCH_MIN == 0:
                print(f"{control.minute // 60:02d}:00  {row['mode']:6}  {row['alarm']}", flush=True)


if __name__ == "__main__":
    main()
