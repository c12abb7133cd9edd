"""A stirred tank with a jacket, simulated: steam heats the jacket, cold water cools it.

One controller output moves both valves (split range): 0 to 100% opens steam, 0 to -100% water. The
tank is stirred well, so it has one temperature, and so has the jacket. Feed runs through it.
"""

from typing import NamedTuple

import numpy as np

LOW_PERCENT, HIGH_PERCENT = -100.0, 100.0
BATCH_MIN = 60  # a batch has one set point, hot and cold in turn
FAULTS = ("jacket_reads_C", "fouling_percent", "stuck_valve_percent")

_HEAT_CAPACITY = 4.18  # kJ/(L K), of what is in the tank and in the jacket
_TANK_L, _JACKET_L = 300.0, 40.0
_WALL_KW_K = 1.2  # heat through a clean wall for each kelvin
_STEAM_KW = 45.0  # at 100%
_WATER_L_S, _WATER_C = 0.45, 12.0  # at -100%
_VALVE_S = 15.0  # time constant of the valves
_SENSOR_K = 0.05  # standard deviation of a reading
_STEP_S = 10.0  # of the integration, by Euler's rule


class Readings(NamedTuple):
    """What the control room sees, in the order of the observation.

    Attributes:
        temperature_C, jacket_C: temperatures in the tank and in the jacket.
        feed_L_min: feed, which leaves by the overflow.
        valve_percent: position of the valves, measured.
        set_point_C: where the temperature should be in the next minute.
    """

    temperature_C: float
    jacket_C: float
    feed_L_min: float
    valve_percent: float
    set_point_C: float


class Tank:
    """The tank, a minute at a time; everything random comes from the seed.

    Attributes:
        minute: minutes since the start.
        faults: {name of a fault: how strong} of what is broken now.
    """

    def __init__(self, seed: int):
        self._rng = np.random.default_rng(seed)
        self.minute, self.faults = 0, dict[str, float]()
        self._tank_C, self._jacket_C, self._valve = 48.0, 53.0, 20.0  # as after a cold batch
        self._feed_L_min, self._feed_C = 5.0, 14.0
        self._recipe()

    def read(self) -> Readings:
        """The sensors, and the set point of the recipe."""
        noise = self._rng.normal(0.0, _SENSOR_K, 2)
        temperature = self._tank_C + noise[0]
        jacket = self.faults.get("jacket_reads_C", self._jacket_C) + noise[1]
        told = temperature, jacket, self._feed_L_min, self._valve, self._set_point_C
        return Readings(*(round(float(value), 2) for value in told))

    def run(self, valve_percent: float) -> None:
        """One minute with this output."""
        wanted = float(np.clip(valve_percent, LOW_PERCENT, HIGH_PERCENT))
        goal = self.faults.get("stuck_valve_percent", wanted)
        wall = _WALL_KW_K * (1.0 - self.faults.get("fouling_percent", 0.0) / 100.0)
        for _ in range(round(60.0 / _STEP_S)):
            self._valve += (goal - self._valve) * _STEP_S / _VALVE_S
            self._balance(wall)
        self.minute += 1
        self._disturb()
        if self.minute % BATCH_MIN == 0:
            self._recipe()

    def _balance(self, wall_kW_K: float) -> None:
        """The balances of heat of tank and jacket, over one step of the integration."""
        steam_kW = _STEAM_KW * max(self._valve, 0.0) / 100.0
        water_L_s = _WATER_L_S * max(-self._valve, 0.0) / 100.0
        water_kW = water_L_s * _HEAT_CAPACITY * (_WATER_C - self._jacket_C)
        feed_kW = self._feed_L_min / 60.0 * _HEAT_CAPACITY * (self._feed_C - self._tank_C)
        wall_kW = wall_kW_K * (self._jacket_C - self._tank_C)
        self._tank_C += (wall_kW + feed_kW) * _STEP_S / (_TANK_L * _HEAT_CAPACITY)
        self._jacket_C += (steam_kW + water_kW - wall_kW) * _STEP_S / (_JACKET_L * _HEAT_CAPACITY)

    def _disturb(self) -> None:
        """The feed wanders, and its temperature follows the hours of the day."""
        pull = 0.02 * (5.0 - self._feed_L_min)
        self._feed_L_min = float(
            np.clip(self._feed_L_min + pull + self._rng.normal(0.0, 0.15), 2.0, 8.0)
        )
        self._feed_C = 14.0 + 2.0 * np.sin(2.0 * np.pi * self.minute / 1440.0)

    def _recipe(self) -> None:
        """A hot batch or a cold one, each at its own temperature."""
        is_hot = self.minute // BATCH_MIN % 2 == 0
        self._set_point_C = self._rng.uniform(*((61.0, 65.0) if is_hot else (47.0, 50.0)))
