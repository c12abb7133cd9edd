"""Compares a log that a policy is judged by with the log that it was trained on, where that is."""

from collections.abc import Collection

from moore.config import Config
from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.findings.duplicates import shared_rows
from moore.findings.two_parts import changed_between
from moore.formats.load import load_dataset
from moore.replay.buffer import Transition
from moore.runs.met import unlike_the_log


def compared(
    log: Dataset, config: Config, reward: str | None, accept: Collection[str]
) -> list[str]:
    """Notes on where a log is unlike that of the run, and on rows that it shares with it.

    Args:
        log: a log that is said to be held out.
        config: the settings of the run, which name its log.
        reward: function module:function that computes the rewards of the run's log; None: a column.
        accept: names of findings that the user accepts.

    Raises:
        InputError: most of its rows hold values that the log of the run never holds, as if units
            or order were others, and "unlike-the-log" is not accepted.
    """
    try:
        own = load_dataset(
            config.dataset,
            columns=config.columns or None,
            reward=reward,
            max_episode_steps=config.episode_steps,
            max_rows=config.max_rows,
            fraction=config.fraction,
        )
    except InputError:
        return [
            f"The log of the run ({config.dataset or 'none'}) cannot be read here, so nothing says "
            f"whether {log.name} has the same units and signs, or the same rows."
        ]
    if (own.obs_dim, own.action_dim) != (log.obs_dim, log.action_dim):
        return [
            f"{config.dataset} is no longer the log of the run, so nothing is compared with it."
        ]
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
    notes = []
    if count := shared_rows(*((one.obs, one.action, one.reward) for one in (log, own))):
        notes.append(
            f"{count:,} of the {log.size:,} rows of {log.name} are in the log that the policy was "
            "trained on, too, so the estimates lean towards the policy."
        )
    if what := changed_between(own, log):
        notes.append(
            f"Compared with the log of the run, in {log.name} {what}: its steps follow another "
            "law, which is the same once that is changed back. If nothing was changed in the "
            "plant, change it back."
        )
    return notes
