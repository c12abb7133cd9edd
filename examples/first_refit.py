"""What the first gradient steps of a refit do to each member, from the hand-over of a run.

    python examples/first_refit.py runs/first

The data are the log alone, as in the offline fit, so nothing should change. With
warm_start="best" a member that was taken back to older weights meets variance bounds and optimiser
moments that have moved on, and may lose in a few steps what it had learned.
"""

import argparse
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from moore.config import read_toml
from moore.dynamics.ensemble import Ensemble
from moore.dynamics.fit import ModelState, begin_fit, train_pass
from moore.dynamics.holdout import holdout_error
from moore.runs.reading import load_hand_over
from moore.runs.setup import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--dataset", help="the log, if it has moved")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 1, 10, 50, 100, 200, 400])
    args = parser.parse_args()

    config = read_toml(args.run / "config.toml")
    setup = prepare(config, dataset=args.dataset)
    learner, parts = setup.learner, load_hand_over(setup, args.run)
    handed = parts["experience"]["model"]
    fresh = learner.init(setup.key)
    share, size = jnp.float32(0.0), int(learner.offline.train_size)

    def uncertainty(model: ModelState) -> float:
        fresh = learner.init(setup.key)
        state = dataclasses.replace(fresh, agent=parts["agent"])
        experience = dataclasses.replace(fresh.experience, model=model)
        count = min(5000, config.offline.rollout_batch)
        now = learner.moment(state, 1)
        _, _, metrics = learner.models.imagine(experience, now, jax.random.key(0), count)
        return float(metrics["model/uncertainty_mean"])

    fit = begin_fit(
        parts["experience"]["model"], learner.offline, fresh.online, share, jax.random.key(5), size
    )
    done = 0
    print("steps    mean u   holdout error of each member")
    for steps in args.steps:
        if steps > done:
            fit, _, _ = train_pass(
                fit, learner.offline, fresh.online, share, size, steps - done, config.model
            )
            done = steps
        error = holdout_error(fit.networks, fit.normaliser, learner.offline, fresh.online, share)
        ensemble = Ensemble(fit.networks, fit.normaliser, handed.ensemble.elites)
        u = uncertainty(ModelState(ensemble, fit.networks, fit.opt_state))
        members = " ".join(f"{value:.4f}" for value in np.asarray(error))
        print(f"{done:5d}  {u:8.3f}   {members}", flush=True)


if __name__ == "__main__":
    main()
