"""A saved policy: what `moore.load_policy` reads, without the run that made it."""

import json
import os
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from moore.agents.nets import Actor, mode_action, sample_action
from moore.errors import InputError

_WEIGHTS, _ABOUT = "actor.safetensors", "policy.json"


@partial(jax.jit, static_argnames=("deterministic",))
def _act(actor: Actor, obs: Array, key: Array, deterministic: bool) -> Array:
    return mode_action(actor, obs) if deterministic else sample_action(actor, obs, key)[0]


@dataclass
class Policy:
    """A policy in the units of its environment.

    Attributes:
        actor: the network.
        low, high: (action,) bounds of the environment's actions.
        env_id: where it was trained.
        seed: of the samples that `deterministic=False` draws.
    """

    actor: Actor
    low: np.ndarray
    high: np.ndarray
    env_id: str
    seed: int = 0
    _draws: int = field(default=0, repr=False)

    def __call__(self, obs: np.ndarray, *, deterministic: bool = True) -> np.ndarray:
        """Actions for one observation (obs,) or a batch (n, obs).

        Raises:
            InputError: the observation has another number of entries.
        """
        obs = np.asarray(obs, np.float32)
        expected = self.actor.trunk.layers[0].weight.shape[0]
        if obs.ndim not in (1, 2) or obs.shape[-1] != expected:
            raise InputError(
                f"the observation has shape {obs.shape}; this policy takes ({expected},) "
                f"or (n, {expected})."
            )
        self._draws += not deterministic
        key = jax.random.fold_in(jax.random.key(self.seed), self._draws)
        squashed = np.asarray(_act(self.actor, obs, key, deterministic))
        return self.low + (squashed + 1.0) * (0.5 * (self.high - self.low))


def save_policy(folder: Path, policy: Policy) -> None:
    """Writes the policy's folder in one piece, over an older one."""
    partial_folder = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir(parents=True)
    layers = policy.actor.trunk.layers
    weights = {}
    for i, layer in enumerate(layers):
        weights |= {f"{i}.weight": np.asarray(layer.weight), f"{i}.bias": np.asarray(layer.bias)}
    save_file(weights, partial_folder / _WEIGHTS)
    about = {
        "kind": "squashed Gaussian, ReLU layers; mean and log std are the last layer's halves",
        "env_id": policy.env_id,
        "action_low": policy.low.tolist(),
        "action_high": policy.high.tolist(),
    }
    (partial_folder / _ABOUT).write_text(json.dumps(about, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial_folder, folder)


def load_policy(run: str | Path, *, seed: int = 0) -> Policy:
    """The policy of a run folder, or of a `policy` folder itself.

    Args:
        run: the folder.
        seed: of sampled actions.

    Raises:
        InputError: there is no policy, or it cannot be read.
    """
    folder = Path(run)
    folder = folder / "policy" if (folder / "policy").is_dir() else folder
    try:
        about = json.loads((folder / _ABOUT).read_text())
        weights = load_file(folder / _WEIGHTS)
    except FileNotFoundError:
        raise InputError(f"there is no saved policy in {run}.") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"the policy in {folder} cannot be read: {error}.") from None
    try:
        return _assemble(about, weights, seed)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(f"the policy in {folder} is damaged: {error!r}.") from None


def _assemble(about: dict, weights: dict[str, np.ndarray], seed: int) -> Policy:
    arrays = [
        jnp.asarray(weights[f"{i}.{part}"])
        for i in range(len(weights) // 2)
        for part in ("weight", "bias")
    ]
    hidden = tuple(w.shape[1] for w in arrays[:-2:2])
    low, high = (np.asarray(about[name], np.float32) for name in ("action_low", "action_high"))
    template = eqx.filter_eval_shape(
        Actor, arrays[0].shape[0], low.size, hidden, key=jax.random.key(0)
    )
    actor = jax.tree.unflatten(jax.tree.structure(template), arrays)
    return Policy(actor, low, high, about["env_id"], seed)
