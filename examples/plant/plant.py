"""The tank in a process of its own, with its own clock, spoken to by HTTP on this machine.

    python plant.py --port 8710 --pace 0.25        # a minute of the plant lasts a quarter second

With --pace 0 the clock stands until an output comes, and then goes on by a minute, as a simulator
for training does: so the same day can be played again, from its seed.

| request | content | answer |
|---|---|---|
| GET /readings | | the minute, the readings, the faults |
| POST /output | {"valve_percent": 12.5} | the same, at the end of the minute in which it came |
| POST /faults | {"jacket_reads_C": 20} | the same; {} repairs everything |

Faults may also come by themselves: --fault jacket_reads_C=20@900-1080, in minutes.
"""

import argparse
import json
import math
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tank import FAULTS, Tank

LARGEST_BODY = 1000  # bytes
PATIENCE_S = 30.0  # a request waits no longer for the end of a minute


class Fault(NamedTuple):
    """Something that is broken from one minute to another."""

    name: str
    size: float
    begin: int
    end: int


def fault_of(text: str) -> Fault:
    """The fault of an option such as jacket_reads_C=20@900-1080.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    what, _, when = text.partition("@")
    try:
        (name, size), (begin, end) = what.split("="), when.split("-")
        found = Fault(name, float(size), int(begin), int(end))
    except ValueError:
        found = Fault("", 0.0, 0, 0)
    if found.name not in FAULTS:
        raise argparse.ArgumentTypeError(
            f"{text}: expected a fault, how strong, and the minutes, such as "
            f"jacket_reads_C=20@900-1080; the faults are {', '.join(FAULTS)}"
        )
    return found


class Plant:
    """The tank and its clock; requests come from many threads."""

    def __init__(self, tank: Tank, pace_s: float, faults: Sequence[Fault] = ()):
        """Before the first minute.

        Args:
            tank: the tank.
            pace_s: seconds that a minute lasts; 0: it is over as soon as an output has come.
            faults: what breaks by itself.
        """
        self._tank, self._pace_s, self._output, self._plan = tank, pace_s, 0.0, faults
        self._seen = tank.read()
        self._minute_over = threading.Condition()

    def told(self) -> dict[str, Any]:
        """What GET /readings answers."""
        with self._minute_over:
            return {"minute": self._tank.minute} | self._seen._asdict() | self._tank.faults

    def send(self, valve_percent: float) -> dict[str, Any]:
        """Sends an output; answers at the end of the minute."""
        with self._minute_over:
            self._output, minute = valve_percent, self._tank.minute
            if self._pace_s == 0.0:
                self._pass_minute()
            self._minute_over.wait_for(lambda: self._tank.minute > minute, PATIENCE_S)
        return self.told()

    def break_(self, faults: dict[str, float]) -> dict[str, Any]:
        """From the next minute on, these things are broken and no others."""
        with self._minute_over:
            self._tank.faults = faults
        return self.told()

    def run_clock(self) -> None:
        """Lets the minutes pass, whether an output comes or not: the last one holds."""
        while True:
            time.sleep(self._pace_s)
            with self._minute_over:
                self._pass_minute()

    def _pass_minute(self) -> None:
        for fault in self._plan:
            if self._tank.minute == fault.begin:
                self._tank.faults = self._tank.faults | {fault.name: fault.size}
            if self._tank.minute == fault.end:
                self._tank.faults.pop(fault.name, None)
        self._tank.run(self._output)
        self._seen = self._tank.read()
        self._minute_over.notify_all()


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of the table above, and refuses all others."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    plant: Plant

    def do_GET(self) -> None:
        if self.path == "/readings":
            self._answer(200, self.plant.told())
        else:
            self._answer(404, {"error": "there is /readings, /output and /faults"})

    def do_POST(self) -> None:
        try:
            told = self._numbers()
            if self.path == "/output" and set(told) == {"valve_percent"}:
                self._answer(200, self.plant.send(told["valve_percent"]))
            elif self.path == "/faults" and set(told) <= set(FAULTS):
                self._answer(200, self.plant.break_(told))
            else:
                raise ValueError(f"no such request: {self.path} with {sorted(told)}")
        except ValueError as error:
            self.close_connection = True
            self._answer(400, {"error": str(error)})

    def _numbers(self) -> dict[str, float]:
        """The content, {name: a finite number}."""
        size = int(self.headers.get("Content-Length", 0))
        if not 0 < size <= LARGEST_BODY:
            raise ValueError(f"the content has {size} bytes; expected 1 to {LARGEST_BODY}")
        told = json.loads(self.rfile.read(size))
        if not isinstance(told, dict):
            raise ValueError("expected an object of names and numbers")
        for value in told.values():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError("expected numbers")
            if not math.isfinite(value):
                raise ValueError("expected finite numbers")
        return {name: float(value) for name, value in told.items()}

    def _answer(self, status: int, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def serve(plant: Plant, port: int) -> ThreadingHTTPServer:
    """A server for this machine alone; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), type("Mine", (Handler,), {"plant": plant}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8710)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds that a minute lasts")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--fault", type=fault_of, action="append", default=[])
    args = parser.parse_args()
    plant = Plant(Tank(args.seed), args.pace, args.fault)
    server = serve(plant, args.port)
    if args.pace > 0.0:
        threading.Thread(target=plant.run_clock, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]} is the plant; Ctrl-C ends it.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
