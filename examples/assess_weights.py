"""How many episodes must importance weights be worth? Intervals at every number, and the truth.

    python examples/assess_weights.py --out assess-weights.csv

The clones and disturbed clones of `assess_check.py` on the tank whose log has the densities of its
actions, without the limit below which importance sampling is refused. A line a policy.
docs/assess.md has a table of them, and says which limit was chosen.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import assess_check as checked

from moore.assessing import importance
from moore.assessing.controller import JudgedController
from moore.assessing.logged import as_logged
from moore.jax_settings import plain_jax

COLUMNS = ("policy", "effective_episodes", "value", "low", "high", "truth")


@plain_jax()
def lines() -> Iterator[tuple]:
    """A line for each policy, in the units of the rewards."""
    setup = checked.ready(checked.DENSE)
    density = checked.dense_log()[1]
    limit = setup.world.limit.steps
    logged = as_logged(setup.dataset, setup.units, setup.world.bounds, limit)
    factor = float(setup.units.reward_out(1.0))
    cloned = checked.clones(setup)
    others = checked.disturbed(cloned, checked.DENSE_DISTURBANCES, checked.DENSE_DRAWS)
    for name, weights in (cloned | others).items():
        judged = JudgedController(setup.learner.algorithm.agent.act_mode, weights)
        found = importance.weighed(judged, logged, density)
        said = importance.estimated(found, logged).value.times(factor)
        worth = importance.effective(importance.weights_of(found.log_ratio))
        truth = float(checked.sampled(weights).mean())
        yield name, worth, said.value, said.low, said.high, truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with args.out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for name, *numbers in lines():
            table.writerow([name, *(f"{x:.5g}" for x in numbers)])


if __name__ == "__main__":
    main()
