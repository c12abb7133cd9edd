"""The user's units and the agents' units, and the conversion between them.

A run may standardise observations and scale rewards; it always scales actions to [-1, 1]. Replay,
models, imagination, agents and gate only see the agents' units, so it makes no difference beyond
rounding whether a pressure is in pascal or in bar. Actions, returns and metrics are converted back
to the user's units.

Rewards are scaled but never shifted, because a shift changes the task if episodes can terminate.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np
from jaxtyping import Array, Float

from moore.data.checks import blocks
from moore.data.columns import Columns, describe
from moore.replay.buffer import AnyArray, Transition

# A column whose standard deviation is less than this share of its mean holds float32's rounding and
# little else; one that varies by less than DUST holds the rounding of a computation around 0.
ROUNDING, DUST = 1e-6, 1e-12
# A column that holds one value in so many of its rows is an alarm, not a measurement.
ONE_VALUE = 0.999
# Settings of the agents that count in the user's rewards.
_IN_REWARDS = ("return_low", "return_high")


@dataclass(frozen=True)
class Units:
    """The conversion from the user's units to the agents'. The default changes nothing.

    Attributes:
        obs_mean, obs_std: (obs_dim,) each; the mean is subtracted from an observation, then it is
            divided by the deviation. If they are empty, observations stay as they are.
        reward_scale: positive factor by which rewards are multiplied.
    """

    obs_mean: tuple[float, ...] = ()
    obs_std: tuple[float, ...] = ()
    reward_scale: float = 1.0

    @cached_property
    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.obs_mean), np.asarray(self.obs_std)

    @overload
    def obs_in(self, obs: Float[np.ndarray, "*rows obs"]) -> Float[np.ndarray, "*rows obs"]: ...

    @overload
    def obs_in(self, obs: Float[Array, "*rows obs"]) -> Float[AnyArray, "*rows obs"]: ...

    def obs_in(self, obs: Float[AnyArray, "*rows obs"]) -> Float[AnyArray, "*rows obs"]:
        """Observations in the agents' units, float32; the same array object if nothing changes."""
        if not self.obs_mean:
            return obs
        (mean, std), obs = self._columns, np.asarray(obs)
        if obs.ndim < 2:
            return ((obs - mean) / std).astype(np.float32)
        result = np.empty(obs.shape, np.float32)
        for rows in blocks(len(obs), 8 * obs[:1].size):  # float64 in between, a block at a time
            result[rows] = (obs[rows] - mean) / std
        return result

    @overload
    def obs_out(self, obs: Float[np.ndarray, "*rows obs"]) -> Float[np.ndarray, "*rows obs"]: ...

    @overload
    def obs_out(self, obs: Float[Array, "*rows obs"]) -> Float[Array, "*rows obs"]: ...

    def obs_out(self, obs: Float[AnyArray, "*rows obs"]) -> Float[AnyArray, "*rows obs"]:
        """The inverse of `obs_in`, for arrays of NumPy and of JAX, including traced ones."""
        if not self.obs_mean:
            return obs
        if isinstance(obs, np.ndarray):
            mean, std = self._columns
            return (obs * std + mean).astype(np.float32)
        rows = (None,) * (obs.ndim - 1)
        mean, std = (column.astype(np.float32)[rows] for column in self._columns)
        return obs * std + mean

    def reward_in(self, reward: Any) -> Any:
        """Rewards or returns in the agents' units."""
        return reward if self.reward_scale == 1.0 else reward * self.reward_scale

    def reward_out(self, reward: Any) -> Any:
        """Rewards, returns or values in the user's units."""
        return reward if self.reward_scale == 1.0 else reward / self.reward_scale

    def transition_in(self, seen: Transition) -> Transition:
        """NumPy transitions in the agents' units; their actions stay as they are."""
        if self == AS_GIVEN:
            return seen
        reward = np.asarray(self.reward_in(np.asarray(seen.reward, np.float64)), np.float32)
        obs, next_obs = self.obs_in(seen.obs), self.obs_in(seen.next_obs)
        return dataclasses.replace(seen, obs=obs, reward=reward, next_obs=next_obs)

    def transition_out(self, kept: Transition) -> Transition:
        """The inverse of `transition_in`, up to rounding."""
        if self == AS_GIVEN:
            return kept
        reward = np.asarray(self.reward_out(np.asarray(kept.reward, np.float64)), np.float32)
        obs, next_obs = (self.obs_out(np.asarray(x)) for x in (kept.obs, kept.next_obs))
        return dataclasses.replace(kept, obs=obs, reward=reward, next_obs=next_obs)

    def settings_in(self, agent_config: Any) -> Any:
        """An agent's settings, with those that are measured in rewards in the agents' units."""
        given = {name: getattr(agent_config, name, None) for name in _IN_REWARDS}
        scaled = {name: self.reward_in(x) for name, x in given.items() if x is not None}
        return dataclasses.replace(agent_config, **scaled) if scaled else agent_config

    def to_dict(self) -> dict:
        """The units as a JSON object."""
        values = dataclasses.asdict(self)
        return {name: list(x) if isinstance(x, tuple) else x for name, x in values.items()}

    @classmethod
    def from_dict(cls, values: dict) -> "Units":
        """The units from the result of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: the values are not a result of `to_dict`.
        """
        mean, std = (tuple(map(float, values[name])) for name in ("obs_mean", "obs_std"))
        scale = float(values["reward_scale"])
        usable = all(map(np.isfinite, (*mean, *std, scale))) and all(x > 0 for x in (*std, scale))
        if len(mean) != len(std) or not usable:
            raise ValueError("units need as many finite means as positive deviations, and a scale")
        return cls(mean, std, scale)


