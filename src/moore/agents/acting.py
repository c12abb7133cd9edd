"""Actors of every agent as plain arrays, so that they act with NumPy (`numpy_acting`).

Without the agents, and without JAX: a policy then acts in a forked worker, and needs no
compilation. Agrees with the agents' `act_mode` to float32's rounding.
"""

from typing import Any, TypeVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from moore.agents.adaptive_bc import DeterministicActor
from moore.agents.iql import GaussianActor
from moore.agents.mixture import Mixture
from moore.agents.nets import MLP, Actor, Linear
from moore.agents.numpy_acting import (
    ActorArrays,
    Gaussian,
    LayerArrays,
    check_arrays,
    check_noise,
    take,
    take_layers,
)

Module = TypeVar("Module", bound=eqx.Module)
AnyActor = Actor | GaussianActor | DeterministicActor | Mixture


def gaussian(actor: AnyActor, obs: Float[np.ndarray, "rows obs"]) -> Gaussian:
    """The distribution of an actor's actions.

    Args:
        actor: actor whose leaves are float32 NumPy arrays.
        obs: observations, float32.
    """
    return as_arrays(actor).gaussian(obs)


def as_arrays(actor: AnyActor) -> ActorArrays:
    """The actor's layers, and what their output means. Its leaves are NumPy arrays.

    The layers are copied out of the modules, whose attributes take longer to look up.
    """
    trunk = actor.actors.trunk if isinstance(actor, Mixture) else actor.trunk
    layers = tuple(
        LayerArrays(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in trunk.layers
    )
    if isinstance(actor, Actor):
        return ActorArrays("squashed", layers)
    if isinstance(actor, Mixture):
        return ActorArrays("mixture", layers)
    if isinstance(actor, GaussianActor):
        return ActorArrays("clipped", layers, log_std=np.asarray(actor.log_std))
    return ActorArrays("deterministic", layers, noise=actor.noise)


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
    check_arrays(arrays)
    rest = dict(arrays)
    prefix = "actors.trunk" if kind is Mixture else "trunk"
    outputs = 2 * action_dim if kind in (Actor, Mixture) else action_dim
    layers = take_layers(rest, prefix, inputs=obs_dim, outputs=outputs, stacked=kind is Mixture)
    linear = tuple(_made(Linear, weight=layer.weight, bias=layer.bias) for layer in layers)
    trunk = _made(MLP, layers=linear, norms=())
    actor: AnyActor
    if kind is GaussianActor:
        actor = _made(kind, trunk=trunk, log_std=take(rest, "log_std", (action_dim,)))
    elif kind is DeterministicActor:
        check_noise(noise)
        actor = _made(kind, trunk=trunk, noise=float(noise))
    elif kind is Mixture:
        actor = _made(kind, actors=_made(Actor, trunk=trunk))
    else:
        actor = _made(kind, trunk=trunk)
    if rest:
        raise ValueError(f"{min(rest)} belongs to no part of it")
    return actor


def _made(kind: type[Module], **fields: Any) -> Module:
    """A module with these fields, made without drawing initial weights."""
    module = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(module, name, value)
    return module
