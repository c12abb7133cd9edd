"""The units in which a run learns: measured once, then kept in its folder as units.json."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from moore.config import Config
from moore.data.dataset import Dataset
from moore.envs.adapter import Adapter
from moore.envs.evaluation import random_policy
from moore.envs.make import episode_seed
from moore.errors import InputError
from moore.files import short_path, write_whole
from moore.units import AS_GIVEN, Units, measured, units_of

FILE = "units.json"
# Number of random steps, if there is no log: enough for means and deviations, and quick.
STEPS = 500


def wanted(config: Config) -> dict[str, bool]:
    """Whether the configuration asks for units of observations or rewards."""
    return {"standardise_obs": config.standardise_obs, "scale_rewards": config.scale_rewards}


def units_for(config: Config, log: Dataset | None, make: Callable[[], Adapter]) -> Units:
    """The units of a new run.

    They are measured on all rows of the log, or without a log on `STEPS` random steps in an
    environment of evaluation. If there is neither, nothing is changed; a live system is not used
    for this.

    Args:
        config: says which of observations and rewards are changed, and has the seed.
        log: log in the user's units.
        make: function that makes an environment of evaluation.
    """
    if not any(wanted(config).values()):
        return AS_GIVEN
    if log is not None and log.whole is not None:
        obs, reward = (log.whole.file.columns(key) for key in ("obs", "reward"))
        return units_of(obs, reward, **wanted(config))
    if log is not None:
        return measured(log.obs, log.reward, **wanted(config))
    if not config.evaluation.episodes:
        return AS_GIVEN
    seen, earned = _random_rows(make, config.seed)
    return measured(seen, earned, **wanted(config))


def fitting(units: Units, obs_dim: int) -> Units:
    """Checks that units from a folder fit observations with this number of entries.

    Raises:
        InputError: they belong to observations of another size.
    """
    if units.obs_mean and len(units.obs_mean) != obs_dim:
        raise InputError(
            f"that run has seen observations of {len(units.obs_mean)} entries ({FILE}), and "
            f"the environment has {obs_dim}; give the one that it was trained for."
        )
    return units


def note_on_units(config: Config, log: Dataset | None) -> str:
    """A note if nothing could be measured; otherwise empty."""
    if not any(wanted(config).values()) or log is not None or config.evaluation.episodes:
        return ""
    return (
        "\nnote: observations and rewards are taken as they are: there is neither a log nor an "
        "environment of evaluation to measure them in"
    )


def _random_rows(make: Callable[[], Adapter], run_seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Observations (STEPS, obs) and rewards (STEPS,) of uniform actions."""
    env, episode, obs = make(), 0, None
    rows: list[tuple[np.ndarray, float]] = []
    act = random_policy(env.bounds.low.size, episode_seed(run_seed, "units", 0))
    try:
        while len(rows) < STEPS:
            if obs is None:
                obs, _ = env.reset(seed=episode_seed(run_seed, "units", episode))
                episode += 1
            next_obs, reward, terminated, truncated, _ = env.step(act(obs[None])[0])
            if env.fault is None:
                rows.append((obs.astype(np.float64), reward))
            obs = None if terminated or truncated else next_obs
    finally:
        env.close()
    seen, rewards = zip(*rows, strict=True)
    return np.stack(seen), np.stack(rewards)


def write_units(folder: Path, units: Units, config: Config) -> None:
    """Writes them to a run's folder, if the configuration asks for them."""
    if any(wanted(config).values()):
        text = json.dumps(wanted(config) | units.to_dict(), indent=1)
        write_whole(folder / FILE, text)


def read_units(folder: Path, config: Config) -> Units:
    """Reads the units in which a run learns; networks and data are valid only in these.

    Args:
        folder: folder of the run.
        config: configuration of the run that goes on from there.

    Raises:
        InputError: the configuration asks for something else, or the file is missing or damaged.
    """
    asked, units = wanted(config), AS_GIVEN
    kept = dict.fromkeys(asked, False)
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        kept, units = {name: bool(values[name]) for name in kept}, Units.from_dict(values)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / FILE} cannot be read ({error}); copy it again.") from None
    if kept == asked:
        return units
    name = next(name for name in kept if kept[name] != asked[name])
    raise InputError(
        f"{short_path(folder)} has learned with {name} = {str(kept[name]).lower()} ({FILE}), and "
        f"now {str(asked[name]).lower()} is asked for: networks and data have no meaning in other "
        f"units. Leave the setting as it was, or train anew from the log."
    )
