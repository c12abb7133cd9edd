"""Networks of the agents: plain multilayer perceptrons, and the squashed Gaussian."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from moore.agents.numpy_acting import LOG_STD_MAX as LOG_STD_MAX
from moore.agents.numpy_acting import LOG_STD_MIN as LOG_STD_MIN
from moore.shapes import to_rank_of

# Under the variance of a layer normalisation (flax's default).
_NORM_EPSILON = 1e-6


class Linear(eqx.Module):
    """x W + b, with Glorot-uniform weights and zero biases (softlearning's Keras default)."""

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, key: PRNGKeyArray):
        self.weight = jax.nn.initializers.glorot_uniform()(key, (inputs, outputs))
        self.bias = jnp.zeros(outputs)

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        product = x @ self.weight
        return product + to_rank_of(self.bias, product)


class LayerNorm(eqx.Module):
    """Scales each row to mean 0 and variance 1, then scales and shifts it (Ba et al. 2016)."""

    scale: Float[Array, " width"]
    shift: Float[Array, " width"]

    def __init__(self, width: int):
        self.scale = jnp.ones(width)
        self.shift = jnp.zeros(width)

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = jnp.mean(centred**2, axis=-1, keepdims=True)
        scale, shift = to_rank_of(self.scale, x), to_rank_of(self.shift, x)
        return centred * jax.lax.rsqrt(variance + _NORM_EPSILON) * scale + shift


class MLP(eqx.Module):
    """ReLU hidden layers, linear output; with `layer_norm`, one between each layer and its ReLU."""

    layers: tuple[Linear, ...]
    norms: tuple[LayerNorm, ...]

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        outputs: int,
        *,
        key: PRNGKeyArray,
        layer_norm: bool = False,
    ):
        widths = (inputs, *hidden, outputs)
        keys = jax.random.split(key, len(widths) - 1)
        self.norms = tuple(LayerNorm(width) for width in hidden) if layer_norm else ()
        self.layers = tuple(
            Linear(n, m, key=k) for n, m, k in zip(widths[:-1], widths[1:], keys, strict=True)
        )

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        for i, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            x = jax.nn.relu(self.norms[i](x) if self.norms else x)
        return self.layers[-1](x)


@runtime_checkable
class SquashedGaussian(Protocol):
    """A policy that draws from a Gaussian and squashes what it drew by tanh."""

    def __call__(
        self, obs: Float[Array, "*batch obs"]
    ) -> tuple[Float[Array, "*batch action"], Float[Array, "*batch action"]]:
        """Mean and log standard deviation before the squashing."""
        ...


class Actor(eqx.Module):
    """pi(a|s): a Gaussian squashed by tanh; actions lie in (-1, 1)."""

    trunk: MLP

    def __init__(
        self, obs_dim: int, action_dim: int, hidden: tuple[int, ...], *, key: PRNGKeyArray
    ):
        self.trunk = MLP(obs_dim, hidden, 2 * action_dim, key=key)

    def __call__(
        self, obs: Float[Array, "*batch obs"]
    ) -> tuple[Float[Array, "*batch action"], Float[Array, "*batch action"]]:
        """Mean and log standard deviation before the squashing."""
        mean, log_std = jnp.split(self.trunk(obs), 2, axis=-1)
        return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


def squashed_log_density(
    pre_tanh: Float[Array, "*batch action"],
    mean: Float[Array, "*batch action"],
    log_std: Float[Array, "*batch action"],
) -> Float[Array, " *batch"]:
    """log pi(tanh(x)) for x ~ N(mean, std), summed over the action entries.

    Uses log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2x)), which does not cancel at large |x|.
    """
    z = (pre_tanh - mean) * jnp.exp(-log_std)
    gaussian = -0.5 * z**2 - log_std - 0.5 * jnp.log(2.0 * jnp.pi)
    log_slope = 2.0 * (jnp.log(2.0) - pre_tanh - jax.nn.softplus(-2.0 * pre_tanh))
    return jnp.sum(gaussian - log_slope, axis=-1)


def sample_action(
    actor: SquashedGaussian, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
) -> tuple[Float[Array, "*batch action"], Float[Array, " *batch"]]:
    """A reparametrised sample of pi(.|s) and its log-density."""
    mean, log_std = actor(obs)
    pre_tanh = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
    return jnp.tanh(pre_tanh), squashed_log_density(pre_tanh, mean, log_std)


def sample_actions(
    actor: Actor, obs: Float[Array, "rows obs"], key: PRNGKeyArray, count: int
) -> tuple[Float[Array, "count rows action"], Float[Array, "count rows"]]:
    """`count` independent samples of pi(.|s) for every state, and their log-densities."""
    return jax.vmap(lambda k: sample_action(actor, obs, k))(jax.random.split(key, count))


def mode_action(actor: Actor, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch action"]:
    """tanh of the mean: the deterministic policy, which is evaluated."""
    return jnp.tanh(actor(obs)[0])
