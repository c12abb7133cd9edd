"""The models of a run, read from its newest checkpoint, without the rest of its state."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
from safetensors.numpy import load_file

from moore.config import Config
from moore.dynamics.ensemble import Ensemble
from moore.dynamics.fit import init_model
from moore.runs.checkpoint import is_whole, newest_first
from moore.runs.run_files import HAND_OVER

_STATE = "state.safetensors"


def saved_models(folder: Path, config: Config, dims: tuple[int, int]) -> Ensemble | None:
    """The models of the newest undamaged checkpoint; None if no checkpoint has any that fit.

    Args:
        folder: folder of the run.
        config: its settings, which tell the sizes of the networks.
        dims: numbers of entries of an observation and of an action.
    """
    checkpoints = folder / "checkpoints"
    epochs = newest_first(checkpoints)
    online = [path for path in epochs if path.name.startswith("online")]
    for path in (*online, checkpoints / HAND_OVER, *epochs[len(online) :]):
        if is_whole(path):
            found = _models_in(path, config, dims)
            if found is not None:
                return found
    return None


def _models_in(path: Path, config: Config, dims: tuple[int, int]) -> Ensemble | None:
    """The ensemble in a checkpoint: arrays are named by their places in the state."""
    like = eqx.filter_eval_shape(
        lambda key: init_model(key, *dims, config.model).ensemble, jax.random.key(0)
    )
    arrays = {
        name.rpartition(".ensemble")[2]: array
        for name, array in load_file(path / _STATE).items()
        if name.startswith(("state.experience.model.ensemble", "state['experience']['model']"
                            ".ensemble", "state['learner'].experience.model.ensemble"))
    }  # fmt: skip
    paths, tree = jax.tree_util.tree_flatten_with_path(like)
    leaves = []
    for place, wanted in paths:
        array = arrays.get(jax.tree_util.keystr(place))
        if array is None or array.shape != wanted.shape:
            return None
        leaves.append(jnp.asarray(array))
    return jax.tree.unflatten(tree, leaves)
