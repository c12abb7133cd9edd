"""What the theory says of the step from one epoch's policy to the next, estimated by rollouts.

It also imagines whole episodes of a policy in the models, from states where episodes of the log
start.

For the models M and policies pi at the ends of two epochs, t and t + 1, let U_M(pi) be the expected
discounted sum of u, and eta_M(pi) that of the models' reward, without the penalty (section 3.3).
Both are estimated over the first H steps from states that the sampling scheme draws, with the same
states and random numbers for every pair of policy and models. Each estimate is divided by 1 -
gamma^H, the share of these steps in the discounted time. So it stands for the infinite sum, as if
the first steps were typical.
"""

import dataclasses
import math
from typing import overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.dynamics.ensemble import Ensemble, Normaliser
from moore.dynamics.imagine import TerminationFn, rollout
from moore.dynamics.penalty import of_std
from moore.experience.settings import RolloutSettings
from moore.experience.uncertainty import make_uncertainty
from moore.jax_settings import key_of
from moore.lockstep.program import program
from moore.replay.buffer import Replay
from moore.replay.sampler import gather
from moore.units import spread_of

Metrics = dict[str, Float[Array, ""]]
ObsRange = tuple[Float[Array, " obs"], Float[Array, " obs"]]

# Largest number of rollouts of an estimate, and of their steps together; 100 rollouts are always
# made.
PROBES, PROBED_STEPS = 1000, 5000
# Folded into the run's seed: fold_in(key, i) is the i-th of split(key, n), so it is a large one.
_STREAM = 0x0D1A6
# A whole episode has many steps that follow each other and takes long, so there are few of them.
EPISODES = 20


class PolicyInModels(eqx.Module):
    """The policy that acts and the models, at the end of an epoch.

    `agent_state`: state of the agent whose critics measure the uncertainty, if `uncertainty` is
    "value".
    """

    policy: PyTree
    ensemble: Ensemble
    agent_state: PyTree = None


