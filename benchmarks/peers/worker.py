"""One library in a process of its own: reads a request a line, answers with a line of JSON.

    python benchmarks/peers/worker.py MODULE THREADS CLOCK SIZES

MODULE is one of the files beside this one, CLOCK is wall or processor, and SIZES are the fields of
`work.Sizes` as JSON. The first line out says which operations there are; a request is
{"operation": number}. Whatever the library prints itself goes to the standard error.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from processor import use_clock
from work import Sizes


def answer(make: Any, say: Any, requests: Any) -> None:
    """Says what there is, then times what is asked for until nothing more is."""
    try:
        operations, version = make()
    except Exception as error:  # whatever a library of others may raise is its row in the table
        say({"failed": f"{type(error).__name__}: {error}"})
        return
    told = ("name", "who", "includes")
    say(
        {
            "version": version,
            "operations": [{key: getattr(one, key) for key in told} for one in operations],
        }
    )
    for line in requests:
        operation = operations[json.loads(line)["operation"]]
        try:
            begin = time.perf_counter()
            operation.run()
            say({"milliseconds": 1e3 * (time.perf_counter() - begin) / operation.units})
        except Exception as error:
            say({"failed": f"{type(error).__name__}: {error}"})


def main() -> None:
    module, threads, clock, sizes = sys.argv[1:]
    use_clock(clock)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sizes).items()}
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(reply: dict) -> None:
        print(json.dumps(reply), file=out, flush=True)

    def make():
        return importlib.import_module(module).operations(Sizes(**given), int(threads))

    answer(make, say, sys.stdin)


if __name__ == "__main__":
    main()
