"""The offline stage: from the converted log to a policy, without touching the plant.

python learn.py --log runs/plant/log.hdf5 --out runs/plant/offline --seed 1
"""

import argparse
from dataclasses import replace
from pathlib import Path

from tank import BATCH_MIN, HIGH_PERCENT, LOW_PERCENT, Readings

import moore

CONTROL_S, SETTLING_S = 60.0, 900.0  # a well controlled tank would settle in a quarter hour


def settings(seed: int) -> moore.Config:
    """The preset for plants, with networks for five signals and a log of some 100,000 minutes."""
    config = moore.preset("plant", algorithm="moore_safe")
    return replace(
        config,
        seed=seed,
        control_interval=CONTROL_S,
        settling_time=SETTLING_S,  # from these two comes the discount, of every part that has one
        termination="never",  # nothing ends a batch but the recipe
        rollout_length=BATCH_MIN,
        model=replace(config.model, members=3, elites=3, hidden=(64, 64),
                      weight_decay=(2.5e-5, 5e-5, 7.5e-5, 7.5e-5), max_fit_steps=4000),
        ppo=replace(config.ppo, hidden=(64, 64)),
        # The lower of two critics would cost about 0.6 K in every minute of the 45 that values look
        # ahead; and values settle in 4500 updates, which is 1 / (target_rate (1 - discount)).
        td3=replace(config.td3, critic_subset=1, warm_up=18_000),
        # The best batches of this log are lucky ones (an easy recipe, a good hand), so the models
        # cannot be held against them; the trials in the plant decide.
        gate=replace(config.gate, calibrated=False),
        offline=replace(config.offline, epochs=8, rollout_batch=250),
        online=replace(config.online, steps_per_epoch=BATCH_MIN, refit_every=BATCH_MIN,
                       update_every=BATCH_MIN, updates_per_step=5, rollout_batch=250),
    )  # fmt: skip


def plant() -> moore.PlantSpec:
    """What the signals are."""
    bounds = {"action_low": [LOW_PERCENT], "action_high": [HIGH_PERCENT]}
    return moore.PlantSpec(len(Readings._fields), **bounds, episode_steps=BATCH_MIN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", type=Path, default=Path("runs/plant/log.hdf5"))
    parser.add_argument("--out", type=Path, default=Path("runs/plant/offline"))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    result = moore.run(
        settings(args.seed), dataset=str(args.log), env=plant(), out=args.out, stages="offline"
    )
    print(result.folder)


if __name__ == "__main__":
    main()
