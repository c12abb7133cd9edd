"""A network of another program as a controller: layers, an activation, units, and bounds."""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from moore.agents.numpy_acting import Layer, LayerArrays, forward, relu, take
from moore.errors import InputError
from moore.guarding.files import read_whole


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return 0.5 * x * (1.0 + erf(x / 2.0**0.5))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": relu,
    "tanh": np.tanh,
    "elu": lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    "leakyrelu": lambda x: np.where(x > 0.0, x, 0.01 * x),
    "silu": lambda x: 0.5 * x * (1.0 + np.tanh(0.5 * x)),
    "gelu": _gelu,
}


@dataclass(frozen=True, eq=False)
class NetworkController:
    """A network that acts in the user's units.

    Attributes:
        layers: in order. Those of several members have a leading axis; the members' outputs are
            averaged.
        activation: between the layers, one of ACTIVATIONS.
        squashed: whether tanh is taken of the output, which then is scaled to the bounds; otherwise
            the output is the action.
        low, high: what -1 and 1 of a squashed output stand for.
        obs_mean, obs_std: the mean is subtracted from an observation, then it is divided by the
            deviation; empty: observations stay as they are.
    """

    layers: Sequence[Layer]
    activation: str
    squashed: bool
    low: Float[np.ndarray, " action"]
    high: Float[np.ndarray, " action"]
    obs_mean: Float[np.ndarray, "*obs"]
    obs_std: Float[np.ndarray, "*obs"]

    @property
    def obs_dim(self) -> int:
        """Number of entries of an observation."""
        return self.layers[0].weight.shape[-2]

    @property
    def file_sizes(self) -> tuple[int, int]:
        """Numbers of entries of an observation and of an action."""
        return self.obs_dim, self.low.size

    def act(self, obs: Float[np.ndarray, "*rows obs"]) -> Float[np.ndarray, "*rows action"]:
        if obs.shape[-1] != self.obs_dim:
            raise InputError(
                f"the observation has {obs.shape[-1]} entries; this controller takes "
                f"{self.obs_dim}."
            )
        x = np.atleast_2d(obs)
        if self.obs_mean.size:
            x = (x - self.obs_mean) / self.obs_std
        x = forward(self.layers, x.astype(np.float32), ACTIVATIONS[self.activation])
        x = x.mean(axis=0) if x.ndim == 3 else x
        if self.squashed:
            x = self.low + (np.tanh(x) + 1.0) * (0.5 * (self.high - self.low))
        return x.astype(np.float32).reshape(*obs.shape[:-1], self.low.size)


def read_npz(path: Path) -> NetworkController:
    """The controller of a `policy.npz`, as `moore export` writes it (docs/export.md).

    It holds weight_0, bias_0, weight_1, ... (inputs, outputs) with ReLU between the layers and tanh
    at the end, low and high, and if wanted obs_mean and obs_std. A rate limit in it is left to the
    session's interlocks.

    Raises:
        InputError: the file is not such a file.
    """
    content = read_whole(path, "a controller as .npz")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            rest = {name: np.asarray(file[name]) for name in file.files}
        depth = sum(name.startswith("weight_") for name in rest)
        low, high = (rest.pop(name).astype(np.float32) for name in ("low", "high"))
        units = [rest.pop(name, np.zeros(0)).astype(np.float64) for name in ("obs_mean", "obs_std")]
        layers = [
            LayerArrays(
                *(rest.pop(f"{part}_{i}").astype(np.float32) for part in ("weight", "bias"))
            )
            for i in range(depth)
        ]
    except (KeyError, ValueError, EOFError, OSError, TypeError, zipfile.BadZipFile) as error:
        reason = f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path} cannot be read as a controller ({reason}); expected an .npz with weight_0, "
            "bias_0, ..., low and high, as `moore export` writes it."
        ) from None
    return checked(NetworkController(layers, "relu", True, low, high, *units), str(path))


def from_state(
    state: dict[str, np.ndarray], names: Sequence[str], *, inputs: int | None, outputs: int
) -> tuple[LayerArrays, ...]:
    """Layers of PyTorch's modules, whose weights are (outputs, inputs).

    Args:
        state: arrays by name; what is used is taken out.
        names: names of the layers in their order, without ".weight".
        inputs, outputs: number of entries that the network takes, and gives; None: as many as its
            first layer takes.

    Raises:
        ValueError: a layer is missing or does not follow the one before.
    """
    layers, width = [], inputs
    for i, name in enumerate(names):
        weight = state.get(f"{name}.weight")
        if weight is None or weight.ndim != 2:
            raise ValueError(f"it has no layer {name}")
        width = weight.shape[1] if width is None else width
        wide = weight.shape[0] if i + 1 < len(names) else outputs
        taken = take(state, f"{name}.weight", (wide, width)).T
        layers.append(LayerArrays(taken, take(state, f"{name}.bias", (wide,))))
        width = wide
    return tuple(layers)


def checked(controller: NetworkController, source: str) -> NetworkController:
    """The controller, if its arrays fit each other and hold finite numbers.

    Raises:
        InputError: they do not.
    """
    layers, low, high = controller.layers, controller.low, controller.high
    mean, std = controller.obs_mean, controller.obs_std
    try:
        shapes = [(layer.weight.shape, layer.bias.shape) for layer in layers]
        if not shapes or low.ndim != 1 or low.shape != high.shape or not low.size:
            raise ValueError("it has no layers, or its bounds do not fit each other")
        width = shapes[0][0][-2]
        for weight, bias in shapes:
            if weight[-2:] != (width, bias[-1]) or weight[:-2] != bias[:-1] or len(weight) > 3:
                raise ValueError(f"a layer has weights {weight} and biases {bias}")
            width = bias[-1]
        if width != low.size:
            raise ValueError(f"it has {width} outputs and {low.size} bounds")
        if mean.shape != std.shape or mean.size not in (0, controller.obs_dim):
            raise ValueError(f"it has {mean.size} means for {controller.obs_dim} observations")
        arrays = [
            low,
            high,
            mean,
            std,
            *(x for layer in layers for x in (layer.weight, layer.bias)),
        ]
        if not all(np.isfinite(x).all() for x in arrays):
            raise ValueError("it holds a value that is not a finite number")
        if not (std > 0.0).all() or not (low <= high).all():
            raise ValueError("a deviation is not positive, or a bound lies above the other")
    except (ValueError, IndexError) as error:
        raise InputError(f"the controller in {source} cannot act: {error}.") from None
    return controller
