"""The log as the estimators see it: rows in the agents' units, and their episodes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from moore.data.dataset import Dataset
from moore.data.whole import are_whole, whole_returns
from moore.envs.bounds import Bounds
from moore.replay.buffer import Transition
from moore.units import Units, spread_of


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class Rows:
    """Transitions as NumPy arrays, in the agents' units; actions in [-1, 1]."""

    obs: Float[np.ndarray, "rows obs"]
    action: Float[np.ndarray, "rows action"]
    reward: Float[np.ndarray, " rows"]
    next_obs: Float[np.ndarray, "rows obs"]
    terminated: Bool[np.ndarray, " rows"]
    truncated: Bool[np.ndarray, " rows"]

    @property
    def transitions(self) -> Transition:
        """The same rows, as buffers take them."""
        return Transition(
            self.obs, self.action, self.reward, self.next_obs, self.terminated, self.truncated
        )


@dataclass(frozen=True, eq=False)
class Logged:
    """A log in the agents' units.

    Attributes:
        data: its rows.
        known: rows whose successor is in the log.
        first, stop: first row of each episode, and the row after its last.
        whole: for each episode whether it ended by itself or is as long as the horizon.
        returns: undiscounted returns of the whole episodes.
        horizon: largest number of steps of an episode.
        cut: share of the rows that lie in episodes which the recording cut short.
    """

    data: Rows
    known: Bool[np.ndarray, " rows"]
    first: Int[np.ndarray, " episodes"]
    stop: Int[np.ndarray, " episodes"]
    whole: Bool[np.ndarray, " episodes"]
    returns: Float[np.ndarray, " whole"]
    horizon: int
    cut: float

    @property
    def starts(self) -> Float[np.ndarray, "episodes obs"]:
        """The observations in which the episodes began."""
        return self.data.obs[self.first]

    @cached_property
    def ends(self) -> Bool[np.ndarray, " rows"]:
        """The last rows of episodes."""
        ends = np.zeros(len(self.known), bool)
        ends[self.stop - 1] = True
        return ends

    @cached_property
    def episode(self) -> Int[np.ndarray, " rows"]:
        """The number of each row's episode."""
        return np.repeat(np.arange(len(self.first)), self.stop - self.first)

    @cached_property
    def spread(self) -> tuple[Float[np.ndarray, " obs"], Float[np.ndarray, " obs"]]:
        """Mean and standard deviation of the observations, float32."""
        mean, std = spread_of(self.data.obs)
        return mean.astype(np.float32), std.astype(np.float32)

    def rows_of(self, episodes: Int[np.ndarray, " some"]) -> Int[np.ndarray, " rows"]:
        """All rows of these episodes, in the order of the log."""
        return np.flatnonzero(np.isin(self.episode, episodes))


def as_logged(log: Dataset, units: Units, bounds: Bounds, episode_steps: int | None) -> Logged:
    """The log in the agents' units.

    Args:
        log: the log, in the user's units.
        units, bounds: convert observations and rewards, and actions.
        episode_steps: step limit of an episode; None: the longest one of the log.
    """
    seen = units.transition_in(
        Transition(
            obs=log.obs,
            action=bounds.scaled(log.action).astype(np.float32),
            reward=log.reward,
            next_obs=log.next_obs,
            terminated=log.terminated,
            truncated=log.truncated,
        )
    )
    data = Rows(
        obs=np.asarray(seen.obs),
        action=np.asarray(seen.action),
        reward=np.asarray(seen.reward),
        next_obs=np.asarray(seen.next_obs),
        terminated=log.terminated,
        truncated=log.truncated,
    )
    ends = log.terminated | log.truncated
    ends = np.append(ends[:-1], True)
    stop = np.flatnonzero(ends) + 1
    first = np.append(0, stop[:-1])
    horizon = int(episode_steps or log.episode_lengths.max())
    whole, lengths = are_whole(log, horizon), stop - first
    return Logged(
        data=data,
        known=log.successor_known,
        first=first,
        stop=stop,
        whole=whole,
        returns=np.asarray(units.reward_in(whole_returns(log, horizon)), np.float64),
        horizon=horizon,
        cut=float(lengths[~whole].sum() / lengths.sum()),
    )
