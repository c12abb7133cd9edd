"""From the log of a heated tank to a session that controls it, without Gymnasium.

    python examples/session.py --out runs/tank

The tank stands for your plant: nothing below knows how it works. Its old controller wrote a log. A
policy is learned from this log, then a session acts in the tank and learns between its days.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import moore

HOURS = 24
HEATER = (0.0, 10.0)  # kW, the bounds of the action


class Tank:
    """A heated tank, simulated: 20 degrees around it, a new set point every day."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def begin_day(self) -> np.ndarray:
        self.temperature, self.set_point = self.rng.uniform(30, 50), self.rng.uniform(50, 70)
        return self.read()

    def read(self) -> np.ndarray:
        return np.array([self.temperature, self.set_point - self.temperature], np.float32)

    def heat(self, kilowatts: float) -> float:
        """One hour; returns the reward: minus the error in degrees, minus a price of energy."""
        self.temperature += 1.5 * kilowatts - 0.2 * (self.temperature - 20.0)
        self.temperature += self.rng.normal(0.0, 0.3)
        return -abs(self.set_point - self.temperature) / 10.0 - 0.02 * kilowatts


def write_log(path: Path, days: int) -> None:
    """What a historian has of the old controller: a proportional one, and somebody's trials."""
    tank, rng = Tank(seed=0), np.random.default_rng(1)
    lines = ["day,temperature,error,heater,reward"]
    for day in range(days):
        obs = tank.begin_day()
        for _ in range(HOURS):
            heater = float(np.clip(0.5 * obs[1] + 3.0 + rng.normal(0, 1.5), *HEATER))
            reward = tank.heat(heater)
            lines.append(f"{day},{obs[0]},{obs[1]},{heater},{reward}")
            obs = tank.read()
    path.write_text("\n".join(lines) + "\n")
    path.with_suffix(".toml").write_text(
        'obs = ["temperature", "error"]\naction = "heater"\nreward = "reward"\nepisode = "day"\n'
    )


def settings() -> moore.Config:
    """IQL with small networks: it needs no models, and takes seconds."""
    config = moore.Config(algorithm="iql")
    return replace(
        config,
        iql=replace(config.iql, hidden=(64, 64), discount=0.9, batch_size=128),
        offline=replace(config.offline, epochs=2, updates_per_epoch=500),
        online=replace(config.online, steps_per_epoch=240, refit_every=24, updates_per_step=5),
        evaluation=replace(config.evaluation, episodes=0),  # there is nothing to evaluate in
        standardise_obs=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--days", type=int, default=10)
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    write_log(args.out / "tank.csv", days=60)

    plant = moore.PlantSpec(2, action_low=HEATER[:1], action_high=HEATER[1:], episode_steps=HOURS)
    run = args.out / "offline"
    moore.run(settings(), dataset=args.out / "tank.csv", env=plant, out=run, stages="offline")

    tank = Tank(seed=2)
    with moore.Session.from_run(run, args.out / "session") as session:
        for day in range(args.days):
            obs, earned = tank.begin_day(), 0.0
            for hour in range(HOURS):
                action = session.act(obs)
                reward = tank.heat(float(action[0]))
                obs, earned = tank.read(), earned + reward
                session.observe(reward=reward, next_obs=obs, truncated=hour == HOURS - 1)
            updates = session.learn()  # at night
            print(f"day {day}: return {earned:.1f}, then {updates} updates")
    log = moore.load_dataset(session.log)
    print(f"{log.size} steps of {len(log.episode_returns)} days are in {session.log}")


if __name__ == "__main__":
    main()
