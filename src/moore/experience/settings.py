"""The settings of a compiled rollout, besides its policy, its models and its starts."""

from dataclasses import dataclass
from typing import Literal

from moore.config import Config


@dataclass(frozen=True)
class RolloutSettings:
    """Settings of rollouts; hashable, so that runs which differ elsewhere share a compiled program.

    Attributes:
        rollout_length: H, number of steps.
        uncertainty: u of Eq. 2: "std" or "value"; "none" if it is not needed.
        discount: gamma.
        imagined_bound: distance from the log's mean, in its standard deviations, at which a rollout
            ends.
        imagined_range: share by which the range of the data is widened before observations are
            clipped to it; None: they are not clipped.
        one_member, member_noise: as in the configuration.
        trust_quantile: quantile of u over real transitions, above which a rollout ends; None: it
            never ends for this reason.
        rollout_chunk: number of rollouts computed at a time.
    """

    rollout_length: int = 5
    uncertainty: Literal["std", "value", "none"] = "std"
    discount: float = 0.99
    imagined_bound: float = float("inf")
    imagined_range: float | None = None
    one_member: bool = False
    member_noise: bool = True
    trust_quantile: float | None = None
    rollout_chunk: int = 10_000


def rollout_settings(
    config: Config, discount: float, count: int, length: int | None = None
) -> RolloutSettings:
    """The settings of a run for `count` rollouts, with the discount of its agent.

    `length`: H, by default the run's.
    """
    return RolloutSettings(
        rollout_length=config.rollout_length if length is None else length,
        uncertainty=config.uncertainty,
        discount=discount,
        imagined_bound=config.imagined_bound,
        imagined_range=config.imagined_range,
        one_member=config.one_member,
        member_noise=config.member_noise,
        trust_quantile=config.trust_quantile,
        rollout_chunk=min(config.rollout_chunk, count),
    )


def rollout_length(config: Config, epoch: int) -> int:
    """H of an online epoch."""
    schedule = config.online.rollout_schedule
    if schedule is None:
        return config.rollout_length
    first, last, short, long = schedule
    grown = short + (epoch - first) / (last - first) * (long - short)
    return int(min(max(grown, min(short, long)), max(short, long)))


def online_room(config: Config, length: int) -> int:
    """Number of rows of the online D_model, with rollouts of this length."""
    online = config.online
    return online.retain_epochs * online.refits_per_epoch * online.rollout_batch * length
