"""Learning within a number of updates or seconds, and the rows of metrics of a session."""

import time
from collections.abc import Callable
from pathlib import Path

from moore.errors import InputError, TurnError
from moore.sessions.feeder import Feeder
from moore.sinks.json_lines import MetricsFile
from moore.stages.online_learning import OnlineLearning


class Studying:
    """Carries out `OnlineLearning.learn` for a session, as far as the caller's time allows.

    Attributes:
        updates: number of updates that the session has made.
        sound: whether the learner's state is whole; it is not after an error while learning.
    """

    def __init__(self, folder: Path, learning: OnlineLearning, feeder: Feeder, info: dict):
        """Goes on from the information of a checkpoint; an empty one begins."""
        self._learning, self._feeder = learning, feeder
        self.updates = info.get("updates", 0)
        self._beyond = info.get("beyond", 0)
        self.sound, self._folder = True, folder
        kept = info.get("metrics", {}).get("bytes", 0)
        then = ", then go on with moore.Session.resume"
        self._metrics = MetricsFile(folder / "metrics.jsonl", keep_bytes=kept, then=then)
        self.close = self._metrics.close

    @property
    def info(self) -> dict:
        """What a checkpoint holds."""
        return {"updates": self.updates, "beyond": self._beyond, "metrics": self._metrics.mark}

    @property
    def due(self) -> int:
        """Number of updates that are due by the schedule."""
        learning, config = self._learning, self._learning.learner.config.online
        learned = learning.steps_learned
        first = max(learned, learning.warm_up)
        every = config.update_every
        groups = (learned + learning.due) // every - first // every
        return max(groups, 0) * every * config.updates_per_step

    def check_sound(self) -> None:
        """Raises TurnError if learning was interrupted, so that its state is not whole."""
        if not self.sound:
            raise TurnError(
                "learning was interrupted by an error, so its state is not whole and is not saved; "
                f"moore.Session.resume({str(self._folder)!r}) goes on from the one before, and no "
                "step is lost."
            )

    def learn(self, *, updates: int | None, seconds: float | None) -> int:
        """Learns; see `Session.learn`."""
        wanted = _budget(updates, seconds)
        self.check_sound()
        self.sound = False
        made = 0
        while wanted(made):
            if self._learning.due:
                made += self._learn_step()
            elif (updates is None and seconds is None) or not self._learning.ready:
                break
            else:
                made += self._learn_beyond()
        self.sound = True
        return made

    def _learn_step(self) -> int:
        """Does what is due after the next step, and ends the epoch after its last one."""
        learning = self._learning
        made = learning.learn(self._feeder.take_returns)
        self.updates += made
        steps, epoch = learning.learner.config.online.steps_per_epoch, learning.epoch
        if epoch.learned >= steps:
            row = {"stage": "online", "epoch": epoch.number, "env_steps": learning.steps_learned}
            row["updates"] = self.updates
            self._metrics.write(row | learning.end_epoch(self._feeder.take_returns()))
            learning.begin_epoch(epoch.number + 1, observed=epoch.observed - steps)
        return made

    def _learn_beyond(self) -> int:
        """A group of updates that no step asks for, with a refresh as often as steps have one."""
        config = self._learning.learner.config.online
        groups = max(config.refit_every // config.update_every, 1)
        if self._beyond % groups == 0:
            self._learning.refresh(self._feeder.take_returns)
        self._beyond += 1
        made = self._learning.update()
        self.updates += made
        return made


def _budget(updates: int | None, seconds: float | None) -> Callable[[int], bool]:
    """Whether there is room for more, after so many updates."""
    if updates is not None and seconds is not None:
        raise InputError("learn() takes updates= or seconds=, not both.")
    for name, value in (("updates", updates), ("seconds", seconds)):
        if value is not None and (isinstance(value, bool) or not value >= 0):
            raise InputError(f"{name} is {value!r}; expected a number of at least 0.")
    if updates is not None:
        return lambda made: made < updates
    if seconds is None:
        return lambda made: True
    end = time.monotonic() + seconds
    return lambda made: time.monotonic() < end
