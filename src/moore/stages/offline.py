"""The offline stage: MOPO (Yu et al. 2020), line 2 of Algorithm 1."""

from collections.abc import Callable

import jax

from moore.dynamics.fit import FitReport
from moore.stages.learner import Learner, LearnerState

# (epoch, state, metrics); called after the fit with epoch 0, then after each epoch.
OnEpoch = Callable[[int, LearnerState, dict], None]


def offline_stage(
    learner: Learner,
    state: LearnerState,
    *,
    done: int | None = None,
    on_epoch: OnEpoch,
    on_pass: Callable | None = None,
) -> LearnerState:
    """Fits the ensemble, then trains the agent inside it.

    Args:
        learner: the operations.
        state: from `learner.init`, or from a checkpoint.
        done: epochs that are done; None: not even the fit is.
        on_epoch: evaluates, logs and saves.
        on_pass: told about the progress of the fit.
    """
    config = learner.config.offline
    if done is None:
        state, report = learner.fit(state, on_pass=on_pass)
        on_epoch(0, state, fit_metrics([report]))
        done = 0

    for epoch in range(done + 1, config.epochs + 1):
        # Without online data the share of the log is one, whatever the epoch of the schedule.
        state, imagined = learner.imagine(state, 1, config.rollout_batch)
        state, losses = learner.update(state, 1, config.updates_per_epoch, config.real_ratio)
        on_epoch(epoch, state, jax.device_get(imagined | losses))
    return state


def fit_metrics(reports: list[FitReport]) -> dict:
    """The last fit's errors, the steps of all, and which rule stopped each; nothing for no fit."""
    if not reports:
        return {}
    errors = reports[-1].holdout_mse
    return {
        "model/holdout_mse": sum(errors) / len(errors),
        "model/holdout_mse_members": list(errors),
        "model/fit_steps": sum(report.steps for report in reports),
        "model/fit_passes": sum(report.passes for report in reports),
        "model/fit_stopped_by": ",".join(report.stopped_by for report in reports),
    }
