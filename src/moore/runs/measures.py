"""What a run measures at the end of an epoch beside learning."""

import numpy as np

from moore.replay.draws import shift
from moore.runs.setup import Evaluator, Setup
from moore.stages import epoch_diagnostics
from moore.stages.learner import LearnerState


class Measures:
    """Evaluations of the policies of one run, and where in the run they were made."""

    def __init__(self, setup: Setup, evaluator: Evaluator):
        self.setup, self.evaluator = setup, evaluator
        self.learner, self.config = setup.learner, setup.config

    def place(self, stage: str, epoch: int, offline_epochs: int) -> dict:
        """The beginning of a row of metrics: where in the run it is.

        `offline_epochs`: those that were made, which may be fewer than there might have been.
        """
        offline, online = self.config.offline, self.config.online
        steps = epoch * online.steps_per_epoch if stage == "online" else 0
        learned_from = max(steps - max(online.random_steps, online.frozen_steps), 0)
        updates = offline_epochs * offline.updates_per_epoch
        updates += learned_from * online.updates_per_step
        return {"stage": stage, "epoch": epoch, "env_steps": steps, "updates": updates}

    def of_policy(self, state: LearnerState) -> dict:
        """What the policy earns in environments of its own, if there are any, and in the models."""
        evaluated = self._evaluated(state) if self.config.evaluation.episodes else {}
        return evaluated | epoch_diagnostics.imagined_episodes(self.learner, state)

    def of_clone(self, state: LearnerState) -> dict:
        """What the clone earns, before anything else was learned."""
        if not self.config.evaluation.episodes:
            return {}
        with self.learner.clock("evaluate"):
            clone = self.evaluator.deterministic(self.learner.policy(state))
        return {"clone/return": clone.mean_return}

    def of_acting(self, state: LearnerState, evaluated: dict) -> list[float]:
        """Returns of the policy as it acts, before any online step.

        Within a dip budget it acts as it is evaluated, without noise; else it is sampled.
        """
        if not self.config.evaluation.episodes:
            return []
        if self.config.dip_budget:
            return list(evaluated["eval/returns"])
        with self.learner.clock("evaluate"):
            return self.evaluator.sampled(self.learner.policy(state)).returns

    def of_scheme(self, state: LearnerState, epoch: int) -> dict:
        """The share of online data that the scheme asks for at the end of the epoch, its shift."""
        learner, new = self.learner, self.config.online.steps_per_epoch
        task, now = learner.task, learner.moment(state, epoch)
        if not learner.algorithm.experience.by_scheme:
            return {}
        return {
            "replay/online_share_expected": task.draws(now).online_share(),
            "replay/shift": shift(task.scheme, epoch, task.log, state.online, new, task.units),
        }

    def random_return(self) -> float | None:
        """Mean return of uniformly random actions, known or measured; None where neither is so."""
        known = None if self.setup.reference is None else self.setup.reference.random
        if known is None and self.config.evaluation.episodes:
            known = self.evaluator.random().mean_return
        return known if known is None or np.isfinite(known) else None

    def _evaluated(self, state: LearnerState) -> dict:
        with self.learner.clock("evaluate"):
            episodes = self.evaluator.deterministic(self.learner.policy(state))
        mean = episodes.mean_return
        # What the algorithm maximises, and so all that it can be expected to keep.
        discounted = float(np.mean(episodes.discounted))
        result = {"eval/return": mean, "eval/discounted_return": discounted}
        if self.setup.reference is not None:
            result["eval/score"] = self.setup.reference.score(mean)
        if state.gate is not None and self.config.evaluation.candidate:
            # Was the gate right? What the newest policy would have earned.
            with self.learner.clock("evaluate"):
                candidate = self.evaluator.deterministic(self.learner.newest_policy(state))
            result["eval/candidate_return"] = candidate.mean_return
        return result | {"eval/returns": episodes.returns, "eval/lengths": episodes.lengths}
