"""A saved policy, which `moore.load_policy` reads without the run that made it.

Reading a policy runs no code that its files name. It needs neither the version nor the settings of
the training, because the weights tell what the network is.
"""

import json
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError
from safetensors.numpy import load, save

from moore.agents.acting import AnyActor, from_arrays, gaussian
from moore.agents.agent import Agent
from moore.agents.mixture import Mixture
from moore.algorithms import AGENTS
from moore.config import Config, from_dict, known_settings, to_dict
from moore.data.column_names import Columns, as_columns, check_labels
from moore.errors import InputError
from moore.files import replace_folder, to_disk, write_whole, writing
from moore.runs.policy_file import (
    ABOUT,
    FORMAT,
    WEIGHTS,
    bounds_of,
    check_hash,
    checked_obs,
    facts_of,
    hash_of,
    noise_of,
    read_files,
    telling_damage,
    within_bounds,
)
from moore.units import AS_GIVEN, Units
from moore.version import __version__


@dataclass
class Policy:
    """A policy in the units of its environment. It uses NumPy and works in forked processes.

    Attributes:
        weights: what acting needs, as `agent.policy` returns it, in NumPy arrays.
        agent: the agent that the policy belongs to.
        config: configuration of the run that made it.
        obs_dim: number of entries of an observation.
        low: (action,) lower bounds of the environment's actions.
        high: (action,) upper bounds of the environment's actions.
        env_id: environment in which it was trained.
        seed: seed of the samples that `deterministic=False` draws.
        units: conversion of the environment's units to those of the weights.
        columns: names and units of observations and actions, where the log gives them.
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
    columns: Columns = field(default_factory=dict)
    _rng: np.random.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        self.weights = jax.device_get(self.weights)
        self._rng = np.random.default_rng(self.seed)

    def __call__(self, obs: Any, *, deterministic: bool = True) -> np.ndarray:
        """Actions for one observation (obs,) or a batch (n, obs), float32, within the bounds.

        Raises:
            InputError: the observation has another number of entries, one that is not finite, or
                entries with the log's names in another order.
        """
        check_labels("the observation", obs, self.columns)
        obs = checked_obs(obs, self.obs_dim)
        drawn_from = gaussian(self.weights, np.atleast_2d(self.units.obs_in(obs)))
        squashed = drawn_from.mode() if deterministic else drawn_from.sample(self._rng)
        action = within_bounds(squashed, self.low, self.high)
        return action.reshape(*obs.shape[:-1], self.low.size)


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
        (partial_folder / WEIGHTS).write_bytes(weights)
        to_disk(partial_folder / WEIGHTS)
        write_whole(partial_folder / ABOUT, json.dumps(about, indent=1))
        replace_folder(partial_folder, folder)


def policy_id(policy: Policy) -> str:
    """What tells a policy from all others: the hash in its policy.json when it is saved."""
    return hash_of(_about(policy), save(_named(policy.weights)))


def _describe(policy: Policy, weights: bytes) -> dict:
    """The content of policy.json. `config` is for people; acting needs only the rest."""
    about = _about(policy)
    return about | {"sha256": hash_of(about, weights), "config": to_dict(policy.config)}


def _about(policy: Policy) -> dict:
    """What acting needs besides the weights, and where the policy comes from."""
    return {
        "format": FORMAT,
        "moore": __version__,
        "agent": policy.agent.name,
        "env_id": policy.env_id,
        "obs_dim": policy.obs_dim,
        "action_low": policy.low.tolist(),
        "action_high": policy.high.tolist(),
        "units": policy.units.to_dict(),
        "acting": {"noise": getattr(policy.weights, "noise", 0.0)},
        "columns": policy.columns,
    }


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
    folder, about, weights = read_files(run)
    with telling_damage(folder):
        return _assemble(about, weights, folder, seed)


def _loaded(weights: bytes) -> dict[str, np.ndarray]:
    """The arrays of the weights' file; ValueError if it is damaged."""
    try:
        return load(weights)
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _assemble(about: dict, weights: bytes, folder: Path, seed: int) -> Policy:
    if about["agent"] not in AGENTS:
        raise ValueError(f"its agent is {about['agent']!r}, none of {', '.join(AGENTS)}")
    check_hash(about, weights)
    agent = AGENTS[about["agent"]]
    obs_dim, env_id = facts_of(about)
    if not isinstance(about["config"], dict):
        raise ValueError("its settings are not a table")
    low, high = bounds_of(about)
    actor = from_arrays(
        agent.actor,
        _loaded(weights),
        obs_dim=obs_dim,
        action_dim=low.size,
        noise=noise_of(about),
    )
    _check_widths(about, actor)
    config = _config(about, folder)
    # Policies of versions without units take observations as they are.
    units = Units.from_dict(about["units"]) if "units" in about else AS_GIVEN
    if units.obs_mean and len(units.obs_mean) != obs_dim:
        raise ValueError(f"its units have {len(units.obs_mean)} means for {obs_dim} observations")
    columns = as_columns(about.get("columns"))
    return Policy(actor, agent, config, obs_dim, low, high, env_id, seed, units, columns)


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
