"""Compares a log that a policy is judged by with the log that it was trained on, where that is."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from moore.config import Config
from moore.data.dataset import Dataset
from moore.data.whole import whole_returns
from moore.errors import InputError
from moore.findings.duplicates import shared_rows
from moore.findings.two_logs import changed_between
from moore.formats.load import load_dataset
from moore.replay.buffer import Transition
from moore.runs.met import unlike_the_log

_FEW = 5  # episodes tell no mean
_CLEAR = 3.0  # standard errors
_MUCH = 0.5  # standard deviations of the episodes
_LONGER = 1.05  # times


@dataclass(frozen=True)
class BesideTheRun:
    """What a comparison with the log of the run says, in sentences.

    Attributes:
        notes: all of it.
        doubts: those after which the answer cannot be yes.
        longest: steps of the longest episode of the log of the run; None if it is not known.
    """

    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    longest: int | None = None


def compared(
    log: Dataset, config: Config, reward: str | None, accept: Collection[str]
) -> BesideTheRun:
    """How a log is unlike that of the run, and which rows it shares with it.

    Args:
        log: a log that is said to be held out.
        config: the settings of the run, which name its log.
        reward: function module:function that computes the rewards of the run's log; None: a column.
        accept: names of findings that the user accepts.

    Raises:
        InputError: most of its rows hold values that the log of the run never holds, as if units
            or order were others, and "unlike-the-log" is not accepted.
    """
    own = _own_log(config, reward)
    if own is None:
        return BesideTheRun((
            f"The log of the run ({config.dataset or 'none'}) cannot be read here, so nothing says "
            f"whether {log.name} has the same units and signs, or the same rows.",
        ))  # fmt: skip
    if (own.obs_dim, own.action_dim) != (log.obs_dim, log.action_dim):
        return BesideTheRun((
            f"{config.dataset} is no longer the log of the run, so nothing is compared with it.",
        ))  # fmt: skip
    _check_units(log, own, accept)
    notes = found = _doubts(log, own, config.episode_steps)
    if count := shared_rows(*((one.obs, one.action, one.reward) for one in (log, own))):
        shared = (
            f"{count:,} of the {log.size:,} rows of {log.name} are in the log that the policy was "
            "trained on, too, so the estimates lean towards the policy."
        )
        notes = [shared, *found]
    doubts = [] if "unlike-the-log" in accept else found
    return BesideTheRun(
        tuple(notes), tuple(doubts), int(own.episode_lengths.max(initial=0)) or None
    )


def _own_log(config: Config, reward: str | None) -> Dataset | None:
    """The log of the run; None if it cannot be read."""
    try:
        return load_dataset(
            config.dataset,
            columns=config.columns or None,
            reward=reward,
            max_episode_steps=config.episode_steps,
            max_rows=config.max_rows,
            fraction=config.fraction,
        )
    except InputError:
        return None


def _check_units(log: Dataset, own: Dataset, accept: Collection[str]) -> None:
    met = Transition(
        log.obs, log.action, log.reward, log.next_obs, log.terminated, log.truncated
    )  # fmt: skip
    told = unlike_the_log(met, own)
    if told and "unlike-the-log" not in accept:
        text = next(iter(told.values())).replace("the system", log.name)
        raise InputError(
            f"{log.name}: compared with the log of the run, {text} To judge by it as it is: "
            "--accept unlike-the-log."
        )


def _doubts(log: Dataset, own: Dataset, episode_steps: int | None) -> list[str]:
    """Sentences on what is otherwise in a log, so that it may judge another task."""
    found = []
    if what := changed_between(own, log):
        found.append(
            f"Compared with the log of the run, in {log.name} {what}. If nothing was changed in "
            "the plant, change it back; if it was, the policy was trained for another one."
        )
    lengths = [int(one.episode_lengths.max(initial=0)) for one in (log, own)]
    if lengths[0] > _LONGER * lengths[1]:
        found.append(
            f"Episodes of {log.name} have up to {lengths[0]:,} steps, those of the log of the run "
            f"{lengths[1]:,}: does one end where the other goes on?"
        )
    steps = episode_steps or max(lengths)
    earned = [whole_returns(one, steps) for one in (log, own)]
    if min(map(len, earned)) < _FEW:
        return found
    means = [float(np.mean(returns)) for returns in earned]
    error = np.sqrt(sum(np.var(returns) / len(returns) for returns in earned))
    least = max(_CLEAR * float(error), _MUCH * float(np.std(earned[1])))
    if abs(means[0] - means[1]) > least:
        found.append(
            f"An episode of {log.name} earns {means[0]:.4g} on average, one of the log of the run "
            f"{means[1]:.4g}: by another controller, or by other rewards? Better than the one is "
            "not better than the other."
        )
    return found
