"""The offline stage: MOPO (Yu et al. 2020), line 2 of Algorithm 1."""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from moore.config.offline import OfflineConfig
from moore.experience.protocol import Metrics
from moore.stages.first_policy import begin_with_clone
from moore.stages.gatekeeping import pass_gate
from moore.stages.learner import Learner, LearnerState
from moore.stages.measured import fit_metrics, mean_metrics

# Takes (epoch, state, metrics); called with epoch 0 after the fit, then after each epoch.
OnEpoch = Callable[[int, LearnerState, dict], None]


def offline_stage(
    learner: Learner,
    state: LearnerState,
    *,
    done: int | None = None,
    rows: Sequence[Mapping] = (),
    on_epoch: OnEpoch,
    on_pass: Callable | None = None,
) -> LearnerState:
    """Fits the ensemble, clones the log if the configuration asks for it, and trains the agent.

    It trains for all epochs, or until nothing is gained: the values settle, or the gate lets no
    new policy act.

    Args:
        learner: the operations of Algorithm 1.
        state: state from `learner.init` or from a checkpoint.
        done: number of epochs that are done; None: the fit is not done either.
        rows: metrics of these epochs, in the user's units.
        on_epoch: function that evaluates, logs and saves.
        on_pass: function that is told about the progress of the fit.
    """
    config = learner.config.offline
    if done is None:
        state, begun = learner.start(state, on_pass=on_pass)
        fits, told = [] if begun.report is None else [begun.report], begun.metrics
        if learner.config.clone:
            state, of_clone = begin_with_clone(learner, state)
            told = {**told, **of_clone}
        on_epoch(0, state, fit_metrics(fits) | {name: float(x) for name, x in told.items()})
        done = 0

    rows = list(rows)
    for epoch in range(done + 1, config.epochs + 1):
        if why_it_ends(rows, config) is not None:
            break
        state, learned = learn_in_models(learner, state, epoch)
        state, decision = pass_gate(learner, state, epoch)
        found = learned[0] if config.rounds == 1 else mean_metrics(learned)
        metrics = learner.reported(jax.device_get(found | decision))
        rows.append(metrics)
        on_epoch(epoch, state, metrics)
    return state


def learn_in_models(
    learner: Learner, state: LearnerState, epoch: int
) -> tuple[LearnerState, list[Metrics]]:
    """The updates of one epoch, and the metrics of each of its rounds of rollouts."""
    config = learner.config.offline
    state, learned = learner.summarise_data(state), []
    for _ in range(config.rounds):
        state, fresh = learner.refresh(state, epoch)
        state, losses = learner.update(state, epoch, config.updates_per_epoch // config.rounds)
        learned.append(fresh.metrics | losses)
    return state, learned


def why_it_ends(rows: Sequence[Mapping], config: OfflineConfig) -> str | None:
    """Why no epoch follows those with these metrics; None: the next one does, if there is any."""

    def all_of(name: str) -> list[float]:
        return [np.nan if (value := row.get(name)) is None else float(value) for row in rows]

    if stands_still(all_of("losses/q_target"), config.patience, config.tolerance):
        return "the critics' values have settled"
    if gains_nothing(all_of("gate/accepted"), config.refusals):
        return "no new policy was accepted"
    return None


def stands_still(values: Sequence[float], patience: int | None, tolerance: float) -> bool:
    """Whether the last `patience` values lie in a narrow band.

    Comparing two means would not do, because the means before and after a turning point agree.
    Values of 0 come from critics that do not learn yet.

    Args:
        values: mean targets of the critics, one for each epoch.
        patience: number of values; None: they never count as settled.
        tolerance: half of the band's width, relative to the values' mean.
    """
    if patience is None or len(values) < patience:
        return False
    last = np.asarray(values[-patience:])
    return bool(last.any() and np.ptp(last) <= 2 * tolerance * abs(last.mean()))


def gains_nothing(accepted: Sequence[float], refusals: int | None) -> bool:
    """Whether the gate has let no new policy act in the last epochs.

    Args:
        accepted: 1 for each epoch after which it did, otherwise 0; NaN without a gate.
        refusals: number of epochs; None: they never count.
    """
    if refusals is None or len(accepted) < refusals:
        return False
    return all(value == 0.0 for value in accepted[-refusals:])
