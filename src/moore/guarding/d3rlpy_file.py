"""The policy of a d3rlpy file (`algo.save("model.d3")`): its weights, and its scalers.

The file is a pickle of three texts: the weights as a PyTorch file, the settings as JSON, and the
version (d3rlpy/base.py). It is read without unpickling (`pickled`, `torch_file`). Policies and
scalers follow d3rlpy/models/torch/policies.py and d3rlpy/preprocessing/ of version 2.8.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.guarding.files import read_whole
from moore.guarding.networks import ACTIVATIONS, NetworkController, checked, from_state
from moore.guarding.pickled import plain_data
from moore.guarding.torch_file import TorchFile, open_torch

_ALIASES = {"swish": "silu"}


def read_d3rlpy(
    path: Path, *, low: Float[np.ndarray, " action"], high: Float[np.ndarray, " action"]
) -> NetworkController:
    """The deterministic policy of SAC, TD3, DDPG, BC, CQL, CalQL, AWAC, IQL, TD3+BC and their like.

    Args:
        path: what `algo.save(path)` has written; `save_model` leaves out the scalers.
        low, high: bounds of the actions.

    Raises:
        InputError: the file cannot be read, or holds another kind of policy.
    """
    content = read_whole(path, "a file that d3rlpy's algo.save has written")
    if content[:2] == b"PK":
        raise InputError(
            f"{path} holds weights without scalers (`save_model`); give what `algo.save` writes."
        )
    try:
        parts = plain_data(content)
        settings = json.loads(parts["config"])
        file = open_torch(parts["torch"])
        weights = _acting_weights(file)
        inputs = _one(settings["observation_shape"], "observations")
        if settings["action_size"] != low.size:
            raise ValueError(
                f"its actions have {settings['action_size']} entries, the bounds {low.size}"
            )
        params = settings["config"]["params"]
        activation = _activation(params)
        layers = from_state(weights, _layers(weights), inputs=inputs, outputs=low.size)
        mean, std = _observation_units(params.get("observation_scaler"))
        ends = _action_ends(params.get("action_scaler"), low.size)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} cannot be read as a policy of d3rlpy: {reason}.") from None
    return checked(NetworkController(layers, activation, True, *ends, mean, std), str(path))


def _acting_weights(file: TorchFile) -> dict[str, np.ndarray]:
    content = file.content
    if not isinstance(content, dict) or ("policy" in content) == ("imitator" in content):
        # BCQ, BEAR and PLAS have both, and act with both.
        raise ValueError("it holds no network that acts alone; BCQ, BEAR and PLAS are not read")
    return file.arrays(content.get("policy", content.get("imitator")))


def _layers(weights: dict[str, np.ndarray]) -> list[str]:
    """Names of the layers in order: those of the encoder, then the one of the action."""
    pattern = re.compile(r"_encoder\._layers\.(\d+)\.weight")
    numbers = sorted(int(found[1]) for name in weights if (found := pattern.fullmatch(name)))
    last = "_mu" if "_mu.weight" in weights else "_fc"
    return [*(f"_encoder._layers.{number}" for number in numbers), last]


def _activation(params: dict[str, Any]) -> str:
    """Name of the encoder's activation; refuses encoders that are not plain layers."""
    encoder = params.get("actor_encoder_factory") or params["encoder_factory"]
    told = encoder["params"]
    if encoder["type"] not in ("default", "vector"):
        raise ValueError(f"its encoder is {encoder['type']}; vector encoders are read")
    for name in ("use_batch_norm", "use_layer_norm", "exclude_last_activation", "last_activation"):
        if told.get(name):
            raise ValueError(f"its encoder has {name}, which is not read")
    name = _ALIASES.get(told["activation"], told["activation"])
    if name not in ACTIVATIONS:
        raise ValueError(f"its activation is {name}; the known ones are {', '.join(ACTIVATIONS)}")
    return name


def _observation_units(scaler: dict[str, Any] | None) -> tuple[np.ndarray, np.ndarray]:
    """What is subtracted from observations, and what they are divided by."""
    kind, told = _scaler(scaler)
    if kind == "none":
        return np.zeros(0), np.zeros(0)
    if kind == "standard":
        mean, std = (np.asarray(told[name], np.float64) for name in ("mean", "std"))
        return mean, std + float(told["eps"])
    if kind == "min_max":
        low, high = (np.asarray(told[name], np.float64) for name in ("minimum", "maximum"))
        return 0.5 * (high + low), 0.5 * (high - low)
    raise ValueError(f"its observations are scaled by {kind}; standard and min_max are read")


def _action_ends(scaler: dict[str, Any] | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What -1 and 1 of the network stand for."""
    kind, told = _scaler(scaler)
    if kind == "none":
        return -np.ones(size, np.float32), np.ones(size, np.float32)
    if kind == "min_max":
        return np.asarray(told["minimum"], np.float32), np.asarray(told["maximum"], np.float32)
    raise ValueError(f"its actions are scaled by {kind}; min_max is read")


def _scaler(scaler: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    return ("none", {}) if scaler is None else (scaler["type"], scaler["params"])


def _one(shape: Any, what: str) -> int:
    if not (isinstance(shape, list) and len(shape) == 1 and type(shape[0]) is int):
        raise ValueError(f"its {what} have shape {shape}; vectors are read")
    return shape[0]