AS_GIVEN = Units()


def measured(
    obs: Float[np.ndarray, "rows obs"],
    reward: Float[np.ndarray, " rows"],
    *,
    standardise_obs: bool,
    scale_rewards: bool,
) -> Units:
    """Units in which these rows have mean 0, standard deviation 1 and rewards of RMS 1."""
    mean, std, scale = (), (), 1.0
    if standardise_obs:
        mean, std = (tuple(column.tolist()) for column in spread_of(obs))
    if scale_rewards:
        scale = _scale_for(float(np.sqrt(np.mean(np.asarray(reward, np.float64) ** 2))))
    return Units(mean, std, scale)


def units_of(obs: Columns, reward: Columns, *, standardise_obs: bool, scale_rewards: bool) -> Units:
    """The conversion from statistics of rows that are not in memory."""
    mean, std, scale = (), (), 1.0
    if standardise_obs:
        mean, std = (tuple(column.tolist()) for column in _useful(obs))
    if scale_rewards:
        scale = _scale_for(float(np.hypot(reward.mean[0], reward.sd[0])))
    return Units(mean, std, scale)


def _scale_for(size: float) -> float:
    """The factor for rewards of this root mean square."""
    return 1.0 / size if size > 0.0 else 1.0


def spread_of(
    obs: Float[np.ndarray, "rows obs"],
) -> tuple[Float[np.ndarray, " obs"], Float[np.ndarray, " obs"]]:
    """Mean and standard deviation of every column, float64.

    A deviation that is no useful scale is replaced. A column that varies only by rounding gets the
    magnitude of its mean, or 1 if that is about 0; one that nearly always holds the same value gets
    its range.
    """
    return _useful(describe(obs))


def _useful(
    found: Columns,
) -> tuple[Float[np.ndarray, " obs"], Float[np.ndarray, " obs"]]:
    size = np.abs(found.mean)
    std = np.where(found.mode_share >= ONE_VALUE, found.high - found.low, found.sd)
    still = found.sd <= np.maximum(ROUNDING * size, DUST)
    return found.mean, np.where(still, np.where(size > DUST, size, 1.0), std)
