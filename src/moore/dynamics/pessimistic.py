"""The pessimistic decision process of MOReL (Kidambi et al. 2020, section 4).

A state and action count as unknown where the members' predictions lie further apart than anywhere
in the log, times a coefficient. There an imagined episode halts, at the value of an absorbing state
whose every step costs as much as the log's largest reward. So no policy is worth more here than on
the system, as far as the known part is predicted well.

Constants are those of the authors' code (aravindr93/mjrl, branch v2, projects/morel/run_morel.py
and mjrl/algos/mbrl/model_based_npg.py), where they are given.

Note:
    The authors learn by natural policy gradients on whole imagined episodes and with a planner as
    the paper's placeholder; here SAC learns from branched rollouts. Their scripts end the episode
    and add `truncate_reward`, 0, to its last reward, which suits tasks whose rewards are positive:
    where rewards are costs, an early end at 0 would be a gain.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.dynamics.ensemble import Ensemble, predict_all
from moore.lockstep.program import program
from moore.ranges import NonNegative, Positive
from moore.replay.buffer import Replay
from moore.tables import Section

# Rows of the log that are predicted at once, so that memory stays bounded.
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class PessimismConfig:
    """Settings of the pessimistic decision process of MOReL."""

    coef: Positive[float] = 1.0
    """A step counts as unknown if the members disagree by more than this times the largest
    disagreement in the log (`pessimism_coef`). The authors' example for Hopper uses 0.5 and their
    script for D4RL's hopper-medium 3; EmptyJackson/unifloral uses 1."""
    halt_cost: NonNegative[float] = 1.0
    """Cost of a step in the halt state, as a multiple of the largest |reward| of the log. The
    paper's definition of the process has 1."""


SECTION = Section(
    "pessimism", PessimismConfig, "Settings of the pessimistic decision process of MOReL."
)


class Halt(eqx.Module):
    """Where the known part of the models ends, and what a step beyond it earns.

    `limit`: the largest disagreement of a known step. `reward`: of a step that is unknown.
    """

    limit: Float[Array, ""]
    reward: Float[Array, ""]


def disagreement(mean: Float[Array, "members batch outputs"]) -> Float[Array, " batch"]:
    """disc(s, a) = max over i, j of ||f_i(s, a) - f_j(s, a)||_2, in raw units.

    Args:
        mean: of (r, s' - s), of every member. Only the states count, as in the authors' code; the
            change that all predictions have in common drops out.
    """
    state = mean[..., 1:]
    return jnp.max(jnp.linalg.norm(state[:, None] - state[None], axis=-1), axis=(0, 1))


def of_disagreement(
    obs: Float[Array, "batch obs"],
    action: Float[Array, "batch action"],
    mean: Float[Array, "members batch outputs"],
    std: Float[Array, "members batch outputs"],
    key: PRNGKeyArray,
) -> Float[Array, " batch"]:
    """`disagreement` as an uncertainty of `moore.dynamics.penalty`."""
    del obs, action, std, key
    return disagreement(mean)


def logged_disagreement(ensemble: Ensemble, log: Replay) -> Float[Array, ""]:
    """The largest disagreement at a state and action of the log; 0 without a row."""

    def of_row(row: tuple[Float[Array, " obs"], Float[Array, " action"]]) -> Float[Array, ""]:
        mean, _ = predict_all(ensemble, jnp.concatenate(row)[None])
        return disagreement(mean)[0]

    rows = (jnp.asarray(log.data.obs), jnp.asarray(log.data.action))
    found = jax.lax.map(of_row, rows, batch_size=min(_ROWS_AT_ONCE, log.capacity))
    return jnp.max(jnp.where(jnp.arange(log.capacity) < log.size, found, 0.0))


@program(static_argnames=("config",))
def known_limit(ensemble: Ensemble, log: Replay, config: PessimismConfig) -> Float[Array, ""]:
    """The disagreement above which a state and action are unknown; new after every fit."""
    return config.coef * logged_disagreement(ensemble, log)


def halt_reward(log: Replay, discount: float, config: PessimismConfig) -> Float[Array, ""]:
    """-kappa / (1 - gamma): the value of a state that no step leaves and that costs kappa a step.

    kappa is `halt_cost` times the log's largest |reward|, so no state of the system is worth less.

    Args:
        log: one row at least.
        discount: gamma, below 1.
        config: the constants.
    """
    there = jnp.arange(log.capacity) < log.size
    largest = jnp.max(jnp.where(there, jnp.abs(log.data.reward), 0.0))
    return -config.halt_cost * largest / (1.0 - discount)


def halted(
    reward: Float[Array, " *batch"],
    terminated: Bool[Array, " *batch"],
    found: Float[Array, " *batch"],
    halt: Halt,
) -> tuple[Float[Array, " *batch"], Bool[Array, " *batch"]]:
    """Rewards and ends of imagined steps: one that is unknown halts.

    The halt's reward stands in place of the predicted one, which is as unknown as the state.

    Args:
        reward: the predicted reward of each step.
        terminated: whether the rule of the system ends the episode there.
        found: the disagreement at each state and action.
        halt: where the known part ends.
    """
    unknown = found > halt.limit
    return jnp.where(unknown, halt.reward, reward), terminated | unknown
