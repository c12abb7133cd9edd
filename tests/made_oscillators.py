"""Logs of an oscillator whose every fault is put in by a test; rewards of either sign."""

import numpy as np

from moore.data.log import Log


def oscillator_log(
    episodes: int = 20,
    length: int | tuple[int, int] = 60,
    *,
    seed: int = 0,
    falls_beyond: float = np.inf,
    stored: bool = True,
) -> Log:
    """Position and speed in episodes that are cut after `length` steps, or by chance in a range.

    An episode is terminal where the position leaves [-falls_beyond, falls_beyond].
    """
    rng = np.random.default_rng(seed)
    columns = ([], [], [], [], [], [])
    for _ in range(episodes):
        state, action = rng.normal(0, 0.7, 2), 0.0
        steps = length if isinstance(length, int) else int(rng.integers(*length))
        for step in range(steps):
            action = float(np.clip(0.8 * action + 0.4 * rng.normal(), -1, 1))
            force = np.array([state[1], action - state[0] - 0.3 * state[1]])
            after = state + 0.1 * force + rng.normal(0, 0.003, 2)
            fell = abs(after[0]) > falls_beyond
            reward = state[0] + 0.3 * state[1] - 0.1 * action
            row = (state, [action], reward, after, fell, step == steps - 1 and not fell)
            for column, value in zip(columns, row, strict=True):
                column.append(value)
            state = after
            if fell:
                break
    obs, actions, reward, after, fell, cut = map(np.array, columns)
    return Log(obs, actions, reward, fell, cut, after if stored else None, name="oscillator")
