"""Single steps of an experience that has models, on the state of a whole learner."""

import dataclasses

from moore.dynamics.fit import FitReport
from moore.experience.protocol import Moment
from moore.replay.draws import Groups
from moore.replay.schemes import uniform
from moore.stages.learner import Learner, LearnerState


def imagine(
    learner: Learner,
    state: LearnerState,
    epoch: int,
    count: int | None = None,
    length: int | None = None,
) -> tuple[LearnerState, dict]:
    """Lines 14 to 16."""
    now = learner.moment(state, epoch)
    experience, key, metrics = learner.models.imagine(
        state.experience, now, state.key, count, length
    )
    return dataclasses.replace(state, experience=experience, key=key), metrics


def fit(learner: Learner, state: LearnerState) -> tuple[LearnerState, FitReport]:
    """Line 2: on the log alone."""
    drawn = Groups(uniform(), 1, learner.offline, state.online)
    return _fit(learner, state, 1, drawn)


def refit(learner: Learner, state: LearnerState, epoch: int) -> tuple[LearnerState, FitReport]:
    """Line 13."""
    now = Moment("online", epoch, state.agent, state.online)
    return _fit(learner, state, epoch, learner.task.draws(now))


def _fit(learner, state, epoch, drawn):
    now = learner.moment(state, epoch)
    experience, key, report = learner.models.fit(state.experience, now, drawn, state.key)
    return dataclasses.replace(state, experience=experience, key=key), report
