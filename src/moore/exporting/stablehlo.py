"""The policy as a StableHLO program, serialised by `jax.export` for any batch and platform."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Array, Float

from moore.exporting.network import Network
from moore.exporting.onnx_graph import need_onnx

PLATFORMS = ("cpu", "cuda", "tpu")


def stablehlo_bytes(network: Network) -> bytes:
    """The serialised program, which `jax.export.deserialize` reads.

    Its arguments are obs (batch, obs), and with a rate limit previous_action (batch, action).

    Raises:
        InputError: the package `flatbuffers`, of the extra `export`, is missing.
    """
    need_onnx()
    (batch,) = export.symbolic_shape("batch")
    sizes = [network.obs_dim] + [network.low.size] * (network.rate_limit is not None)
    shapes = [jax.ShapeDtypeStruct((batch, size), jnp.float32) for size in sizes]
    return bytes(
        export.export(jax.jit(_program(network)), platforms=PLATFORMS)(*shapes).serialize()
    )


def run_stablehlo(content: bytes, *inputs: np.ndarray) -> np.ndarray:
    """Actions (batch, action) of a serialised program."""
    return np.asarray(export.deserialize(bytearray(content)).call(*inputs))


def _program(network: Network) -> Callable[..., Array]:
    """The network as a JAX function. Products are exact on accelerators too."""

    def act(
        obs: Float[Array, "batch obs"], previous_action: Float[Array, "batch action"] | None = None
    ) -> Float[Array, "batch action"]:
        x = obs
        if network.obs_mean.size:
            coarse, rest = network.split_mean
            # XLA would add the two constants first, and lose the second.
            x = jax.lax.optimization_barrier(x - coarse[None]) - rest[None]
            x = x / network.obs_std.astype(np.float32)[None]
        for i, layer in enumerate(network.layers):
            x = jnp.matmul(x, layer.weight, precision="highest") + layer.bias[..., None, :]
            x = jax.nn.relu(x) if i + 1 < len(network.layers) else x
        x = x.mean(axis=0) if layer.weight.ndim == 3 else x
        low, high = network.low[None], network.high[None]
        action = jnp.add(low, (jnp.tanh(x) + 1.0) * network.half_range[None])
        action = jnp.clip(action, low, high)
        finite = jnp.isfinite(obs).all(axis=-1, keepdims=True)
        if previous_action is not None and network.rate_limit is not None:
            start, most = jnp.clip(previous_action, low, high), network.rate_limit[None]
            action = jnp.clip(action, start - most, start + most)
            finite &= jnp.isfinite(previous_action).all(axis=-1, keepdims=True)
        return jnp.where(finite, action, jnp.nan)

    return act
