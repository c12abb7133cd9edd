"""What actors draw their actions from, computed on plain arrays: this module imports only NumPy.

So a saved policy also acts on a machine without JAX, and in a forked worker, where JAX would wait
for threads that the fork did not copy. Shapes stand in comments, for jaxtyping is not there either.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

# Bounds of a squashed policy's log standard deviation (softlearning, as MOPO and MBPO use it).
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
# Those of a policy whose samples are clipped (the learner.py and policy.py of IQL's authors).
CLIPPED_LOG_STD_MIN, CLIPPED_LOG_STD_MAX = -5.0, 2.0

Kind = Literal["squashed", "mixture", "clipped", "deterministic"]


@runtime_checkable
class Layer(Protocol):
    """A layer x W + b; weights of stacked members have a leading axis."""

    @property
    def weight(self) -> np.ndarray: ...  # (*members, inputs, outputs)

    @property
    def bias(self) -> np.ndarray: ...  # (*members, outputs)


class LayerArrays(NamedTuple):
    """A layer of plain arrays."""

    weight: np.ndarray
    bias: np.ndarray


class Gaussian(NamedTuple):
    """What an actor draws from: mean and standard deviation, before the tanh if `squashed`."""

    mean: np.ndarray  # (rows, action)
    std: np.ndarray  # (rows, action) or (action,)
    squashed: bool

    def mode(self) -> np.ndarray:
        """The deterministic action (rows, action), in [-1, 1]."""
        return np.tanh(self.mean) if self.squashed else self.mean

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Actions (rows, action) in [-1, 1], drawn at random from the policy."""
        drawn = self.mean + self.std * rng.standard_normal(self.mean.shape, np.float32)
        return np.tanh(drawn) if self.squashed else np.clip(drawn, -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class ActorArrays:
    """An actor without its agent: layers with ReLU between them, and what their output means.

    Attributes:
        kind: squashed: a Gaussian through tanh; mixture: the same with the moments of several
            members (Lee et al. 2021); clipped: a Gaussian around tanh of the output, with one
            deviation for all states (IQL); deterministic: tanh of the output (TD3).
        layers: in order; those of a mixture have a leading axis of members.
        log_std: (action,) of a clipped Gaussian.
        noise: deviation of a deterministic actor's samples.
    """

    kind: Kind
    layers: Sequence[Layer]
    log_std: np.ndarray | None = None
    noise: float = 0.0

    def gaussian(self, obs: np.ndarray) -> Gaussian:
        """What the actions are drawn from in these states.

        Args:
            obs: (rows, obs) float32.
        """
        output = forward(self.layers, obs)
        if self.kind == "squashed":
            mean, log_std = _halves(output)
            return Gaussian(mean, np.exp(np.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)), squashed=True)
        if self.kind == "mixture":
            return _of_members(output)
        mean = np.tanh(output)
        if self.log_std is None:
            std = np.full(mean.shape[-1], self.noise, np.float32)
        else:
            std = np.exp(np.clip(self.log_std, CLIPPED_LOG_STD_MIN, CLIPPED_LOG_STD_MAX))
        return Gaussian(mean, std, squashed=False)


def _halves(output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and logarithms of deviations, which an output (..., 2 action) has side by side."""
    half = output.shape[-1] // 2
    return output[..., :half], output[..., half:]


def _of_members(output: np.ndarray) -> Gaussian:
    """One Gaussian with the moments of the members' mixture, from (members, rows, 2 action)."""
    means, log_stds = _halves(output)
    variances = np.exp(2.0 * np.clip(log_stds, LOG_STD_MIN, LOG_STD_MAX))
    mean = means.mean(axis=0)
    variance = np.mean(variances + (means - mean) ** 2, axis=0)
    log_std = np.clip(0.5 * np.log(variance), LOG_STD_MIN, LOG_STD_MAX)
    return Gaussian(mean, np.exp(log_std), squashed=True)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def forward(
    layers: Sequence[Layer], x: np.ndarray, activation: Callable[[np.ndarray], np.ndarray] = relu
) -> np.ndarray:
    """The network on (rows, inputs); with stacked members: (members, rows, outputs)."""
    for i, layer in enumerate(layers):
        x = x @ layer.weight + layer.bias[..., None, :]
        if i + 1 < len(layers):
            x = activation(x)
    return x


def check_arrays(arrays: dict[str, np.ndarray]) -> None:
    """Raises ValueError unless all weights are finite float32 numbers."""
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name} holds {array.dtype}, not float32")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that are not finite")


def check_noise(noise: object) -> None:
    """Raises ValueError unless this is the deviation of a deterministic actor's samples."""
    if not (isinstance(noise, int | float) and math.isfinite(noise) and noise >= 0.0):
        raise ValueError(f"the noise of its actions is {noise!r}")


def take_layers(
    arrays: dict[str, np.ndarray], prefix: str, *, inputs: int, outputs: int, stacked: bool
) -> tuple[LayerArrays, ...]:
    """Takes the layers under a prefix out of `arrays`; their widths must follow one another.

    Args:
        arrays: all arrays, by their places in the tree.
        prefix: place of the network.
        inputs, outputs: number of entries that the network takes, and gives.
        stacked: whether there is a leading axis of members.

    Raises:
        ValueError: an array is missing, or has another shape.
    """
    depth = sum(1 for name in arrays if name.endswith("].weight"))
    layers, width, members = [], inputs, None
    for i in range(depth):
        name = f"{prefix}.layers[{i}]"
        found = arrays.get(f"{name}.weight")
        shape = () if found is None else found.shape
        members = shape[: int(stacked)] if members is None else members
        wide = shape[-1] if shape and i + 1 < depth else outputs
        weight = take(arrays, f"{name}.weight", (*members, width, wide))
        layers.append(LayerArrays(weight, take(arrays, f"{name}.bias", (*members, wide))))
        width = wide
    if not layers or 0 in (members or (1,)):
        raise ValueError("it has no layers")
    return tuple(layers)


def take(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Takes an array of this shape out of `arrays`; ValueError if there is none."""
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    array = arrays.pop(name)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, not {shape}")
    return array
