"""How far the models' rollouts drift from the log: stretches of it, replayed with its own actions.

One-step errors say little about rollouts of 100 steps: small errors add up, or the models correct
themselves. So a member starts where a stretch of the log starts, is given the actions that were
taken there, and is compared with what came of them after 10, 50 and 100 steps. The stretches must
be held out, or the models have seen them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.dynamics.ensemble import Ensemble, Normaliser
from moore.dynamics.imagine import imagine_step
from moore.replay.buffer import Transition, take

HORIZONS = (10, 50, 100)


def stretch_starts(
    ends: Bool[np.ndarray, " rows"], usable: Bool[np.ndarray, " rows"], length: int
) -> Int[np.ndarray, " starts"]:
    """Rows from which `length` usable rows follow one another within one episode.

    Args:
        ends: the last rows of episodes.
        usable: rows that may be used: held out, and with a known successor.
        length: number of rows of a stretch, the first one included.
    """
    # An end may be the last row of a stretch, but no other.
    bad, end = (np.append(0, np.cumsum(column)) for column in (~usable, ends))
    first = np.arange(len(ends) - length + 1)
    whole = bad[first + length] == bad[first]
    return first[whole & (end[first + length - 1] == end[first])]


def open_loop_errors(
    ensemble: Ensemble,
    log: Transition,
    starts: Int[Array, " stretches"],
    key: PRNGKeyArray,
    *,
    horizons: tuple[int, ...] = HORIZONS,
    spread: Normaliser,
    one_member: bool = True,
    noise: bool = False,
) -> dict[str, Float[Array, ""]]:
    """The error after h steps of the log's own actions, in the log's standard deviations.

    The error of a stretch is the root mean square over the entries of the observation; a prediction
    that is not finite or more than 10 standard deviations off counts as 10. The
    stretches are shared out among the members.

    Args:
        ensemble: the models.
        log: all rows of it.
        starts: first rows of the stretches, as of `stretch_starts` with the largest horizon.
        key: key of the models' noise, and of the choice of a member where each step has a new one.
        horizons: the numbers of steps h after which the error is measured.
        spread: the standard deviations of the observations in the log.
        one_member, noise: as in `rollout`.

    Returns:
        open_loop_h: the median of the error over the stretches.
        open_loop_reward_h: the median of |sum of imagined rewards - sum of the log's| / h.
    """
    count = starts.shape[0]
    members = ensemble.elites[jnp.arange(count) % ensemble.elites.shape[0]]
    length = max(horizons)

    def step(carry, step_input):
        obs, earned = carry
        t, step_key = step_input
        real = take(log, starts + t)
        outcome = imagine_step(
            ensemble,
            obs,
            jnp.asarray(real.action),
            step_key,
            lambda obs, *_: jnp.zeros(obs.shape[0]),
            member=members if one_member else None,
            noise=noise,
        )
        error = (outcome.next_obs - real.next_obs) / spread.std[None]
        error = jnp.sqrt(jnp.mean(jnp.clip(jnp.nan_to_num(error, nan=10.0), -10.0, 10.0) ** 2, -1))
        earned = earned + outcome.reward - real.reward
        return (outcome.next_obs, earned), (error, earned)

    begin = (log.obs[starts], jnp.zeros(count))
    inputs = (jnp.arange(length), jax.random.split(key, length))
    _, (error, earned) = jax.lax.scan(step, begin, inputs)
    found = {}
    for h in horizons:
        found[f"open_loop_{h}"] = jnp.median(error[h - 1])
        found[f"open_loop_reward_{h}"] = jnp.median(jnp.abs(earned[h - 1])) / h
    return found
