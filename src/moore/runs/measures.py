"""Measurements of a run at the end of an epoch."""

import numpy as np

from moore.replay.draws import shift
from moore.runs.setup import Evaluator, Setup
from moore.stages import epoch_diagnostics
from moore.stages.learner import LearnerState


class Measures:
    """Evaluates the policies of one run, and says at which point of the run."""

    def __init__(self, setup: Setup, evaluator: Evaluator):
        self.setup, self.evaluator = setup, evaluator
        self.learner, self.config = setup.learner, setup.config

    def place(self, stage: str, epoch: int, offline_epochs: int) -> dict:
        """The first entries of a row of metrics: stage, epoch, and counts of steps and updates.

        `offline_epochs`: number of epochs that were made, which may be fewer than allowed.
        """
        offline, online = self.config.offline, self.config.online
        steps = epoch * online.steps_per_epoch if stage == "online" else 0
        learned_from = max(steps - max(online.random_steps, online.frozen_steps), 0)
        updates = offline_epochs * offline.updates_per_epoch
        updates += learned_from * online.updates_per_step
        return {"stage": stage, "epoch": epoch, "env_steps": steps, "updates": updates}

    def of_policy(self, state: LearnerState) -> dict:
        """Returns of the policy in the environments of evaluation, if any, and in the models."""
        evaluated = self._evaluated(state) if self.config.evaluation.episodes else {}
        return evaluated | epoch_diagnostics.imagined_episodes(self.learner, state)

    def of_clone(self, state: LearnerState) -> dict:
        """Return of the clone, before anything else was learned."""
        if not self.config.evaluation.episodes:
            return {}
        with self.learner.clock("evaluate"):
            clone = self.evaluator.deterministic(self.learner.policy(state))
        return {"clone/return": clone.mean_return}

    def of_acting(self, state: LearnerState, evaluated: dict) -> list[float]:
        """Returns of the acting policy before any online step.

        Within a dip budget it acts without noise, as it is evaluated; otherwise actions are
        sampled.
        """
        if not self.config.evaluation.episodes:
            return []
        if self.config.dip_budget:
            return list(evaluated["eval/returns"])
        with self.learner.clock("evaluate"):
            return self.evaluator.sampled(self.learner.policy(state)).returns

    def of_scheme(self, state: LearnerState, epoch: int) -> dict:
        """The online share that the scheme asks for at the end of the epoch, and its shift."""
        learner, new = self.learner, self.config.online.steps_per_epoch
        task, now = learner.task, learner.moment(state, epoch)
        if not learner.algorithm.experience.by_scheme:
            return {}
        return {
            "replay/online_share_expected": task.draws(now).online_share(),
            "replay/shift": shift(task.scheme, epoch, task.logged, state.online, new, task.units),
        }

    def random_return(self) -> float | None:
        """Mean return of uniformly random actions, known or measured; None if it is neither."""
        known = None if self.setup.reference is None else self.setup.reference.random
        if known is None and self.config.evaluation.episodes:
            known = self.evaluator.random().mean_return
        return known if known is None or np.isfinite(known) else None

    def _evaluated(self, state: LearnerState) -> dict:
        with self.learner.clock("evaluate"):
            episodes = self.evaluator.deterministic(self.learner.policy(state))
        mean = episodes.mean_return
        # The discounted return is what the algorithm maximises.
        discounted = float(np.mean(episodes.discounted))
        result = {"eval/return": mean, "eval/discounted_return": discounted}
        if self.setup.reference is not None:
            result["eval/score"] = self.setup.reference.score(mean)
        if state.gate is not None and self.config.evaluation.candidate:
            # The return of the newest policy shows whether the gate was right.
            with self.learner.clock("evaluate"):
                candidate = self.evaluator.deterministic(self.learner.newest_policy(state))
            result["eval/candidate_return"] = candidate.mean_return
        return result | {"eval/returns": episodes.returns, "eval/lengths": episodes.lengths}
