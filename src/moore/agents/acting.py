"""The actors' networks in NumPy, for acting without JAX.

So a policy needs no compilation, and it can act in a forked worker, where JAX would wait for
threads that the fork did not copy. The actions agree with the agents' `act_mode` up to float32
rounding.
"""

import math
import re
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from moore.agents import iql, nets
from moore.agents.adaptive_bc import DeterministicActor
from moore.agents.iql import GaussianActor
from moore.agents.mixture import Mixture
from moore.agents.nets import MLP, Actor, Linear

AnyActor = Actor | GaussianActor | DeterministicActor | Mixture

_WEIGHT = re.compile(r"layers\[\d+\]\.weight$")


class Gaussian(NamedTuple):
    """The Gaussian that an actor draws from; mean and std are before the tanh if `squashed`."""

    mean: Float[np.ndarray, "rows action"]
    std: Float[np.ndarray, "*rows action"]
    squashed: bool

    def mode(self) -> Float[np.ndarray, "rows action"]:
        """The deterministic action, in [-1, 1]."""
        return np.tanh(self.mean) if self.squashed else self.mean

    def sample(self, rng: np.random.Generator) -> Float[np.ndarray, "rows action"]:
        """A sampled action, in [-1, 1]."""
        drawn = self.mean + self.std * rng.standard_normal(self.mean.shape, np.float32)
        return np.tanh(drawn) if self.squashed else np.clip(drawn, -1.0, 1.0)


def gaussian(actor: AnyActor, obs: Float[np.ndarray, "rows obs"]) -> Gaussian:
    """The distribution of an actor's actions.

    Args:
        actor: actor whose leaves are float32 NumPy arrays.
        obs: observations, float32.
    """
    if isinstance(actor, Actor):
        mean, log_std = _mean_and_log_std(actor, obs)
        return Gaussian(mean, np.exp(log_std), squashed=True)
    if isinstance(actor, Mixture):
        means, log_stds = _mean_and_log_std(actor.actors, obs)
        mean = means.mean(axis=0)
        variance = np.mean(np.exp(2.0 * log_stds) + (means - mean) ** 2, axis=0)
        log_std = np.clip(0.5 * np.log(variance), nets.LOG_STD_MIN, nets.LOG_STD_MAX)
        return Gaussian(mean, np.exp(log_std), squashed=True)
    mean = np.tanh(_forward(actor.trunk, obs))
    if isinstance(actor, GaussianActor):
        std = np.exp(np.clip(actor.log_std, iql.LOG_STD_MIN, iql.LOG_STD_MAX))
    else:
        std = np.full(mean.shape[-1], actor.noise, np.float32)
    return Gaussian(mean, std, squashed=False)


def _mean_and_log_std(actor: Actor, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, log_std = np.split(_forward(actor.trunk, obs), 2, axis=-1)
    return mean, np.clip(log_std, nets.LOG_STD_MIN, nets.LOG_STD_MAX)


def _forward(trunk: MLP, x: np.ndarray) -> np.ndarray:
    """The outputs (rows, outputs) of the network; (members, rows, outputs) for stacked members."""
    for i, layer in enumerate(trunk.layers):
        x = x @ layer.weight + layer.bias[..., None, :]
        if i + 1 < len(trunk.layers):
            x = np.maximum(x, 0.0)
    return x


def from_arrays(
    kind: type[AnyActor],
    arrays: dict[str, np.ndarray],
    *,
    obs_dim: int,
    action_dim: int,
    noise: float,
) -> AnyActor:
    """The actor whose leaves are these arrays, named by their places in the tree.

    The arrays tell the number of layers and their widths.

    Args:
        kind: kind of the actor.
        arrays: finite float32 arrays by name.
        obs_dim, action_dim: numbers of entries of an observation and of an action.
        noise: standard deviation of a `DeterministicActor`.

    Raises:
        ValueError: arrays are missing, left over, not numbers, or do not fit each other.
    """
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name} holds {array.dtype}, not float32")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that are not finite")
    rest = dict(arrays)
    prefix, stacked = ("actors.trunk", 1) if kind is Mixture else ("trunk", 0)
    outputs = 2 * action_dim if kind in (Actor, Mixture) else action_dim
    trunk = _take_trunk(rest, prefix, obs_dim, outputs, stacked)
    if kind is GaussianActor:
        actor = _made(kind, trunk=trunk, log_std=_take(rest, "log_std", (action_dim,)))
    elif kind is DeterministicActor:
        if not (isinstance(noise, int | float) and math.isfinite(noise) and noise >= 0.0):
            raise ValueError(f"the noise of its actions is {noise!r}")
        actor = _made(kind, trunk=trunk, noise=float(noise))
    elif kind is Mixture:
        actor = _made(kind, actors=_made(Actor, trunk=trunk))
    else:
        actor = _made(kind, trunk=trunk)
    if rest:
        raise ValueError(f"{min(rest)} belongs to no part of it")
    return actor


def _take_trunk(
    arrays: dict[str, np.ndarray], prefix: str, inputs: int, outputs: int, stacked: int
) -> MLP:
    """The layers under a prefix, whose widths must fit each other."""
    depth = sum(1 for name in arrays if _WEIGHT.search(name))
    layers, width, members = [], inputs, None
    for i in range(depth):
        name = f"{prefix}.layers[{i}]"
        found = arrays.get(f"{name}.weight")
        shape = () if found is None else found.shape
        members = shape[:stacked] if members is None else members
        wide = shape[-1] if shape and i + 1 < depth else outputs
        weight = _take(arrays, f"{name}.weight", (*members, width, wide))
        bias = _take(arrays, f"{name}.bias", (*members, wide))
        layers.append(_made(Linear, weight=weight, bias=bias))
        width = wide
    if not layers or 0 in (members or (1,)):
        raise ValueError("it has no layers")
    return _made(MLP, layers=tuple(layers), norms=())


def _take(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    array = arrays.pop(name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, not {shape}")
    return array


def _made(kind: type[eqx.Module], **fields) -> eqx.Module:
    """A module with these fields, made without drawing initial weights."""
    module = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(module, name, value)
    return module
