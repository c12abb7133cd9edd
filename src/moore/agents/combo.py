"""COMBO, conservative offline model-based policy optimisation (Yu et al. 2021).

CQL on batches of which a part is imagined: values are pushed down where the models have led the
policy and pushed up at the rows of the log, and the Bellman error counts on both (Eq. 3 and 4 of
the paper). The conservatism is in the values, so the imagined rewards carry no penalty. Settings
that the paper leaves open are those of yihaosun1124/OfflineRL-Kit (run_example/run_combo.py,
policy/model_based/combo.py); takuseno/d3rlpy 1.x (algos/combo.py) has the same.

Note:
    The paper chooses the conservative weight for each log without the system (its section 5.2);
    here it is a setting. The critics step first and the actor follows the new ones, as in `cql`.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.agents import cql
from moore.agents.agent import Agent
from moore.agents.cql import CQLState, Proposals
from moore.agents.cql import policy as policy
from moore.agents.cql_config import CQLConfig, shared_settings
from moore.agents.critics import q_of_many, q_values, squared_errors, value_of
from moore.agents.nets import MLP
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.ranges import AnySign, Fraction, NonNegative, Positive
from moore.replay.buffer import Batch


@dataclass(frozen=True)
class COMBOConfig:
    """Settings of COMBO; the defaults are those of OfflineRL-Kit on the D4RL locomotion tasks."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    actor_learning_rate: Positive[float] = 1e-4
    """Learning rate of Adam for the actor and the temperature."""
    learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the critics."""
    target_rate: Fraction = 0.005
    """Share of the distance to the critics that the target critics move after each update."""
    target_entropy: AnySign[float] | None = None
    """Entropy of the policy in nats that the temperature is adapted to reach. None uses minus the
    number of action entries."""
    conservative_weight: NonNegative[float] = 5.0
    """beta: weight of the conservative term in the critics' loss. The other term is the mean
    squared Bellman error, without a factor 1/2. OfflineRL-Kit uses 0.5 for medium-replay logs and
    for HalfCheetah's medium log, and 5 for the others."""
    sampled_actions: Positive[int] = 10
    """n: at each state whose values are pushed down, 3 n sampled actions stand for all actions."""
    pushed_down: Literal["imagined", "all"] = "imagined"
    """Rows at whose states values are pushed down. imagined: the imagined rows (the paper and
    d3rlpy); all: the whole batch (the default of OfflineRL-Kit)."""
    entropy_backup: bool = False
    """Include the entropy of the next action in the Bellman targets."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update, real and imagined ones together."""
    hidden: tuple[Positive[int], ...] = (256, 256, 256)
    """Widths of the hidden layers of actor and critics."""


def cql_config(config: COMBOConfig) -> CQLConfig:
    """The settings of CQL; there is no warm-up of the actor."""
    return shared_settings(config, warm_up=0)


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: COMBOConfig) -> CQLState:
    """A fresh agent; the temperature starts at 1."""
    return cql.init(key, obs_dim, action_dim, cql_config(config))


def mean_over(
    values: Float[Array, "critics rows"], which: Bool[Array, " rows"]
) -> Float[Array, " critics"]:
    """The mean over the selected rows; 0 if there is none."""
    count = jnp.maximum(which.sum(), 1).astype(jnp.float32)
    return jnp.where(which, values, 0.0).sum(axis=1) / count


def critic_loss(
    critics: MLP,
    batch: Batch,
    target: Float[Array, " rows"],
    proposals: Proposals,
    config: COMBOConfig,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """mean[(Q(s, a) - y)^2] + beta (mean_down[log sum_k exp(Q(s, a_k) - log q(a_k))] -
    mean_real[Q(s, a)]), summed over the critics; also the parts of the term.

    The first mean runs over all rows, the second over those that are pushed down, the third over
    the real ones. If a batch lacks one of the two groups it has no conservative term, because there
    is nothing to compare.
    """
    values = q_values(critics, batch.obs, batch.action)
    proposed = q_of_many(critics, batch.obs, proposals.action)
    soft_maximum = jax.nn.logsumexp(proposed - proposals.log_density[None], axis=1)
    real = batch.row >= 0
    down = ~real if config.pushed_down == "imagined" else jnp.ones_like(real)
    logged = mean_over(values, real)
    gap = jnp.where(jnp.any(real) & jnp.any(down), mean_over(soft_maximum, down) - logged, 0.0)
    parts = {
        "conservative": config.conservative_weight * gap.sum(),
        "q_logged": jnp.mean(logged),
        "q_imagined": jnp.mean(mean_over(values, ~real)),
    }
    return jnp.sum(squared_errors(values, target) + config.conservative_weight * gap), parts


def update(
    state: CQLState, batch: Batch, key: PRNGKeyArray, config: COMBOConfig
) -> tuple[CQLState, dict[str, Float[Array, ""]]]:
    """One gradient step of critics, actor and temperature, and one of the target critics."""

    def loss(critics: MLP, batch: Batch, target: Array, proposals: Proposals, _: CQLConfig):
        return critic_loss(critics, batch, target, proposals, config)

    return cql.update_by(loss, state, batch, key, cql_config(config))


def value(
    state: CQLState, obs: Float[Array, "batch obs"], key: PRNGKeyArray
) -> Float[Array, " batch"]:
    """V(s), as SAC has it."""
    return value_of(state.actor, state.target_critics, obs, key)


AGENT = Agent(
    name="combo",
    settings=COMBOConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    value=value,
)
