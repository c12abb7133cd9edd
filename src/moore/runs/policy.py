"""A saved policy, which `moore.load_policy` reads without the run that made it.

Reading a policy runs no code that its files name. It needs neither the version nor the settings of
the training, because the weights tell what the network is.
"""

import hashlib
import json
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError
from safetensors.numpy import load, save

from moore.agents.acting import AnyActor, from_arrays, gaussian
from moore.agents.adaptive_bc import DeterministicActor
from moore.agents.agent import Agent
from moore.agents.iql import GaussianActor
from moore.agents.mixture import Mixture
from moore.agents.nets import Actor
from moore.algorithms import AGENTS
from moore.config import Config, from_dict, known_settings, to_dict
from moore.errors import InputError
from moore.files import replace_folder, standing, to_disk, write_whole, writing
from moore.units import AS_GIVEN, Units
from moore.version import __version__

_WEIGHTS, _ABOUT = "policy.safetensors", "policy.json"
# Format 1 had no `format`, `moore`, `acting` and `sha256`. The number increases if older versions
# cannot act with the weights; settings do not matter, because acting does not need them.
_FORMAT = 2
# Entries that the actions depend on, besides the weights; the hash covers them.
_HASHED = ("agent", "obs_dim", "action_low", "action_high", "acting", "units")
# Agents whose actor is not a squashed Gaussian.
_ACTORS: dict[str, type[AnyActor]] = {
    "iql": GaussianActor,
    "adaptive_bc": DeterministicActor,
    "balanced_replay": Mixture,
}


@dataclass
class Policy:
    """A policy in the units of its environment. It uses NumPy and works in forked processes.

    Attributes:
        weights: what acting needs, as `agent.policy` returns it, in NumPy arrays.
        agent: the agent that the policy belongs to.
        config: configuration of the run that made it.
        obs_dim: number of entries of an observation.
        low, high: (action,) bounds of the environment's actions.
        env_id: environment in which it was trained.
        seed: seed of the samples that `deterministic=False` draws.
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
    _rng: np.random.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        self.weights = jax.device_get(self.weights)
        self._rng = np.random.default_rng(self.seed)

    def __call__(self, obs: np.ndarray, *, deterministic: bool = True) -> np.ndarray:
        """Actions for one observation (obs,) or a batch (n, obs), float32, within the bounds.

        Raises:
            InputError: the observation has another number of entries, or one that is not finite.
        """
        obs = np.asarray(obs, np.float32)
        if obs.ndim not in (1, 2) or obs.shape[-1] != self.obs_dim:
            raise InputError(
                f"the observation has shape {obs.shape}; this policy takes ({self.obs_dim},) "
                f"or (n, {self.obs_dim})."
            )
        if not np.isfinite(obs).all():
            raise InputError(
                "the observation holds a value that is not a finite number (entry "
                f"{int(np.argwhere(~np.isfinite(obs))[0][-1])}); no action follows from it."
            )
        drawn_from = gaussian(self.weights, np.atleast_2d(self.units.obs_in(obs)))
        squashed = drawn_from.mode() if deterministic else drawn_from.sample(self._rng)
        action = self.low + (squashed + 1.0) * (0.5 * (self.high - self.low))
        # Rounding may move an action beyond the bound, which some environments refuse.
        return np.clip(action, self.low, self.high).reshape(*obs.shape[:-1], self.low.size)


def _named(weights: PyTree) -> dict[str, np.ndarray]:
    """The arrays, named by their place in the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(weights)
    return {jax.tree_util.keystr(path).lstrip("."): np.asarray(leaf) for path, leaf in leaves}


def save_policy(folder: Path, policy: Policy) -> None:
    """Writes the policy's folder in one piece, over an older one.

    `load_policy` finds the old policy or the new one at any time.

    Raises:
        InputError: the file system refuses to write.
    """
    weights = save(_named(policy.weights))
    about = _describe(policy, weights)
    partial_folder = folder.with_name(f".{folder.name}.partial")
    with writing(folder):
        shutil.rmtree(partial_folder, ignore_errors=True)
        partial_folder.mkdir(parents=True)
        (partial_folder / _WEIGHTS).write_bytes(weights)
        to_disk(partial_folder / _WEIGHTS)
        write_whole(partial_folder / _ABOUT, json.dumps(about, indent=1))
        replace_folder(partial_folder, folder)


def _describe(policy: Policy, weights: bytes) -> dict:
    """The content of policy.json. `config` is for people; acting needs only the rest."""
    about = {
        "format": _FORMAT,
        "moore": __version__,
        "agent": policy.agent.name,
        "env_id": policy.env_id,
        "obs_dim": policy.obs_dim,
        "action_low": policy.low.tolist(),
        "action_high": policy.high.tolist(),
        "units": policy.units.to_dict(),
        "acting": {"noise": getattr(policy.weights, "noise", 0.0)},
    }
    return about | {"sha256": _hash(about, weights), "config": to_dict(policy.config)}


def _hash(about: dict, weights: bytes) -> str:
    """Hash of everything that the actions depend on."""
    acting = {name: about[name] for name in _HASHED if name in about}
    return hashlib.sha256(json.dumps(acting, sort_keys=True).encode() + weights).hexdigest()


