"""The ensemble of dynamics models {M_k}: probabilistic networks, their loss, their predictions.

Architecture and constants are those of MOPO (Yu et al. 2020) and MBPO (Janner et al. 2019): each
member maps a standardised (s, a) to a diagonal Gaussian over (r, s' - s). The members are one
batched program: every weight has a leading member axis.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from moore.dynamics.blocks import in_blocks
from moore.shapes import to_rank_of

# Initial soft bounds of the log-variance, per output, shared by the members (MBPO's bnn.py).
MAX_LOG_VAR = 0.5
MIN_LOG_VAR = -10.0
# Under the variance of a layer normalisation (flax's default).
NORM_EPSILON = 1e-6
# Weight of sum(max_log_var) - sum(min_log_var) in the loss (MBPO's bnn.py).
BOUND_COEF = 0.01


class Dense(eqx.Module):
    """A layer that computes x W + b for every member."""

    weight: Float[Array, "members inputs outputs"]
    bias: Float[Array, "members outputs"]

    def __call__(self, x: Float[Array, "members batch inputs"]) -> Float[Array, "members batch _"]:
        weight, bias = self.weight.astype(x.dtype), self.bias.astype(x.dtype)
        return x @ weight + bias[:, None, :]


class Networks(eqx.Module):
    """What gradient descent changes: trunk, two heads, and the log-variance bounds.

    `layer_norm`: each hidden layer's sums are brought to mean 0 and variance 1, without a learned
    scale or shift, before its nonlinearity (NEUBAY, arXiv 2512.04341: so that long rollouts stay
    bounded).

    `compute`: the number format of the hidden layers; parameters and outputs are float32.
    """

    trunk: tuple[Dense, ...]
    mean_head: Dense
    log_var_head: Dense
    max_log_var: Float[Array, " outputs"]
    min_log_var: Float[Array, " outputs"]
    layer_norm: bool = eqx.field(static=True, default=False)
    compute: str = eqx.field(static=True, default="float32")


class Normaliser(eqx.Module):
    """Mean and standard deviation of the inputs (s, a)."""

    mean: Float[Array, " inputs"]
    std: Float[Array, " inputs"]

    def applied(self, inputs: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        """The inputs from this mean, in these deviations."""
        return (inputs - to_rank_of(self.mean, inputs)) / to_rank_of(self.std, inputs)


class Ensemble(eqx.Module):
    """The models that imagination uses.

    Attributes:
        networks: the networks of all members.
        normaliser: normaliser of the inputs, from the training data of the last fit.
        elites: the members with the lowest holdout error; each imagined step uses one of them.
        std_scale: factor for the members' sigma, per output; 1 without calibration.
    """

    networks: Networks
    normaliser: Normaliser
    elites: Int[Array, " elites"]
    std_scale: Float[Array, " outputs"]


def _dense(key: PRNGKeyArray, members: int, inputs: int, outputs: int) -> Dense:
    """Weights: truncated normal, deviation 1 / (2 sqrt(inputs)); biases: 0 (MBPO's fc.py)."""
    draw = jax.random.truncated_normal(key, -2.0, 2.0, (members, inputs, outputs))
    return Dense(draw / (2.0 * jnp.sqrt(inputs)), jnp.zeros((members, outputs)))


def init_ensemble(
    key: PRNGKeyArray,
    obs_dim: int,
    action_dim: int,
    *,
    members: int,
    elites: int,
    hidden: tuple[int, ...],
    layer_norm: bool = False,
    compute: str = "float32",
) -> Ensemble:
    """A new ensemble; its outputs are the reward, then the change of each observation entry."""
    inputs, outputs = obs_dim + action_dim, obs_dim + 1
    key_mean, key_log_var, *keys = jax.random.split(key, 2 + len(hidden))
    widths = (inputs, *hidden)
    trunk = tuple(
        _dense(k, members, n, m) for k, n, m in zip(keys, widths[:-1], hidden, strict=True)
    )
    return Ensemble(
        networks=Networks(
            trunk=trunk,
            mean_head=_dense(key_mean, members, widths[-1], outputs),
            log_var_head=_dense(key_log_var, members, widths[-1], outputs),
            max_log_var=jnp.full(outputs, MAX_LOG_VAR),
            min_log_var=jnp.full(outputs, MIN_LOG_VAR),
            layer_norm=layer_norm,
            compute=compute,
        ),
        normaliser=Normaliser(jnp.zeros(inputs), jnp.ones(inputs)),
        elites=jnp.arange(elites, dtype=jnp.int32),
        std_scale=jnp.ones(outputs),
    )


def soft_clamp(
    log_var: Float[Array, "*batch outputs"],
    low: Float[Array, " outputs"],
    high: Float[Array, " outputs"],
) -> Float[Array, "*batch outputs"]:
    """MBPO's double soft clamp, differentiable in the value and in both bounds."""
    low, high = to_rank_of(low, log_var), to_rank_of(high, log_var)
    log_var = high - jax.nn.softplus(high - log_var)
    return low + jax.nn.softplus(log_var - low)


def normalised(x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
    """Each row with mean 0 and variance 1: a layer normalisation without scale and shift."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + NORM_EPSILON)


def predict(
    networks: Networks, normaliser: Normaliser, inputs: Float[Array, "members batch inputs"]
) -> tuple[Float[Array, "members batch outputs"], Float[Array, "members batch outputs"]]:
    """Mean and log-variance of (r, s' - s), in raw units, of each member on its own inputs."""
    x = normaliser.applied(inputs)
    for layer in networks.trunk:
        x = layer(x.astype(networks.compute))
        if networks.layer_norm:  # its mean and variance are sums, which bfloat16 rounds
            x = normalised(x.astype(jnp.float32)).astype(networks.compute)
        x = jax.nn.swish(x)
    x = x.astype(jnp.float32)
    log_var = soft_clamp(networks.log_var_head(x), networks.min_log_var, networks.max_log_var)
    return networks.mean_head(x), log_var


def predict_all(
    ensemble: Ensemble, inputs: Float[Array, "batch inputs"]
) -> tuple[Float[Array, "members batch outputs"], Float[Array, "members batch outputs"]]:
    """mu_k and sigma_k of (r, s' - s), in raw units, of every member on the same inputs."""
    members = ensemble.networks.mean_head.bias.shape[0]

    def of_all(rows: Float[Array, "block inputs"]):
        asked = jnp.broadcast_to(rows, (members, *rows.shape))
        return predict(ensemble.networks, ensemble.normaliser, asked)

    mean, log_var = in_blocks(of_all, inputs)
    return mean, jnp.exp(0.5 * log_var) * to_rank_of(ensemble.std_scale, log_var)


def _elites(ensemble: Ensemble) -> Networks:
    """The elite members, in their order."""
    layers = jax.tree.map(lambda x: x[ensemble.elites], members_of(ensemble.networks))
    trunk, mean_head, log_var_head = layers
    return Networks(
        trunk,
        mean_head,
        log_var_head,
        ensemble.networks.max_log_var,
        ensemble.networks.min_log_var,
        layer_norm=ensemble.networks.layer_norm,
        compute=ensemble.networks.compute,
    )


def predict_own(
    ensemble: Ensemble, inputs: Float[Array, "batch inputs"]
) -> tuple[Float[Array, "batch outputs"], Float[Array, "batch outputs"]]:
    """mu and sigma of the elite that is each row's own: the rows are in equal groups, one an elite.

    Args:
        ensemble: the models.
        inputs: (s, a); a multiple of the number of elites.
    """
    own = inputs.reshape(ensemble.elites.shape[0], -1, inputs.shape[-1])
    mean, log_var = predict(_elites(ensemble), ensemble.normaliser, own)
    std = jnp.exp(0.5 * log_var) * to_rank_of(ensemble.std_scale, log_var)
    return mean.reshape(-1, mean.shape[-1]), std.reshape(-1, std.shape[-1])


def predict_two(
    ensemble: Ensemble, inputs: Float[Array, "batch inputs"], shift: Int[Array, ""]
) -> Float[Array, "2 batch outputs"]:
    """mu of two elites for each row: its own one first, as of `predict_own`, then another one.

    It costs 2 / K of what asking all members does.

    Args:
        ensemble: the models.
        inputs: (s, a); a multiple of the number of elites.
        shift: how much further on the other elite is, 1 to elites - 1; 0: it is the own one.
    """
    own = inputs.reshape(ensemble.elites.shape[0], -1, inputs.shape[-1])
    both = jnp.concatenate([own, jnp.roll(own, shift, axis=0)], axis=1)
    mean, _ = predict(_elites(ensemble), ensemble.normaliser, both)
    first, second = jnp.split(mean, 2, axis=1)
    second = jnp.roll(second, -shift, axis=0)
    return jnp.stack([first.reshape(-1, mean.shape[-1]), second.reshape(-1, mean.shape[-1])])


def members_of(networks: Networks) -> tuple[tuple[Dense, ...], Dense, Dense]:
    """The layers, which have a member axis; the bounds of the log-variance have none."""
    return networks.trunk, networks.mean_head, networks.log_var_head


def weight_decay(networks: Networks, coefs: tuple[float, ...]) -> Float[Array, ""]:
    """coef / 2 ||W||^2 per layer, summed over the members; biases are not decayed.

    Each layer has its own coefficient, in the order trunk, mean head, log-variance head. As in
    MOPO, the decay is part of the loss, and so goes through Adam's scaling; this is not AdamW.
    """
    layers = (*networks.trunk, networks.mean_head, networks.log_var_head)
    terms = [0.5 * c * jnp.sum(layer.weight**2) for c, layer in zip(coefs, layers, strict=True)]
    return sum(terms, jnp.zeros(()))


def loss(
    networks: Networks,
    normaliser: Normaliser,
    inputs: Float[Array, "members batch inputs"],
    targets: Float[Array, "members batch outputs"],
    decay: tuple[float, ...],
) -> Float[Array, ""]:
    """Sum over members of mean[(mu - y)^2 / sigma^2 + log sigma^2], plus decay and bound terms."""
    mean, log_var = predict(networks, normaliser, inputs)
    fit = jnp.mean((mean - targets) ** 2 * jnp.exp(-log_var) + log_var, axis=(1, 2)).sum()
    bounds = BOUND_COEF * (networks.max_log_var.sum() - networks.min_log_var.sum())
    return fit + bounds + weight_decay(networks, decay)


def mean_squared_error(
    networks: Networks,
    normaliser: Normaliser,
    inputs: Float[Array, "rows inputs"],
    targets: Float[Array, "rows outputs"],
    weights: Float[Array, " rows"],
) -> Float[Array, " members"]:
    """Weighted squared error of each member's mean, the validation metric (without variances)."""
    members = networks.mean_head.bias.shape[0]
    mean, _ = predict(networks, normaliser, jnp.broadcast_to(inputs, (members, *inputs.shape)))
    per_row = jnp.mean((mean - targets[None]) ** 2, axis=2)
    return per_row @ weights / jnp.sum(weights)
