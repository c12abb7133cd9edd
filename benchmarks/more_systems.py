"""Further systems and controllers whose logs are sound: motions, filters, things that are not seen.

What they have in common is that a check may take them for a fault: a speed that moves its position
in the same row or in the next one, sensors that lag, parts of the state that nobody sees, and
controllers that do something every few rows.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from slipped_systems import Rng, System, linear


def motion(
    rng: Rng, *, new_speed: bool = False, controller: str = "feedback", axes: int = 0, **how: object
) -> System:
    """Masses on springs: positions, then speeds.

    Args:
        rng: source of all that is random.
        new_speed: whether a step moves the positions by the new speeds, as most simulators do.
        controller: "feedback" with noise, "filtered" (an inert one), "bang" (full force to one side
            or the other), "white" noise, "held" noise, or a "sine".
        axes: number of masses; 0: one to three.
        how: further fields of `System`.
    """
    axes = axes or int(rng.integers(1, 4))
    spring, damping, noise = (
        rng.uniform(0, 3, axes),
        rng.uniform(0.05, 1, axes),
        0.05 * rng.random(),
    )
    dt, gain, damp = rng.uniform(0.02, 0.3), rng.uniform(0.3, 2), rng.uniform(0.1, 1)
    loud, period, held = rng.uniform(0.05, 0.5), rng.uniform(10, 60), int(rng.integers(3, 15))
    last = {"action": np.zeros(axes)}

    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        place, speed = state[:axes], state[axes:]
        after = speed + dt * (2 * action - spring * place - damping * speed)
        after = after + noise * rng.normal(size=axes)
        return np.concatenate([place + dt * (after if new_speed else speed), after])

    def act(seen: np.ndarray, row: int) -> np.ndarray:
        if controller == "sine":
            return 0.7 * np.sin(2 * np.pi * row / period + np.arange(axes))
        if controller in ("white", "held"):
            if controller == "white" or row % held == 0:
                last["action"] = rng.uniform(-1, 1, axes)
            return last["action"]
        wish = -gain * seen[:axes] - damp * seen[axes : 2 * axes] + loud * rng.normal(size=axes)
        if controller == "filtered":
            wish = last["action"] = 0.8 * last["action"] * (row > 0) + 0.2 * wish
        return np.sign(wish) if controller == "bang" else wish

    return System(step, lambda: rng.normal(size=2 * axes), act, axes, **how)


def lagging(rng: Rng, *, controller: str = "feedback") -> System:
    """Sensors, or some of them, that follow the states of a linear system slowly."""
    plant = linear(rng, controller=controller)
    states = len(plant.start())
    lag = rng.uniform(0.3, 0.9, states) * (rng.random(states) < rng.choice([0.5, 1.0]))

    def step(both: np.ndarray, action: np.ndarray) -> np.ndarray:
        state = plant.step(both[:states], action)
        return np.concatenate([state, lag * both[states:] + (1 - lag) * state])

    return replace(
        plant, step=step, start=lambda: np.tile(plant.start(), 2), see=lambda both: both[states:]
    )


def chain(rng: Rng) -> System:
    """Tanks in a row, of which some are not seen."""
    count, noise = int(rng.integers(3, 6)), 10 ** rng.uniform(-3, -1)
    slow, push = rng.uniform(0.3, 0.95, count), rng.uniform(0.1, 0.6)
    seen = np.sort(rng.permutation(count)[: int(rng.integers(2, count))])

    def step(level: np.ndarray, action: np.ndarray) -> np.ndarray:
        above = np.append(push * action[0] / (1 - slow[0]), level[:-1])
        return slow * level + (1 - slow) * above + noise * rng.normal(size=count)

    return System(
        step,
        lambda: rng.uniform(-1, 1, count),
        _proportional(rng),
        1,
        see=lambda level: level[seen],
        sensor=float(rng.choice([0.0, 0.01, 0.05])),
    )


def rod(rng: Rng) -> System:
    """Temperatures at some places of a rod that is heated at one end."""
    count, spread = int(rng.integers(4, 9)), rng.uniform(0.05, 0.3)
    seen = np.sort(rng.permutation(count)[: max(2, count // 2)])

    def step(heat: np.ndarray, action: np.ndarray) -> np.ndarray:
        around = np.concatenate([[heat[0] + action[0]], heat, [heat[-1]]])
        flow = spread * (around[2:] - 2 * heat + around[:-2])
        return 0.98 * heat + flow + 0.01 * rng.normal(size=count)

    return System(
        step, lambda: rng.normal(size=count), _proportional(rng), 1, see=lambda heat: heat[seen]
    )


def two_sensors(rng: Rng) -> System:
    """A position that is measured twice, without its speed."""
    plant, noise = motion(rng, axes=1, new_speed=bool(rng.integers(2))), 10 ** rng.uniform(-4, -1.5)
    see = lambda state: state[[0, 0]] + np.array([0.0, noise * rng.normal()])  # noqa: E731
    return replace(plant, act=_proportional(rng), see=see)


def unseen_motor(rng: Rng) -> System:
    """A mass behind a slow motor that is not seen."""
    dt, inert, new_speed = rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.9), bool(rng.integers(2))
    noise = float(rng.choice([0.0, 0.01, 0.05]))

    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        place, speed, motor = state
        motor = inert * motor + (1 - inert) * action[0]
        after = speed + dt * (2 * motor - place - 0.3 * speed) + noise * rng.normal()
        return np.array([place + dt * (after if new_speed else speed), after, motor])

    return System(
        step,
        lambda: np.append(rng.normal(size=2), 0.0),
        lambda seen, _: -0.5 * seen[:1] - 0.3 * seen[1:2] + 0.3 * rng.normal(size=1),
        1,
        see=lambda state: state[:2],
    )


def disturbed(rng: Rng) -> System:
    """An inflow that is measured acts in its own row, or in the next one."""
    same_row, keeps = bool(rng.integers(2)), float(rng.choice([0.0, 0.5, 0.9, 0.98]))
    slow, push = rng.uniform(0.7, 0.98), rng.uniform(0.1, 1)

    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        inflow = keeps * state[1] + np.sqrt(1 - keeps**2) * rng.normal()
        acts = 0.3 * (inflow if same_row else state[1]) + 0.01 * rng.normal()
        return np.array([slow * state[0] + push * action[0] + acts, inflow])

    return System(step, lambda: rng.normal(size=2), _proportional(rng), 1)


def follower(rng: Rng) -> System:
    """A set-point that is observed, and a controller that follows it."""
    slow, push, gain = rng.uniform(0.7, 0.98), rng.uniform(0.1, 0.5), rng.uniform(0.5, 2)
    held, rows = int(rng.integers(5, 40)), iter(range(10**9))

    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        aim = rng.normal() if next(rows) % held == 0 else state[1]
        level = slow * state[0] + push * action[0] + 0.02 * rng.normal()
        return np.array([level, aim, aim - level])

    return System(
        step,
        lambda: np.array([0.0, rng.normal(), 0.0]),
        lambda seen, _: gain * (seen[1:2] - seen[:1]) + 0.1 * rng.normal(size=1),
        1,
    )


def sticking(rng: Rng) -> System:
    """A mass that stands still until the force on it overcomes the friction."""
    dt, friction = rng.uniform(0.05, 0.2), rng.uniform(0.1, 0.6)

    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        place, speed = state
        force = 2 * action[0] - place
        if abs(speed) < 0.02 and abs(force) < friction:
            return np.array([place, 0.0])
        after = speed + dt * (force - friction * np.sign(speed or force) - 0.1 * speed)
        return np.array([place + dt * speed, 0.0 if after * speed < 0 else after])

    return System(
        step,
        lambda: rng.normal(size=2),
        lambda seen, _: -seen[:1] - 0.5 * seen[1:2] + 0.5 * rng.normal(size=1),
        1,
    )


def turning(rng: Rng) -> System:
    """A pendulum that is driven round and round, one way or the other."""
    gain = rng.uniform(0.1, 1)

    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        angle = np.arctan2(state[1], state[0])
        speed = np.clip(state[2] + 0.05 * (15 * np.sin(angle) + 6 * action[0]), -8, 8)
        angle += 0.05 * speed
        return np.array([np.cos(angle), np.sin(angle), speed])

    def start() -> np.ndarray:
        angle = rng.uniform(-np.pi, np.pi)
        return np.array([np.cos(angle), np.sin(angle), rng.uniform(-1, 1)])

    return System(step, start, lambda seen, _: gain * seen[2:3] + 0.3 * rng.normal(size=1), 1)


def now_and_then(rng: Rng, *, make: Callable[[Rng], System] = motion, lets_go: bool = False):
    """A controller that acts every few rows, and holds its action, or lets go."""
    plant, every, held = make(rng), int(rng.integers(2, 11)), {}

    def act(seen: np.ndarray, row: int) -> np.ndarray:
        if row % every == 0:
            held["action"] = plant.act(seen, row)
        return 0.0 * held["action"] if lets_go and row % every else held["action"]

    return replace(plant, act=act, dead_time=int(rng.integers(2)))


def in_turns(rng: Rng) -> System:
    """Actions that repeat themselves every few rows, whatever is observed."""
    plant, every = motion(rng), int(rng.integers(2, 12))
    script = rng.uniform(-1, 1, (every, plant.action_dim))
    return replace(plant, act=lambda seen, row: script[row % every])


def slow_sensor(rng: Rng) -> System:
    """One of two positions is read every few rows."""
    plant, every, last, rows = motion(rng, axes=2), int(rng.integers(2, 12)), {}, iter(range(10**9))

    def see(state: np.ndarray) -> np.ndarray:
        if next(rows) % every == 0:
            last["place"] = state[1]
        return np.array([state[0], last["place"], *state[2:]])

    return replace(plant, see=see)


def rounded(rng: Rng) -> System:
    """Readings of few digits."""
    plant, digit = linear(rng), 10 ** rng.uniform(-2.5, -0.7)
    return replace(plant, see=lambda state: np.round(state / digit) * digit)


def with_last_action(rng: Rng) -> System:
    """The action before is observed beside the states."""
    plant = linear(rng, controller=str(rng.choice(["feedback", "white", "held"])))
    states = len(plant.start())
    return replace(
        plant,
        step=lambda both, action: np.concatenate([plant.step(both[:states], action), action]),
        start=lambda: np.concatenate([plant.start(), np.zeros(plant.action_dim)]),
        act=lambda seen, row: plant.act(seen[:states], row),
    )


def loaded(rng: Rng) -> System:
    """A load that nobody sees drifts, or changes at times."""
    plant, load, rows = motion(rng, axes=2), {"now": 0.0}, iter(range(10**9))
    drifts = bool(rng.integers(2))

    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        if drifts:
            load["now"] = 0.98 * load["now"] + 0.1 * rng.normal()
        elif next(rows) % 37 == 0:
            load["now"] = rng.uniform(-1, 1)
        return plant.step(state, action + 0.5 * load["now"])

    return replace(plant, step=step)


def _proportional(rng: Rng) -> Callable[[np.ndarray, int], np.ndarray]:
    gain, loud = rng.uniform(0.2, 1.5), rng.uniform(0.1, 0.5)
    return lambda seen, row: -gain * seen[:1] + loud * rng.normal(size=1)
