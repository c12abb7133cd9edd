"""Settings of the online stage."""

from dataclasses import dataclass

from moore.ranges import Fraction, NonNegative, Positive
from moore.replay.priorities import RowScheme
from moore.replay.schemes import Scheme, parse_scheme


@dataclass(frozen=True)
class OnlineConfig:
    """Settings of the online stage, MOORe (lines 4 to 20 of Algorithm 1)."""

    epochs: NonNegative[int] = 100
    """T: number of online epochs."""
    steps_per_epoch: Positive[int] = 1000
    """S: environment steps in each epoch. An episode may go on into the next epoch."""
    refit_every: Positive[int] = 250
    """phi: environment steps between two refits of the models. `steps_per_epoch` must be a multiple
    of it."""
    rollout_batch: Positive[int] = 100_000
    """R: number of imagined rollouts that start after each refit."""
    retain_epochs: Positive[int] = 1
    """The buffer of imagined transitions (D_model) keeps the rollouts of this many newest
    epochs."""
    updates_per_step: Positive[int] = 20
    """N: gradient updates of the agent after each environment step."""
    update_every: Positive[int] = 1
    """Number of environment steps between two groups of updates. A group makes `updates_per_step`
    updates for each of these steps. `steps_per_epoch` must be a multiple of it."""
    scheme: str = "moore"
    """f(d, t): the scheme that decides how often logged and online data are drawn. One of moore,
    uniform, half_half, online_only, linear:FROM:TO:EPOCHS, auto and peak_shift:EPS, or a function
    of your own as module:function, or a file priorities.npy. moore:2 also sets alpha to 2."""
    alpha: Positive[float] = 1.0
    """alpha of Eq. 4: in epoch t the scheme moore gives logged data the priority 1 / (alpha t) and
    online data the priority 1. A larger alpha moves to online data sooner."""
    real_ratio: Fraction = 0.0
    """Share of each training batch that is drawn from real transitions, by the scheme; the rest is
    imagined. Algorithm 1 uses 0."""
    start_full: bool = False
    """Fill the buffer of imagined transitions before the first epoch with rollouts of the offline
    models; newer rollouts replace them one after the other. Off, the buffer starts with one batch
    of rollouts."""
    random_steps: NonNegative[int] = 0
    """Number of environment steps at the beginning with uniformly random actions and without any
    update. For algorithms that start from scratch."""
    frozen_steps: NonNegative[int] = 0
    """Number of environment steps at the beginning in which the policy acts and nothing is learned
    (the warm-up of WSRL)."""
    rehearsal_epochs: NonNegative[int] = 0
    """Number of epochs, as long as those of the offline stage, in which the agent of the offline
    stage learns in the refitted models from the policy that acts; trials within the dip budget then
    go towards the policy that comes out. 0: never. Works only with an algorithm that has an agent
    for each stage."""
    rehearse_every: Positive[int] = 5
    """Number of online epochs from one such time to the next. The first one is as soon as policies
    may be tried."""
    exploration_noise: Fraction = 0.0
    """Standard deviation of the noise with which the agent itself acts in every other episode, once
    so much is left of the dip budget that an episode more could be lost. In units in which actions
    lie between -1 and 1. 0: it never acts itself, only its frozen copies do, in trials."""
    penalty_coef: NonNegative[float] | None = None
    """lambda in the online stage. None uses the lambda of the offline stage."""
    max_bad_readings: Positive[int] = 10
    """End the run after this many bad readings in a row, which are values that are not finite. The
    system is then considered broken."""
    rollout_schedule: tuple[Positive[int], ...] | None = None
    """Let H grow linearly with the epoch, as MBPO does. Give four numbers: the first epoch and the
    last epoch of the growth, and the lengths before and after it. None uses `rollout_length`
    throughout."""

    @property
    def refits_per_epoch(self) -> int:
        """Number of refits of the models in an epoch."""
        return self.steps_per_epoch // self.refit_every

    @property
    def updates_per_group(self) -> int:
        """Number of gradient updates in a group, which are made in one call."""
        return self.updates_per_step * self.update_every

    def parsed_scheme(self) -> Scheme | RowScheme:
        """The scheme that the settings name.

        This imports `module:function`, or reads the array, of a scheme of the user's own.

        Raises:
            InputError: see `moore.replay.schemes.parse_scheme`.
        """
        return parse_scheme(self.scheme, self.alpha, steps_per_epoch=self.steps_per_epoch)
