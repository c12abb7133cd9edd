"""The SAC training behind a collected log. All tiers of one seed share its run folder."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jax
import numpy as np

from moore.agents.sac import SACConfig
from moore.config import Config, read_toml
from moore.errors import InputError
from moore.numbers import is_finite
from moore.presets import preset
from moore.replay.buffer import Transition
from moore.runs.folder import read_metrics
from moore.runs.policy import Policy, load_policy, save_policy
from moore.runs.reading import newest_checkpoint, newest_epoch
from moore.runs.run import resume, run
from moore.runs.sections import used_settings
from moore.runs.setup import Setup, prepare
from moore.runs.units import read_units
from moore.sinks.console import Reporter
from moore.stages.learner import LearnerState

# Evaluations in a whole training; there is one after each epoch.
EVALUATIONS = 100


def training_config(env_id: str, *, steps: int, seed: int, sac: SACConfig) -> Config:
    """SAC from scratch for at least `steps` environment steps, evaluated 100 times."""
    config = preset("sac")
    epoch = max(-(-steps // EVALUATIONS), 1)
    online = dataclasses.replace(
        config.online,
        epochs=-(-steps // epoch),
        steps_per_epoch=epoch,
        refit_every=epoch,
        random_steps=min(config.online.random_steps, steps // 10),
    )
    return dataclasses.replace(config, env_id=env_id, seed=seed, sac=sac, online=online)


@dataclass(frozen=True)
class SACTraining:
    """A training that may still be in progress.

    The policy is kept at every evaluation that beats all earlier ones. So the first policy to reach
    any given return is kept, and so is the best one.

    Attributes:
        folder: folder of the run.
        config: configuration of the run.
        quiet: print nothing.
    """

    folder: Path
    config: Config
    quiet: bool = False

    def advance(self, enough: Callable[[list[dict]], bool]) -> None:
        """Trains until `enough` is true, or to the end.

        Args:
            enough: takes the rows of the learning curve so far.

        Raises:
            InputError: the folder holds another training, or something else.
        """
        rows = self.curve() if self.folder.exists() else []
        if rows and (enough(rows) or rows[-1]["epoch"] >= self.config.online.epochs):
            return

        def until(row: dict, state: LearnerState) -> bool:
            rows[:] = [*(old for old in rows if old["epoch"] < row["epoch"]), row]
            if best(rows) is row:
                self._keep(row["epoch"], state)
            return enough(rows)

        if self.folder.exists():
            resume(self.folder, until=until, quiet=self.quiet)
        else:
            run(self.config, out=self.folder, until=until, quiet=self.quiet)

    def curve(self) -> list[dict]:
        """The rows of the learning curve up to the newest checkpoint, where a resume begins.

        Epoch 0 is the untrained policy.

        Raises:
            InputError: the folder holds another training, or something else.
        """
        if read_toml(self.folder / "config.toml") != used_settings(self.config):
            raise InputError(
                f"{self.folder} holds a training with other settings; give the --train-steps and "
                "--sac.* that it was made with, or another folder with --training."
            )
        until = newest_epoch(self.folder)
        rows = read_metrics(self.folder / "metrics.jsonl")
        return [row for row in rows if is_finite(row.get("eval/return")) and row["epoch"] <= until]

    def policy(self, epoch: int) -> Policy:
        """The policy after an epoch whose evaluation beat all earlier ones."""
        return load_policy(self._policy_folder(epoch))

    def buffer(self, rows: int) -> Transition:
        """The first transitions of the training, as NumPy arrays.

        Actions lie in [-1, 1]; everything else is in the user's units.

        Raises:
            InputError: the training has not made so many transitions yet.
        """
        setup = self._setup
        checkpoint = newest_checkpoint(setup, self.folder, self.config, Reporter(quiet=self.quiet))
        online = None if checkpoint is None else checkpoint.state.online
        size = 0 if online is None else int(online.size)
        if online is None or size < rows:
            raise InputError(
                f"{self.folder} holds {size:,} transitions, not {rows:,}; delete it and train anew."
            )
        data = jax.tree.map(lambda column: np.asarray(column[:rows]), online.data)
        return setup.units.transition_out(data)

    @cached_property
    def _setup(self) -> Setup:
        return prepare(self.config, units=read_units(self.folder, self.config))

    def _policy_folder(self, epoch: int) -> Path:
        return self.folder / "policies" / f"epoch-{epoch:06d}"

    def _keep(self, epoch: int, state: LearnerState) -> None:
        folder = self._policy_folder(epoch)
        folder.parent.mkdir(parents=True, exist_ok=True)
        setup = self._setup
        save_policy(folder, setup.policy(setup.learner.policy(state)))


def first_reaching(rows: list[dict], wanted: float) -> dict | None:
    """The first epoch after training began whose evaluation reached a return; else None."""
    return next((row for row in _trained(rows) if row["eval/return"] >= wanted), None)


def best(rows: list[dict]) -> dict:
    """The epoch after training began with the best evaluation; of equal ones the earliest."""
    return max(_trained(rows), key=lambda row: row["eval/return"])


def _trained(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["epoch"] > 0]
