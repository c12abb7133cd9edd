"""The files of a saved policy, and what acting with it does around the network.

This module imports neither JAX nor anything that does, so that `moore.load_policy` also works where
only NumPy is installed (`moore.exporting.numpy_policy`).
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from moore.agents.adaptive_bc_config import AdaptiveBCConfig
from moore.errors import InputError, near_folder
from moore.files import standing
from moore.numbers import as_measured
from moore.version import __version__

WEIGHTS, ABOUT = "policy.safetensors", "policy.json"
# 1: without `format`, `moore`, `acting` and `sha256`. Higher where older versions cannot act with
# the weights as they should; not for settings, which acting does not need.
FORMAT = 2
# What the actions depend on, beside the weights; covered by the hash.
_HASHED = ("agent", "obs_dim", "action_low", "action_high", "acting", "units")


def read_files(run: str | Path) -> tuple[Path, dict, bytes]:
    """The policy's folder, the content of its policy.json, and its weights as they are stored.

    Args:
        run: a run folder, or the `policy` folder itself.

    Raises:
        InputError: there is no policy, it cannot be read, or a later version has saved it.
    """
    folder = Path(run).expanduser()
    inside = standing(folder / "policy")
    folder = inside if inside.is_dir() else standing(folder)
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        weights = (folder / WEIGHTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        hint = near_folder(run)
        if Path(run).expanduser().exists():
            hint = "; a run saves one at the end of its offline stage."
        if (folder / "contract.json").is_file():
            hint = ", but what moore export has made of one: docs/export.md says how it is run."
        raise InputError(f"there is no saved policy in {run}{hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the policy in {folder} cannot be read: {error}.") from None
    with telling_damage(folder):
        check_format(about, folder)
    return folder, about, weights


@contextlib.contextmanager
def telling_damage(folder: Path) -> Iterator[None]:
    """Turns what a damaged policy leads to into InputError, in one line."""
    try:
        yield
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"the policy in {folder} is damaged: it has no {error}.") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the policy in {folder} is damaged: {error}.") from None


def hash_of(about: dict, weights: bytes) -> str:
    """The policy's id: a hash of everything that its actions depend on."""
    acting = {name: about[name] for name in _HASHED if name in about}
    return hashlib.sha256(json.dumps(acting, sort_keys=True).encode() + weights).hexdigest()


def check_hash(about: dict, weights: bytes) -> None:
    """Raises ValueError if the files are not those that were saved."""
    if "sha256" in about and about["sha256"] != hash_of(about, weights):
        raise ValueError("its weights or bounds are not those that were saved (the hash differs)")


def check_format(about: object, folder: Path) -> None:
    """Refuses what a later version of moore has written in a way that this one does not know."""
    if not isinstance(about, dict):
        raise ValueError(f"{ABOUT} is not a table")
    written = about.get("format", 1)
    if type(written) is not int or written < 1:
        raise ValueError(f"its format is {written!r}, not a number")
    if written > FORMAT:
        raise InputError(
            f"the policy in {folder} was saved by moore {about.get('moore', 'of a later version')} "
            f"in format {written}; this is moore {__version__}, which reads formats up to "
            f"{FORMAT}. Install that version or a later one."
        )


def facts_of(about: dict) -> tuple[int, str]:
    """How many entries an observation has, and the environment's name.

    Raises:
        KeyError, ValueError: one is missing, or impossible.
    """
    obs_dim, env_id = about["obs_dim"], about["env_id"]
    if type(obs_dim) is not int or obs_dim < 1:
        raise ValueError(f"an observation has {obs_dim!r} entries")
    if not isinstance(env_id, str):
        raise ValueError(f"its environment is {env_id!r}, not a name")
    return obs_dim, env_id


def bounds_of(about: dict) -> tuple[np.ndarray, np.ndarray]:
    """The bounds (action,) of the actions, float32.

    Raises:
        KeyError, TypeError, ValueError: they are missing, or no bounds.
    """
    low, high = (np.asarray(about[name], np.float32) for name in ("action_low", "action_high"))
    if low.ndim != 1 or low.size == 0 or low.shape != high.shape:
        raise ValueError(f"its bounds have the shapes {low.shape} and {high.shape}")
    if not (np.isfinite([low, high]).all() and (low <= high).all()):
        raise ValueError(f"its actions lie between {low.tolist()} and {high.tolist()}")
    return low, high


def noise_of(about: dict) -> float:
    """The deviation of a deterministic actor's samples; format 1 has it among the settings."""
    if "acting" in about:
        return about["acting"]["noise"]
    default = AdaptiveBCConfig().exploration_noise
    return about["config"].get("adaptive_bc", {}).get("exploration_noise", default)


def checked_obs(obs: object, obs_dim: int) -> np.ndarray:
    """Observations as float32, (obs,) or (n, obs).

    Raises:
        InputError: another number of entries, or one that is no finite number or is masked.
    """
    if type(obs) is not np.ndarray or obs.dtype != np.float32:
        try:
            obs = as_measured(obs, "the observation")
        except InputError:
            raise
        except (TypeError, ValueError):
            raise InputError(
                f"the observation is {type(obs).__name__}, which is no array of numbers; this "
                f"policy takes ({obs_dim},) or (n, {obs_dim})."
            ) from None
    if obs.ndim not in (1, 2) or obs.shape[-1] != obs_dim:
        raise InputError(
            f"the observation has shape {obs.shape}; this policy takes ({obs_dim},) "
            f"or (n, {obs_dim})."
        )
    if not np.isfinite(obs).all():
        raise InputError(
            "the observation holds a value that is not a finite number (entry "
            f"{int(np.argwhere(~np.isfinite(obs))[0][-1])}); no action follows from it."
        )
    return obs


def within_bounds(squashed: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Actions (rows, action) from [-1, 1] to their own units."""
    action = low + (squashed + 1.0) * (0.5 * (high - low))
    # Rounding may carry it over the border, which some environments refuse.
    return np.clip(action, low, high)
