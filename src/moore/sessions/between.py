"""Learning between episodes: what is due is learned when an episode has ended, by itself."""

import time
import warnings

import numpy as np

from moore.errors import InputError, WriteError
from moore.sessions.operation import Operation

# How a session may learn; see `Session.from_run`.
LEARNERS = ("call", "episodes", "process")
SAVE_EVERY = 60.0  # seconds, at most once in which it saves by itself


class BetweenEpisodes:
    """Learns what is due whenever an episode has ended, or a block of steps was brought.

    It saves afterwards, so that a kill costs what was learned in the last episode, or in the last
    minute, not all that was learned since the session was opened.
    """

    def __init__(self, seconds: float | None):
        """`seconds` that it may take each time; None: as long as something is due."""
        self._seconds, self._save_at = seconds, time.monotonic() + SAVE_EVERY

    def learn(self, operation: Operation) -> None:
        """Learns; an error is a warning, because the steps are recorded and acting goes on.

        After an error that has left the learner's state broken nothing is learned any more.
        """
        if not operation.studying.report.alive:
            return
        try:
            operation.learn(updates=None, seconds=self._seconds, beyond=False)
            if time.monotonic() >= self._save_at:
                operation.save(None)
                self._save_at = time.monotonic() + SAVE_EVERY
        except WriteError as error:
            warnings.warn(
                f"what was learned could not be saved ({error}); it is tried again after the next "
                "episode.",
                stacklevel=4,
            )
        except Exception as error:
            warnings.warn(
                f"learning after the episode failed ({type(error).__name__}: {error}); the policy "
                "goes on acting as it is, and no step is lost.",
                stacklevel=4,
            )


def between_episodes(learner: str, seconds: object) -> BetweenEpisodes | None:
    """What learns between episodes; None if learning goes on otherwise.

    Args:
        learner: one of `LEARNERS`.
        seconds: see `Session.from_run`; None if it is not given.

    Raises:
        InputError: another `learner`, or `seconds` that are not positive or not used.
    """
    if learner not in LEARNERS:
        raise InputError(f"learner is {learner!r}; expected 'call', 'episodes' or 'process'.")
    if seconds is not None:
        number = isinstance(seconds, int | float | np.integer | np.floating)
        if isinstance(seconds, bool) or not number or not seconds > 0:  # type: ignore[operator]
            raise InputError(f"learn_seconds is {seconds!r}; expected a number above 0.")
        if learner != "episodes":
            raise InputError(
                "learn_seconds is the time of learning between episodes; give it with "
                f"learner='episodes', or leave it out with learner={learner!r}."
            )
    return BetweenEpisodes(seconds) if learner == "episodes" else None  # type: ignore[arg-type]
