"""Returns by the models: whole imagined episodes, corrected by what the log says.

    value(new) = earned(old) + [imagined(new) - imagined(old)]

Both controllers begin in the same states of the log and in the same members. Errors that a model
makes for both cancel; errors that only the new one meets do not. Each episode keeps one member
and takes its mean, and observations are cut to 10% beyond the range of the log, because models
that are left without limits run away (docs/learning.md).

The interval: each bootstrap replicate takes one member, which stands for one possible system, and
draws starting episodes and logged episodes anew. The error that the models make for the old
controller, whose return is known, counts as one more standard deviation.
"""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from moore.assessing.controller import ActMode, JudgedController
from moore.assessing.estimate import ReturnEstimate, within
from moore.dynamics.ensemble import Ensemble
from moore.dynamics.imagine import TerminationFn, rollout
from moore.shapes import to_rank_of

# Share of the range of the log by which it is widened before imagined observations are cut to it.
BEYOND = 0.1
REPLICATES = 2000
# Largest share of imagined episodes that may become non-finite, as for the gate.
MOST_BROKEN = 0.5


class Imagined(eqx.Module):
    """Whole episodes of one controller, e elites times s starts.

    Attributes:
        returns: (e, s) returns.
        course: (steps,) mean over the episodes of what was earned up to each step.
        obs, action: (steps, e * s, ...) what was visited, and where `happened` is true.
        broken: share of the episodes that became non-finite.
    """

    returns: Float[Array, "elites starts"]
    course: Float[Array, " steps"]
    obs: Float[Array, "steps episodes obs"]
    action: Float[Array, "steps episodes action"]
    happened: Bool[Array, "steps episodes"]
    broken: Float[Array, ""]


def imagine_episodes(
    controller: JudgedController,
    ensemble: Ensemble,
    starts: Float[np.ndarray, "starts obs"],
    key: PRNGKeyArray,
    *,
    terminated_fn: TerminationFn,
    steps: int,
    limits: tuple[Float[np.ndarray, " obs"], Float[np.ndarray, " obs"]],
) -> Imagined:
    """Whole episodes in every elite member, from every start.

    Args:
        controller: the policy, in the agents' units.
        ensemble: models of the system.
        starts: first observations.
        key: key of the controller's noise.
        terminated_fn: the rule that ends episodes.
        steps: largest number of steps of an episode.
        limits: lowest and highest observation.
    """
    return _imagine(
        controller.weights, jnp.asarray(controller.noise), ensemble, jnp.asarray(starts), key,
        limits, act_mode=controller.act_mode, terminated_fn=terminated_fn, steps=steps,
    )  # fmt: skip


@partial(jax.jit, static_argnames=("act_mode", "terminated_fn", "steps"))
def _imagine(
    weights: PyTree,
    noise: Float[Array, " _"],
    ensemble: Ensemble,
    starts: Float[Array, "starts obs"],
    key: PRNGKeyArray,
    limits: tuple[Float[Array, " obs"], Float[Array, " obs"]],
    *,
    act_mode: ActMode,
    terminated_fn: TerminationFn,
    steps: int,
) -> Imagined:
    elites = ensemble.elites.shape[0]

    def act(obs: Float[Array, "rows obs"], key_step: PRNGKeyArray):
        action = act_mode(weights, obs)
        drawn = jax.random.normal(key_step, action.shape)
        return jnp.clip(action + to_rank_of(noise, action) * drawn, -1.0, 1.0)

    transitions, happened, _ = rollout(
        ensemble,
        act,
        terminated_fn,
        jnp.tile(starts, (elites, 1)),
        key,
        length=steps,
        penalty_coef=0.0,
        obs_bound=float("inf"),
        uncertainty_fn=None,
        one_member=True,
        noise=False,
        within=limits,
    )
    reward = jnp.where(happened, transitions.reward, 0.0)
    goes_on = happened[:-1] & ~transitions.terminated[:-1]
    broken = ~happened[0] | jnp.any(goes_on & ~happened[1:], axis=0)
    return Imagined(
        returns=reward.sum(axis=0).reshape(elites, -1),
        course=jnp.cumsum(reward.mean(axis=1)),
        obs=jnp.asarray(transitions.obs),
        action=jnp.asarray(transitions.action),
        happened=happened,
        broken=broken.mean(),
    )


@dataclass(frozen=True)
class Compared:
    """A controller's return, and what it earns more than the old one, by one estimator."""

    value: ReturnEstimate
    gain: ReturnEstimate


def corrected(
    new: Float[np.ndarray, "elites starts"],
    old: Float[np.ndarray, "elites starts"],
    earned: Float[np.ndarray, " episodes"],
    *,
    seed: int,
) -> Compared:
    """earned(old) + [imagined(new) - imagined(old)], with bootstrap intervals.

    Args:
        new, old: imagined returns of both controllers, from the same starts.
        earned: returns of the log's episodes.
        seed: seed of the bootstrap.
    """
    rng, (elites, starts) = np.random.default_rng(seed), new.shape
    member = rng.integers(elites, size=(REPLICATES, 1))
    drawn = rng.integers(starts, size=(REPLICATES, starts))
    gains = (new - old)[member, drawn].mean(axis=1)
    levels = earned[rng.integers(len(earned), size=(REPLICATES, len(earned)))].mean(axis=1)
    error = float(old.mean() - earned.mean())
    gain = float((new - old).mean())
    return Compared(
        value=within(earned.mean() + gain, np.hypot(np.std(levels + gains), error)),
        gain=within(gain, np.hypot(np.std(gains), error)),
    )