def load_policy(run: str | Path, *, seed: int = 0) -> Policy:
    """The policy of a run folder, or of a `policy` folder itself.

    Nothing that the policy names is imported. Settings of another version that this one does not
    know are left out and named in a warning.

    Args:
        run: the folder.
        seed: seed of sampled actions.

    Raises:
        InputError: there is no policy, it is damaged, or its format belongs to a newer version.
    """
    folder = Path(run).expanduser()
    inside = standing(folder / "policy")
    folder = inside if inside.is_dir() else standing(folder)
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        weights = (folder / _WEIGHTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"there is no saved policy in {run}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the policy in {folder} cannot be read: {error}.") from None
    try:
        _check_format(about, folder)
        return _assemble(about, weights, folder, seed)
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"the policy in {folder} is damaged: it has no {error}.") from None
    except (TypeError, ValueError, OverflowError, SafetensorError) as error:
        raise InputError(f"the policy in {folder} is damaged: {error}.") from None


def _check_format(about: object, folder: Path) -> None:
    """Refuses a format of a later version of moore."""
    if not isinstance(about, dict):
        raise ValueError(f"{_ABOUT} is not a table")
    written = about.get("format", 1)
    if type(written) is not int or written < 1:
        raise ValueError(f"its format is {written!r}, not a number")
    if written > _FORMAT:
        raise InputError(
            f"the policy in {folder} was saved by moore {about.get('moore', 'of a later version')} "
            f"in format {written}; this is moore {__version__}, which reads formats up to "
            f"{_FORMAT}. Install that version or a later one."
        )


def _assemble(about: dict, weights: bytes, folder: Path, seed: int) -> Policy:
    if about["agent"] not in AGENTS:
        raise ValueError(f"its agent is {about['agent']!r}, none of {', '.join(AGENTS)}")
    if "sha256" in about and about["sha256"] != _hash(about, weights):
        raise ValueError("its weights or bounds are not those that were saved (the hash differs)")
    agent, obs_dim, env_id = AGENTS[about["agent"]], about["obs_dim"], about["env_id"]
    if type(obs_dim) is not int or obs_dim < 1:
        raise ValueError(f"an observation has {obs_dim!r} entries")
    if not isinstance(env_id, str):
        raise ValueError(f"its environment is {env_id!r}, not a name")
    if not isinstance(about["config"], dict):
        raise ValueError("its settings are not a table")
    low, high = _bounds(about)
    actor = from_arrays(
        _ACTORS.get(agent.name, Actor),
        load(weights),
        obs_dim=obs_dim,
        action_dim=low.size,
        noise=_noise(about),
    )
    _check_widths(about, actor)
    config = _config(about, folder)
    # Policies of versions without units take observations as they are.
    units = Units.from_dict(about["units"]) if "units" in about else AS_GIVEN
    if units.obs_mean and len(units.obs_mean) != obs_dim:
        raise ValueError(f"its units have {len(units.obs_mean)} means for {obs_dim} observations")
    return Policy(actor, agent, config, obs_dim, low, high, env_id, seed, units)


def _bounds(about: dict) -> tuple[np.ndarray, np.ndarray]:
    low, high = (np.asarray(about[name], np.float32) for name in ("action_low", "action_high"))
    if low.ndim != 1 or low.size == 0 or low.shape != high.shape:
        raise ValueError(f"its bounds have the shapes {low.shape} and {high.shape}")
    if not (np.isfinite([low, high]).all() and (low <= high).all()):
        raise ValueError(f"its actions lie between {low.tolist()} and {high.tolist()}")
    return low, high


def _noise(about: dict) -> float:
    """Standard deviation of a deterministic actor's noise; format 1 has it among the settings."""
    if "acting" in about:
        return about["acting"]["noise"]
    default = Config().adaptive_bc.exploration_noise
    return about["config"].get("adaptive_bc", {}).get("exploration_noise", default)


def _check_widths(about: dict, actor: AnyActor) -> None:
    """Refuses settings that describe another network, if they describe one."""
    section = about["config"].get(about["agent"])
    named = section.get("hidden") if isinstance(section, dict) else None
    trunk = actor.actors.trunk if isinstance(actor, Mixture) else actor.trunk
    widths = [layer.bias.shape[-1] for layer in trunk.layers[:-1]]
    if isinstance(named, list) and named != widths:
        raise ValueError(
            f"its settings name {len(named)} hidden layers ({str(named[:4])[1:-1]} ...), its "
            f"weights have {len(widths)} ({str(widths[:4])[1:-1]} ...)"
        )


def _config(about: dict, folder: Path) -> Config:
    """The settings that this version knows; a warning names the others."""
    known, unknown = known_settings(about["config"])
    try:
        config, note = from_dict(known), f"does not know: {', '.join(unknown)}"
    except InputError as error:
        config, note, unknown = Config(), f"does not accept ({error})", ["all"]
    if unknown:
        warnings.warn(
            f"the policy in {folder}, saved by moore {about.get('moore', 'of another version')}, "
            f"has settings that this version ({__version__}) {note}. It acts as it did; they are "
            "left out of its `config`.",
            stacklevel=4,
        )
    return config
