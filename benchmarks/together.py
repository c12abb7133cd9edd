"""A group of updates of several runs: one program mapped over them, against one call after another.

    python benchmarks/together.py --cells 8 --hidden 64

Prints the processor time of a group, in milliseconds, and that of compiling, in seconds. Processor
time is what counts where other jobs share the machine; on a GPU read the wall-clock.
"""

import argparse
import dataclasses
import time
from functools import partial

import jax

from moore.lockstep.common import Common
from moore.lockstep.program import Call, take_seat
from moore.lockstep.stacked import Stacked
from moore.presets import preset
from moore.runs.setup import prepare

UPDATES, REPEATS = 20, 12


class _Asked(Exception):
    """Holds the call that a run has made."""


class _Listener:
    """A seat in a company that answers nothing."""

    place = (0, 0, 0)

    def __init__(self, common: Common):
        self.same = common.same

    def ask(self, call: Call):
        raise _Asked(call)


def calls(count: int, hidden: int, common: Common) -> list[Call]:
    """The first group of online updates of `count` seeds of the task `quick/pendulum`."""
    take_seat(_Listener(common))
    found = []
    for seed in range(count):
        config = preset("quick/pendulum", algorithm="moore")
        sac = dataclasses.replace(config.sac, hidden=(hidden, hidden))
        setup = prepare(dataclasses.replace(config, seed=seed, sac=sac))
        state = setup.learner.hand_over(setup.learner.init(setup.key))
        try:
            setup.learner.update(state, 1, UPDATES)
        except _Asked as asked:
            found += asked.args
    return found


def seconds(function) -> tuple[float, float]:
    """Processor time of the first call, and the least of those that follow."""
    taken = []
    for _ in range(1 + REPEATS):
        before = time.process_time()
        jax.block_until_ready(function())
        taken.append(time.process_time() - before)
    return taken[0], min(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=64)
    options = parser.parse_args()
    common = Common()
    found = calls(options.cells, options.hidden, common)
    # Nothing is donated here, so that the calls can be repeated.
    single = jax.jit(partial(found[0].program.function, **found[0].static))
    given = [jax.tree.unflatten(call.tree, call.leaves) for call in found]
    stacked = Stacked(common)
    ways = {
        "one after another": lambda: [single(**arguments) for arguments in given],
        "one program": lambda: stacked.answer(found, len(found)),
    }
    for name, way in ways.items():
        first, least = seconds(way)
        print(f"{name}: {1000 * least:.0f} ms a group, first call {first:.1f} s")


if __name__ == "__main__":
    main()
