"""A user's own transfer: the real MDP and two consecutive models from an .npz file."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from moore.errors import InputError, near_file
from moore.theory.mdp import TabularMDP
from moore.theory.models import LearnedModel, Transfer

_NEEDED = ("transition", "reward", "start", "discount", "old_transition", "new_transition")
_OPTIONAL = (
    "horizon", "penalty_coef", "old_reward", "new_reward", "old_uncertainty", "new_uncertainty",
)  # fmt: skip


def read_transfer(path: str | Path) -> Transfer:
    """The transfer that a file describes.

    Args:
        path: .npz with `transition` (S, A, S), `reward` (S, A), `start` (S,) and `discount` of the
            real MDP, and `old_transition`, `new_transition` (S, A, S) of the models. It may have
            `horizon` (else discounted), `old_reward`, `new_reward` (S, A) (else the real one),
            `old_uncertainty`, `new_uncertainty` (S, A) (else 0) and `penalty_coef` (else 1).

    Raises:
        InputError: the file does not exist, or its arrays are missing, unknown or do not fit.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float64) for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{near_file(path) or '.'}") from None
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as .npz with arrays of numbers ({error})."
        ) from None
    missing = [name for name in _NEEDED if name not in arrays]
    unknown = [name for name in arrays if name not in _NEEDED + _OPTIONAL]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"has the unknown {', '.join(unknown)}"
        raise InputError(
            f"{path} {what}; needed are {', '.join(_NEEDED)}, possible {', '.join(_OPTIONAL)}."
        )
    for name, rank in {"reward": 2, "transition": 3, "start": 1, "discount": 0}.items():
        if arrays[name].ndim != rank:
            raise InputError(
                f"{path}: {name} has shape {arrays[name].shape}; expected {rank} axes."
            )
    true = TabularMDP(
        arrays["transition"],
        arrays["reward"],
        arrays["start"],
        float(arrays["discount"]),
        int(arrays["horizon"]) if "horizon" in arrays else None,
    )
    return Transfer(true, *(_model(true, arrays, path, epoch) for epoch in ("old", "new")))


def _model(
    true: TabularMDP, arrays: Mapping[str, np.ndarray], path: str | Path, epoch: str
) -> LearnedModel:
    shapes = {"transition": true.transition.shape, "reward": true.reward.shape}
    shapes["uncertainty"] = true.reward.shape
    parts = {"reward": true.reward, "uncertainty": np.zeros(true.reward.shape)}
    for name, shape in shapes.items():
        if f"{epoch}_{name}" in arrays:
            parts[name] = arrays[f"{epoch}_{name}"]
        found = parts[name]
        if found.shape != shape or not np.isfinite(found).all():
            what = f"{path}: {epoch}_{name} has shape {found.shape}"
            raise InputError(f"{what}; expected {shape}, all finite.")
    mdp = true.with_(transition=parts["transition"], reward=parts["reward"])
    return LearnedModel(mdp, parts["uncertainty"], float(arrays.get("penalty_coef", 1.0)))
