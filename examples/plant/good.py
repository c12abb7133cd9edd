"""What is good: near the set point, with calm valves."""

import numpy as np
from tank import Readings

MOVE_K_PERCENT = 0.01  # a stroke of 100% is as bad as one kelvin for a minute


def reward(obs: np.ndarray, action: np.ndarray, next_obs: np.ndarray) -> np.ndarray:
    """Minus the deviation after the minute in kelvins, minus a price of moving the valves.

    Args:
        obs, next_obs: (n, 5), as `tank.Readings`.
        action: (n, 1), in percent.

    Returns:
        (n,), in kelvins.
    """
    now, after = Readings(*obs.T), Readings(*next_obs.T)
    deviation_K = np.abs(after.temperature_C - now.set_point_C)
    return -deviation_K - MOVE_K_PERCENT * np.abs(action[:, 0] - now.valve_percent)
