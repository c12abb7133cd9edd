"""D_off of a run, from its log: on the device, or on the disk if it is larger than memory."""

import jax
import jax.numpy as jnp
import numpy as np

from moore.algorithms import ALGORITHMS, Algorithm
from moore.config import Config
from moore.data.dataset import Dataset
from moore.envs.bounds import Bounds
from moore.errors import InputError
from moore.experience.on_disk import DiskLog
from moore.lockstep.program import shared
from moore.replay.buffer import Replay, Transition, full_replay
from moore.replay.priorities import RowScheme
from moore.replay.schemes import Scheme
from moore.units import Units


def to_replay(log: Dataset, bounds: Bounds, units: Units, key: jax.Array, config: Config) -> Replay:
    """The log on the device, in the agent's units; of one on disk the part that is in memory.

    Raises:
        InputError: there are too few rows for a holdout.
    """
    usable = int(log.successor_known.sum())
    if int(config.model.holdout_fraction * usable) in (0, usable):
        raise InputError(
            f"{log.name} has {usable} rows with a known successor; a holdout of "
            f"{config.model.holdout_fraction:g} of them leaves nothing to validate or to train on."
        )
    data = Transition(
        obs=log.obs,
        action=bounds.scaled(log.action),
        reward=log.reward,
        next_obs=log.next_obs,
        terminated=log.terminated,
        truncated=log.truncated,
    )
    replay = full_replay(
        units.transition_in(data),
        log.successor_known,
        key,
        holdout_fraction=config.model.holdout_fraction,
        max_holdout=config.model.max_holdout,
    )
    return shared(replay)


def on_disk(log: Dataset | None, replay: Replay, bounds: Bounds, units: Units) -> DiskLog | None:
    """The rows of a log that lies on disk, in the agent's units; None for one in memory.

    Args:
        log: the log.
        replay: its part in memory, whose holdout is that of the whole log.
        bounds: those of the actions.
        units: the agent's.
    """
    if log is None or log.whole is None or not int(replay.size):
        return None
    file = log.whole.file

    def convert(records: np.ndarray) -> Transition:
        columns = {key: np.ascontiguousarray(records[key]) for key in records.dtype.names or ()}
        del columns["successor_known"]
        columns["action"] = bounds.scaled(columns["action"])
        return units.transition_in(Transition(**columns))

    held = np.asarray(replay.holdout_rows[: int(replay.holdout_size)])
    seen = [file.columns(key) for key in ("obs", "next_obs")]
    low = np.minimum(*(columns.low for columns in seen)).astype(np.float32)
    high = np.maximum(*(columns.high for columns in seen)).astype(np.float32)
    reached = jnp.asarray(units.obs_in(low)), jnp.asarray(units.obs_in(high))
    return DiskLog(file, convert, np.sort(log.whole.rows[held]), reached)


def check_disk(algorithm: Algorithm, scheme: Scheme | RowScheme, log: Dataset) -> None:
    """Refuses a log on disk for an algorithm that needs all of its rows at once.

    Raises:
        InputError: it does; the message names those that do not.
    """
    if log.whole is None or not algorithm.uses_log:
        return
    size = f"{log.name}: has {log.total:,} rows, which stay on disk"
    if not isinstance(scheme, Scheme):
        raise InputError(
            f"{size}, and a scheme with a priority for every row needs all of them in memory; give "
            "--max-rows, or a scheme with one priority for the log."
        )
    if not _draws(algorithm):
        able = [name for name, row in ALGORITHMS.items() if row.uses_log and _draws(row)]
        raise InputError(
            f"{size}, and {algorithm.agent.name} needs all of them in memory; give --max-rows, or "
            f"one of {', '.join(able)}."
        )


def _draws(algorithm: Algorithm) -> bool:
    return algorithm.experience.from_disk and not algorithm.agent.keeps_rows