def probes(length: int) -> int:
    """The number of rollouts of an estimate, from the number of steps of each."""
    return min(PROBES, max(100, PROBED_STEPS // length))


def own_key(seed: int, epoch: int) -> PRNGKeyArray:
    """The key of diagnostics, which no result depends on; epoch 0 stands for all epochs."""
    return jax.random.fold_in(jax.random.fold_in(key_of(seed), _STREAM), epoch)


@jax.jit
def observed_range(replay: Replay) -> ObsRange:
    """Lowest and highest value of every entry of the observations in a buffer."""
    there = (jnp.arange(replay.capacity) < replay.size)[:, None]
    obs, next_obs = replay.data.obs, replay.data.next_obs
    low, high = jnp.minimum(obs, next_obs), jnp.maximum(obs, next_obs)
    return jnp.where(there, low, jnp.inf).min(axis=0), jnp.where(there, high, -jnp.inf).max(axis=0)


@overload
def widened(seen: ObsRange, share: float) -> ObsRange: ...


@overload
def widened(seen: ObsRange, share: float | None) -> ObsRange | None: ...


def widened(seen: ObsRange, share: float | None) -> ObsRange | None:
    """The range extended by this share of its width on either side; None gives None."""
    if share is None:
        return None
    low, high = seen
    more = share * (high - low)
    return low - more, high + more


def logged_spread(log: Replay, bound: float) -> Normaliser | None:
    """The unit of the bound on imagined observations; None if it is infinite or there is no log."""
    rows = int(log.size)
    if not rows or math.isinf(bound):
        return None
    columns = spread_of(np.asarray(log.data.obs[:rows]))
    return Normaliser(*(jnp.asarray(column, jnp.float32) for column in columns))


def sums(
    pair: PolicyInModels,
    starts: Float[Array, "count obs"],
    key: PRNGKeyArray,
    agent: Agent,
    terminated_fn: TerminationFn,
    settings: RolloutSettings,
    discount: float,
    spread: Normaliser | None = None,
    within: ObsRange | None = None,
    drawn: bool = True,
) -> tuple[Float[Array, " count"], Float[Array, " count"], Bool[Array, " count"]]:
    """U_M(pi) and eta_M(pi) from each start; True where a rollout was cut short by the bound.

    `drawn`: whether the policy's actions are drawn, or it acts without noise.
    """

    def choose(obs, k):
        return agent.act(pair.policy, obs, k) if drawn else agent.act_mode(pair.policy, obs)

    critics = pair.agent_state
    uncertainty_fn = make_uncertainty(settings, agent, critics, terminated_fn, spread)
    transitions, happened, uncertainty = rollout(
        pair.ensemble,
        choose,
        terminated_fn,
        starts,
        key,
        length=settings.rollout_length,
        penalty_coef=0.0,
        obs_bound=settings.imagined_bound,
        spread=spread,
        within=within,
        uncertainty_fn=uncertainty_fn,
        one_member=settings.one_member,
        noise=settings.member_noise,
    )
    # Without a discount the infinite sum does not exist, so the sum over the first H steps is kept.
    part = 1.0 - discount**settings.rollout_length if discount < 1.0 else 1.0
    weight = discount ** jnp.arange(settings.rollout_length, dtype=jnp.float32) / part
    u, eta = (
        jnp.sum(weight[:, None] * jnp.where(happened, value, 0.0), axis=0)
        for value in (uncertainty, transitions.reward)
    )
    goes_on = happened[:-1] & ~transitions.terminated[:-1]
    broken = ~happened[0] | jnp.any(goes_on & ~happened[1:], axis=0)
    return u, eta, broken


@program(static_argnames=("agent", "terminated_fn", "settings"))
def compare_epochs(
    old: PolicyInModels,
    new: PolicyInModels,
    offline: Replay,
    online: Replay,
    rows: Int[Array, " count"],
    key: PRNGKeyArray,
    penalty_coef: Float[Array, ""],
    *,
    agent: Agent,
    terminated_fn: TerminationFn,
    settings: RolloutSettings,
    spread: Normaliser | None = None,
    within: ObsRange | None = None,
) -> Metrics:
    """The Relative Uncertainty Error (section 4.3) and the terms of the drop bound for two epochs.

    Args:
        old, new: M_t, pi_t and M_{t+1}, pi_{t+1}.
        offline, online, rows: D_off and D_on, and which of their states to start from.
        key, agent, terminated_fn, settings, spread, within: what a rollout is.
        penalty_coef: lambda.

    Returns:
        uncertainty_old, uncertainty_new: U_{M_t}(pi_t) and U_{M_{t+1}}(pi_{t+1}).
        uncertainty_carried: U_{M_{t+1}}(pi_t), the old policy in the new models.
        return_old, return_carried, return_new: the same three for eta.
        relative_uncertainty_error: |U_{M_t}(pi_t) - U_{M_{t+1}}(pi_t)| / |eta_{M_t}(pi_t)|, as
            section 4.3 prints it.
        relative_uncertainty_error_theorem: the same with U_{M_{t+1}}(pi_{t+1}) as the second term,
            as Theorem 2 needs it.
        drop_term: lambda [U_{M_{t+1}}(pi_t) - U_{M_{t+1}}(pi_{t+1})], the corrected bound on
            eta(pi_t) - eta(pi_{t+1}) without two of its terms: the models' errors along both
            policies, and the distance of pi_{t+1} from the optimum of the penalised models.
        predicted_drop: eta_{M_{t+1}}(pi_t) - eta_{M_{t+1}}(pi_{t+1}), the bound before the last
            step of its proof. It lacks only the models' errors and holds for any two policies.
    """
    starts, discount = jnp.asarray(gather(offline, online, rows).obs), settings.discount
    how = agent, terminated_fn, settings, discount, spread, within

    def estimate(pair: PolicyInModels):
        u, eta, _ = sums(pair, starts, key, *how)
        return jnp.mean(u), jnp.mean(eta)

    u_old, eta_old = estimate(old)
    u_carried, eta_carried = estimate(dataclasses.replace(new, policy=old.policy))
    u_new, eta_new = estimate(new)
    return {
        "theory/uncertainty_old": u_old,
        "theory/uncertainty_carried": u_carried,
        "theory/uncertainty_new": u_new,
        "theory/return_old": eta_old,
        "theory/return_carried": eta_carried,
        "theory/return_new": eta_new,
        "theory/relative_uncertainty_error": jnp.abs(u_old - u_carried) / jnp.abs(eta_old),
        "theory/relative_uncertainty_error_theorem": jnp.abs(u_old - u_new) / jnp.abs(eta_old),
        "theory/drop_term": penalty_coef * (u_carried - u_new),
        "theory/predicted_drop": eta_carried - eta_new,
    }


@program(static_argnames=("agent", "terminated_fn", "settings", "steps"))
def imagine_episodes(
    policy: PyTree,
    ensemble: Ensemble,
    starts: Float[Array, "count obs"],
    key: PRNGKeyArray,
    *,
    agent: Agent,
    terminated_fn: TerminationFn,
    settings: RolloutSettings,
    steps: int,
    spread: Normaliser | None = None,
    within: ObsRange | None = None,
) -> Metrics:
    """Whole episodes of the evaluated policy in the models: an evaluation without the system.

    Args:
        policy: the policy, which acts with its mode.
        ensemble: models of the system.
        starts: states in which the episodes start.
        key: key of the models' noise.
        agent, terminated_fn, settings, spread, within: define a rollout, except for its length.
        steps: largest number of steps of an episode.

    Returns:
        episode_return: mean return without the penalty, comparable with eval/return.
        episode_discounted_return: the same for the discounted return, comparable with the critics'
            values, which also contain the penalty and the entropy.
        episode_steps: mean length; an episode ends where it becomes non-finite or exceeds
            `imagined_bound`.
    """
    transitions, happened, _ = rollout(
        ensemble,
        lambda obs, _: agent.act_mode(policy, obs),
        terminated_fn,
        starts,
        key,
        length=steps,
        penalty_coef=0.0,
        obs_bound=settings.imagined_bound,
        spread=spread,
        within=within,
        uncertainty_fn=None if settings.one_member else of_std,
        one_member=settings.one_member,
        noise=settings.member_noise,
    )
    reward = jnp.where(happened, transitions.reward, 0.0).mean(axis=1)
    weight = settings.discount ** jnp.arange(steps, dtype=jnp.float32)
    return {
        "model/episode_return": reward.sum(),
        "model/episode_discounted_return": weight @ reward,
        "model/episode_steps": happened.sum(axis=0).mean(),
    }
