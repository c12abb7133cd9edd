"""Systems and controllers whose logs `slipped_rows.py` makes: a step function and what drives it.

Every log has episodes of equal length and a reward of the state reached and of the action, and is
drawn anew, system and all, from one seed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import gymnasium
import numpy as np

from moore.data.log import Log

Rng = np.random.Generator
Step = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (state, action) -> next state


@dataclass
class System:
    """A plant and its controller, before any row is logged."""

    step: Step
    start: Callable[[], np.ndarray]
    act: Callable[[np.ndarray, int], np.ndarray]  # (what is seen, step) -> action
    action_dim: int
    dead_time: int = 0  # steps after which an action reaches the plant
    sensor: float = 0.0  # noise of a reading
    see: Callable[[np.ndarray], np.ndarray] = field(default=lambda state: state)
    cost: float = 0.3  # of an action
    reward: Callable[[np.ndarray, np.ndarray], float] | None = None


def logged(system: System, rng: Rng, rows: int, length: int) -> Log:
    """Rows of the system, in episodes of `length` steps."""
    columns: tuple[list, ...] = ([], [], [], [])
    for _ in range(rows // length):
        state = system.start()
        waiting = [np.zeros(system.action_dim)] * system.dead_time
        seen = _read(system, state, rng)
        for step in range(length):
            action = np.clip(system.act(seen, step), -1, 1)
            waiting.append(action)
            state = system.step(state, waiting.pop(0))
            after = _read(system, state, rng)
            reward = -float(after @ after) / len(after) - system.cost * float(action @ action)
            if system.reward is not None:
                reward = system.reward(after, action)
            for column, value in zip(columns, (seen, action, reward, after), strict=True):
                column.append(value)
            seen = after
    return made_log(*columns, length=length)


def made_log(obs, action, reward, after, *, length: int) -> Log:
    """A log of these rows that is cut after every `length` steps."""
    last = np.arange(len(obs)) % length == length - 1
    obs, action, after = (np.array(x, np.float32) for x in (obs, action, after))
    reward = np.array(reward, np.float32)
    return Log(obs, action, reward, last & False, last, after, name="made")


def _read(system: System, state: np.ndarray, rng: Rng) -> np.ndarray:
    seen = system.see(state)
    return seen + system.sensor * rng.normal(size=len(seen))


def linear(
    rng: Rng,
    *,
    speed: tuple[float, float] = (0.5, 0.98),
    noise: float = 0.02,
    controller: str = "feedback",
    hidden: bool = False,
    **how: object,
) -> System:
    """A stable linear system of random order and coupling, under a controller of one of five kinds.

    Args:
        rng: source of all that is random.
        speed: range of the sizes of the eigenvalues: near 1 is slow.
        noise: deviation of what disturbs a step.
        controller: "feedback" with noise, "exact" without, "white" noise, "held" or "constant".
        hidden: whether only half of the states are seen.
        how: further fields of `System`.
    """
    order, inputs = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    size = rng.uniform(*speed, order)
    basis = rng.normal(size=(order, order)) + 2 * np.eye(order)
    moves = basis @ np.diag(size) @ np.linalg.inv(basis)
    pushes = rng.normal(size=(order, inputs)) * (1 - size.mean()) * 3
    seen = max(1, order // 2) if hidden else order
    gain = 0.5 * rng.normal(size=(inputs, seen))
    loud = {"feedback": rng.uniform(0.1, 0.5), "exact": 0.0}.get(controller, 0.0)
    held = int(rng.integers(5, 30))
    level = {"now": np.zeros(inputs)}

    def act(reading: np.ndarray, step: int) -> np.ndarray:
        if controller == "white":
            return rng.uniform(-1, 1, inputs)
        if controller == "held":
            if step % held == 0:
                level["now"] = rng.uniform(-1, 1, inputs)
            return level["now"]
        if controller == "constant":
            return np.full(inputs, 0.3)
        return gain @ reading + loud * rng.normal(size=inputs)

    return System(
        lambda x, u: moves @ x + pushes @ u + noise * rng.normal(size=order),
        lambda: rng.normal(size=order),
        act,
        inputs,
        see=(lambda x: x[:seen]) if hidden else (lambda x: x),
        cost=float(rng.uniform(0, 1)),
        **how,
    )


def swinging(rng: Rng) -> System:
    """Oscillators with little damping and no noise, which an exact controller calms."""
    turn = rng.uniform(0.05, 0.8)
    spin = 0.995 * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    gain = rng.uniform(0.0, 0.3)
    return System(
        lambda x, u: spin @ x + np.array([0.0, 0.1]) * u,
        lambda: rng.normal(size=2),
        lambda x, step: np.array([-gain * x[1]]),
        1,
    )


def answers_changes(rng: Rng, *, sensor: float = 0.01) -> System:
    """A slow plant whose controller answers to the change of what it sees."""
    before = {"seen": None}
    slow, change, level = rng.uniform(0.95, 0.999), rng.uniform(5, 30), rng.uniform(0, 0.5)

    def act(seen: np.ndarray, step: int) -> np.ndarray:
        last = seen if step == 0 else before["seen"]
        before["seen"] = seen
        return -change * (seen - last) - level * seen + 0.05 * rng.normal(size=1)

    return System(
        lambda x, u: slow * x + (1 - slow) * u + 0.02 * rng.normal(size=1),
        lambda: rng.normal(size=1),
        act,
        1,
        sensor=sensor,
    )


def integrates(rng: Rng) -> System:
    """A plant of first order under a controller that also answers to the sum of its errors."""
    total = {"now": 0.0}
    slow, gain, reset = rng.uniform(0.7, 0.99), rng.uniform(0.2, 3), rng.uniform(0.01, 0.3)
    loud = rng.uniform(0, 0.2)

    def act(seen: np.ndarray, step: int) -> np.ndarray:
        total["now"] = 0.95 * total["now"] * (step > 0) + seen[0]
        return -gain * (seen + reset * total["now"]) + loud * rng.normal(size=1)

    return System(
        lambda x, u: slow * x + (1 - slow) * u + 0.02 * rng.normal(size=1),
        lambda: rng.normal(size=1),
        act,
        1,
        sensor=0.01,
    )


def with_actuator(rng: Rng, *, seen: bool) -> System:
    """A plant of first order behind a slow valve, which may be seen."""
    valve, slow = rng.uniform(0.2, 0.8), rng.uniform(0.7, 0.98)
    gain, loud = rng.uniform(0.2, 2), rng.uniform(0.1, 0.5)

    def step(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        opened = valve * x[1] + (1 - valve) * u[0]
        return np.array([slow * x[0] + (1 - slow) * opened + 0.01 * rng.normal(), opened])

    return System(
        step,
        lambda: np.array([rng.normal(), 0.0]),
        lambda reading, _: -gain * reading[:1] + loud * rng.normal(size=1),
        1,
        sensor=0.005,
        see=(lambda x: x) if seen else (lambda x: x[:1]),
    )


def gym_log(env_id: str, rng: Rng, rows: int, length: int, *, held: int = 1) -> Log:
    """Random actions, each held for some steps, in a system of Gymnasium; never terminal."""
    env = gymnasium.make(env_id).unwrapped
    columns: tuple[list, ...] = ([], [], [], [])
    for _ in range(rows // length):
        obs, _ = env.reset(seed=int(rng.integers(2**31)))
        for step in range(length):
            if step % held == 0:
                action = rng.uniform(env.action_space.low, env.action_space.high)
            after, reward, *_ = env.step(action.astype(np.float32))
            for column, value in zip(columns, (obs, action, reward, after), strict=True):
                column.append(value)
            obs = after
    env.close()
    return made_log(*columns, length=length)
