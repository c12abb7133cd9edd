"""How much of each part a run does, at most: a stage may end sooner, and so may a fit."""

import dataclasses
from collections.abc import Mapping

from moore.agents.bc import BCConfig
from moore.config import Config
from moore.experience.settings import rollout_length
from moore.runs.setup import Setup
from moore.stages.learner import Learner

Work = Mapping[str, int]


def offline_work(learner: Learner) -> Work:
    """For each part of the offline stage, how many of its units it does; `Miniature` lists them."""
    config, epochs = learner.config, learner.config.offline.epochs
    work = _learned_in_models(learner, epochs)
    if config.clone:
        work["clone"] = BCConfig().updates
    if learner.models is not None:
        work["fit"] = config.model.max_fit_steps
        work["diagnose"] = epochs
        work["gate"] = epochs * config.gate.rollouts
    return work


def with_fewest_epochs(learner: Learner) -> Learner:
    """A learner whose offline stage has as few epochs as that of the given one may end after."""
    offline = learner.config.offline
    stops = [count for count in (offline.patience, offline.refusals) if count is not None]
    fewest = dataclasses.replace(offline, epochs=min([offline.epochs, *stops]))
    return learner.changed(config=dataclasses.replace(learner.config, offline=fewest))


def online_work(learner: Learner, epochs: int) -> Work:
    """The same for this many online epochs, without the steps of the system itself."""
    config, online = learner.config, learner.config.online
    steps = epochs * online.steps_per_epoch
    refits = epochs * online.refits_per_epoch
    work: dict[str, int] = {"act": steps, "observe": steps}
    work["update"] = steps * online.updates_per_step
    if learner.models is not None:
        lengths = sum(rollout_length(config, epoch + 1) for epoch in range(epochs))
        each = online.refits_per_epoch * online.rollout_batch
        work["refit"] = refits * config.model.max_refit_steps
        work["imagine"] = lengths * each
        work["gate"] = refits * config.gate.rollouts
        work["diagnose"] = epochs
    return work


def rehearsal_work(learner: Learner, epochs: int) -> Work:
    """The work of the rehearsals in so many online epochs, in units of the offline stage."""
    config, online = learner.config, learner.config.online
    if not (config.dip_budget and online.rehearsal_epochs):
        return {}
    times = -(-epochs // online.rehearse_every)
    work = _learned_in_models(learner, times * online.rehearsal_epochs)
    return work | {"gate": 2 * times * config.gate.rollouts}


def _learned_in_models(learner: Learner, epochs: int) -> dict[str, int]:
    """The updates of so many offline epochs, and the imagined steps if there are models."""
    config, offline = learner.config, learner.config.offline
    work = {"update": epochs * offline.updates_per_epoch}
    if learner.models is not None:
        rounds = epochs * offline.rounds
        work["imagine"] = rounds * offline.rollout_batch * config.rollout_length
    return work


def evaluations(setup: Setup, *, offline: bool, online: bool) -> int:
    """Number of times that the episodes of evaluation are run."""
    config = setup.config
    if not config.evaluation.episodes:
        return 0
    twice = setup.learner.gated and config.evaluation.candidate
    epochs = offline * config.offline.epochs + online * (config.online.epochs + 1)
    return epochs * (1 + twice) + (offline and config.clone) + (setup.reference is None)


def ends_sooner(config: Config, *, offline: bool, has_models: bool) -> list[str]:
    """Sentences that say which part may do less than this."""
    found = []
    if offline and has_models:
        found.append("The fit of the models ends once their errors stand still.")
    if offline and (config.offline.patience or config.offline.refusals):
        found.append("The offline stage ends once it gains nothing more.")
    if offline and config.clone:
        found.append("The clone is fitted until it gets no better.")
    if config.evaluation.episodes:
        found.append("Episodes of evaluation may end before their limit.")
    return found
