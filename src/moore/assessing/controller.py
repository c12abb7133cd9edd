"""Controllers that are compared: the new policy, a clone of the log, and a stand-in for the old.

The controller that made the log is not there any more. Where an estimator has to let it act, a
stand-in does: a clone of the whole log, with as much noise as the logged actions have around it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from moore.agents import bc
from moore.agents.bc import BCConfig
from moore.assessing.logged import Logged
from moore.experience.part import part_of
from moore.jax_settings import key_of
from moore.replay.buffer import Replay, full_replay
from moore.stages.clone import fit_clone

ActMode = Callable[[PyTree, Float[Array, "rows obs"]], Float[Array, "rows action"]]

# Smaller and shorter than a run's clone, because it only has to serve for a comparison.
CLONING = BCConfig(hidden=(128, 128), updates=3000)


@dataclass(frozen=True, eq=False)
class JudgedController:
    """A policy in the agents' units.

    Attributes:
        act_mode: action without noise, from the weights and a batch of observations.
        weights: weights of the policy.
        noise: (action,) standard deviation of normal noise that is added to the action.
    """

    act_mode: ActMode
    weights: PyTree
    noise: Float[np.ndarray, " action"] = field(default_factory=lambda: np.zeros(1, np.float32))

    def actions(self, obs: Float[np.ndarray, "rows obs"]) -> Float[np.ndarray, "rows action"]:
        """Actions in [-1, 1] without noise."""
        return np.asarray(_act(self.weights, obs, act_mode=self.act_mode))


@partial(jax.jit, static_argnames="act_mode")
def _act(weights: PyTree, obs: Float[Array, "rows obs"], *, act_mode: ActMode):
    return jnp.clip(act_mode(weights, obs), -1.0, 1.0)


def cloned(
    logged: Logged, *, seed: int, settings: BCConfig | None = None
) -> tuple[JudgedController, JudgedController]:
    """The clone of the log's better part, and the stand-in for the controllers that made the log.

    Args:
        logged: the log.
        seed: seed of the fits.
        settings: settings of the regression; None: `CLONING`.
    """
    settings = CLONING if settings is None else settings
    key_split, key_better, key_whole = jax.random.split(key_of(seed), 3)
    replay = _as_replay(logged, key_split)
    better = fit_clone(replay, part_of(replay), key_better, settings).actor
    whole = fit_clone(replay, part_of(replay, share=1.0), key_whole, settings).actor
    old = JudgedController(bc.act_mode, whole)
    error = logged.data.action - old.actions(logged.data.obs)
    noise = np.sqrt(np.mean(error**2, axis=0)).astype(np.float32)
    return JudgedController(bc.act_mode, better), JudgedController(bc.act_mode, whole, noise)


def _as_replay(logged: Logged, key: jax.Array) -> Replay:
    rows = logged.data.transitions
    return full_replay(rows, logged.known, key, holdout_fraction=0.0, max_holdout=1)
