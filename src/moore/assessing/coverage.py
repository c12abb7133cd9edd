"""Whether the log knows what the new policy does: distances to the nearest logged rows.

States are compared in the log's standard deviations, actions in their range. What is near is told
by the log itself: 99% of its own rows lie nearer to the rows of other episodes. States of the new
policy are imagined ones, which are drawn towards the log: their distance is a lower bound. So the
actions are also compared in logged states, where no model is asked.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from moore.assessing.controller import JudgedController
from moore.assessing.imagined import Imagined
from moore.assessing.logged import Logged

# Share of the log's own rows that counts as near.
USUAL = 0.99
# Numbers of rows that are searched, and that are asked for; the time is their product.
REFERENCE, ASKED = 20_000, 2000
# Number of stretches that a log of a single episode is cut into.
STRETCHES = 10
# Number of most similar states whose actions an action is compared with.
SIMILAR = 10
# A distance below this is nothing: a hundredth of the range of the action, or of a deviation.
_LEAST = 0.01
# An action this near to a bound of [-1, 1] is at the bound.
_BOUND = 0.98


@dataclass(frozen=True)
class Covered:
    """What the log knows of a policy's states and actions.

    Attributes:
        states_outside: share of the imagined states that lie further from the log's rows than 99%
            of the log's own states do; None without models.
        actions_outside: share of the imagined steps in which the action lies further from all
            logged actions in similar states than is usual in the log; None without models.
        actions_outside_in_log: share of the logged states in which the policy's action does so.
        at_bounds, logged_at_bounds: share of the entries of the policy's actions, and of the
            logged ones, that lie at a bound.
        state_distances, own_distances: distances of the policy's states, and of the log's own, to
            the nearest row; 1 is the distance below which 99% of the log's own lie.
    """

    states_outside: float | None
    actions_outside: float | None
    actions_outside_in_log: float
    at_bounds: float
    logged_at_bounds: float
    state_distances: Float[np.ndarray, " asked"]
    own_distances: Float[np.ndarray, " own"]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The log as a set of rows in which neighbours are searched.

    Attributes:
        logged: the log. Half of its episodes are searched; rows of the others show what is usual.
            A single episode is taken as stretches: its rows, searched among themselves, would all
            be found, and everything else would be outside.
        seed: seed of the draws.
    """

    logged: Logged
    seed: int = 0

    @cached_property
    def _halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows that are searched, and rows of other episodes that are asked for."""
        rng, piece = np.random.default_rng(self.seed), self.logged.episode
        if len(self.logged.first) == 1:
            piece = np.arange(len(piece)) * STRETCHES // len(piece)
        order = rng.permutation(np.unique(piece))
        half = max(1, len(order) // 2)
        searched = np.flatnonzero(np.isin(piece, order[:half]))
        others = np.flatnonzero(np.isin(piece, order[half:])) if len(order) > 1 else searched
        return _some(searched, REFERENCE, rng), _some(others, ASKED, rng)

    def _scaled(self, obs: np.ndarray) -> np.ndarray:
        mean, std = self.logged.spread
        return (obs - mean) / std / np.sqrt(obs.shape[1])

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._scaled(self.logged.data.obs[self._halves[0]]))

    def _distances(self, obs: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """To the nearest state, and to the nearest action in similar states."""
        count = min(SIMILAR, len(self._halves[0]))
        far, who = self._tree.query(self._scaled(obs), k=[*range(1, count + 1)])
        similar = self.logged.data.action[self._halves[0]][who]
        apart = np.sqrt(np.mean((similar - action[:, None]) ** 2, axis=-1))
        return far[:, 0], apart.min(axis=1)

    @cached_property
    def _own(self) -> tuple[np.ndarray, np.ndarray]:
        rows, data = self._halves[1], self.logged.data
        return self._distances(data.obs[rows], data.action[rows])

    @cached_property
    def _usual(self) -> tuple[float, float]:
        state, action = (max(float(np.quantile(far, USUAL)), _LEAST) for far in self._own)
        return state, action

    def of(self, new: JudgedController, visited: Imagined | None) -> Covered:
        """What the log knows of this policy; without models only in logged states."""
        data, rows = self.logged.data, self._halves[1]
        usual_state, usual_action = self._usual
        here = data.obs[rows]
        _, apart = self._distances(here, new.actions(here))
        outside, far, actions_outside = None, np.zeros(0), None
        if visited is not None:
            happened = np.asarray(visited.happened)
            step, episode = np.nonzero(happened)
            some = _some(np.arange(len(step)), ASKED, np.random.default_rng(self.seed))
            place = step[some], episode[some]
            obs, action = np.asarray(visited.obs)[place], np.asarray(visited.action)[place]
            far, imagined_apart = self._distances(obs, action)
            outside = float(np.mean(far > usual_state))
            actions_outside = float(np.mean(imagined_apart > usual_action))
        at_bounds = new.actions(here) if visited is None else action
        return Covered(
            states_outside=outside,
            actions_outside=actions_outside,
            actions_outside_in_log=float(np.mean(apart > usual_action)),
            at_bounds=float(np.mean(np.abs(at_bounds) > _BOUND)),
            logged_at_bounds=float(np.mean(np.abs(data.action) > _BOUND)),
            state_distances=far / usual_state,
            own_distances=self._own[0] / usual_state,
        )


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many of the rows, drawn at random, in their order."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
