"""What a compiled rollout depends on, besides its policy, its models and its starts."""

from dataclasses import dataclass
from typing import Literal

from moore.config import Config


@dataclass(frozen=True)
class RolloutSettings:
    """Hashable, so that runs which differ elsewhere share one compiled program.

    Attributes:
        rollout_length: H, steps.
        uncertainty: u of Eq. 2: "std" or "value"; "none" where nobody asks for it.
        discount: gamma.
        imagined_bound: standard deviations of the log beyond which a rollout ends.
        imagined_range: widening of the range that observations are cut to; None: they are not.
        one_member, member_noise: as in the configuration.
        trust_quantile: of u over real transitions, above which a rollout ends; None: nowhere.
        rollout_chunk: rollouts computed at a time.
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
    """Those of a run whose agent has this discount, for `count` rollouts.

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
