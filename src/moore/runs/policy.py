"""A saved policy: what `moore.load_policy` reads, without the run that made it."""

import json
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from moore.algorithms import AGENTS, Agent
from moore.config import Config, from_dict, to_dict
from moore.errors import InputError
from moore.files import replace_folder, standing, to_disk, write_whole, writing
from moore.units import AS_GIVEN, Units

_WEIGHTS, _ABOUT = "policy.safetensors", "policy.json"


@partial(jax.jit, static_argnames=("agent", "deterministic"))
def _act(weights: PyTree, obs: Array, key: Array, agent: Agent, deterministic: bool) -> Array:
    return agent.act_mode(weights, obs) if deterministic else agent.act(weights, obs, key)


@dataclass
class Policy:
    """A policy in the units of its environment.

    Attributes:
        weights: what acting needs, as `agent.policy` gives it.
        agent: whose policy it is.
        config: of the run that made it.
        obs_dim: entries of an observation.
        low, high: (action,) bounds of the environment's actions.
        env_id: where it was trained.
        seed: of the samples that `deterministic=False` draws.
        units: in which the agent sees the observations; a call takes them in the user's.
    """

    weights: PyTree
    agent: Agent
    config: Config
    obs_dim: int
    low: np.ndarray
    high: np.ndarray
    env_id: str
    seed: int = 0
    units: Units = AS_GIVEN
    _draws: int = field(default=0, repr=False)

    def __call__(self, obs: np.ndarray, *, deterministic: bool = True) -> np.ndarray:
        """Actions for one observation (obs,) or a batch (n, obs).

        Raises:
            InputError: the observation has another number of entries.
        """
        obs = np.asarray(obs, np.float32)
        if obs.ndim not in (1, 2) or obs.shape[-1] != self.obs_dim:
            raise InputError(
                f"the observation has shape {obs.shape}; this policy takes ({self.obs_dim},) "
                f"or (n, {self.obs_dim})."
            )
        self._draws += not deterministic
        key = jax.random.fold_in(jax.random.key(self.seed), self._draws)
        seen = self.units.obs_in(obs)
        squashed = np.asarray(_act(self.weights, seen, key, self.agent, deterministic))
        return self.low + (squashed + 1.0) * (0.5 * (self.high - self.low))


def _named(weights: PyTree) -> dict[str, np.ndarray]:
    """The arrays by their place in the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(weights)
    return {jax.tree_util.keystr(path).lstrip("."): np.asarray(leaf) for path, leaf in leaves}


def save_policy(folder: Path, policy: Policy) -> None:
    """Writes the policy's folder in one piece, over an older one.

    At every moment `load_policy` finds the old one or the new one.

    Raises:
        InputError: the disk refuses.
    """
    about = {
        "agent": policy.agent.name,
        "env_id": policy.env_id,
        "obs_dim": policy.obs_dim,
        "action_low": policy.low.tolist(),
        "action_high": policy.high.tolist(),
        "units": policy.units.to_dict(),
        "config": to_dict(policy.config),
    }
    partial_folder = folder.with_name(f".{folder.name}.partial")
    with writing(folder):
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir(parents=True)
        try:
            save_file(_named(policy.weights), partial_folder / _WEIGHTS)
        except SafetensorError as error:
            raise OSError(str(error)) from None
        to_disk(partial_folder / _WEIGHTS)
        write_whole(partial_folder / _ABOUT, json.dumps(about, indent=1))
        replace_folder(partial_folder, folder)


def load_policy(run: str | Path, *, seed: int = 0) -> Policy:
    """The policy of a run folder, or of a `policy` folder itself.

    Args:
        run: the folder.
        seed: of sampled actions.

    Raises:
        InputError: there is no policy, or it cannot be read.
    """
    folder = Path(run)
    inside = standing(folder / "policy")
    folder = inside if inside.is_dir() else standing(folder)
    try:
        about = json.loads((folder / _ABOUT).read_text())
        weights = load_file(folder / _WEIGHTS)
    except FileNotFoundError:
        raise InputError(f"there is no saved policy in {run}.") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"the policy in {folder} cannot be read: {error}.") from None
    try:
        return _assemble(about, weights, seed)
    except (KeyError, TypeError, IndexError, ValueError, InputError) as error:
        raise InputError(f"the policy in {folder} is damaged: {error!r}.") from None


def _assemble(about: dict, arrays: dict[str, np.ndarray], seed: int) -> Policy:
    agent, config, obs_dim = AGENTS[about["agent"]], from_dict(about["config"]), about["obs_dim"]
    low, high = (np.asarray(about[name], np.float32) for name in ("action_low", "action_high"))

    def template(key: Array) -> PyTree:
        return agent.policy(agent.init(key, obs_dim, low.size, agent.config(config)))

    shapes = eqx.filter_eval_shape(template, jax.random.key(0))
    places, structure = jax.tree_util.tree_flatten_with_path(shapes)
    leaves = []
    for path, shape in places:
        name = jax.tree_util.keystr(path).lstrip(".")
        if arrays[name].shape != shape.shape or arrays[name].dtype != shape.dtype:
            raise ValueError(f"{name} has shape {arrays[name].shape}, not {shape.shape}")
        leaves.append(jax.numpy.asarray(arrays[name]))
    weights = jax.tree.unflatten(structure, leaves)
    # Policies that were saved before there were units take observations as they are.
    units = Units.from_dict(about["units"]) if "units" in about else AS_GIVEN
    if units.obs_mean and len(units.obs_mean) != obs_dim:
        raise ValueError(f"units has {len(units.obs_mean)} means for {obs_dim} observations")
    return Policy(weights, agent, config, obs_dim, low, high, about["env_id"], seed, units)
