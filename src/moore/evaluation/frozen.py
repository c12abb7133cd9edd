"""What a policy that never changes would show: a line to hold every method against.

Its evaluations equal each other, so that it has no dip, no area and no gain. What it earns in the
live system is a matter of luck.
"""

from collections.abc import Sequence

import numpy as np

from moore.evaluation.scores import ReferenceScores
from moore.evaluation.transfer import Returns, dip_share_by_luck, transfer_metrics


def frozen_metrics(
    level: float,
    *,
    epochs: Sequence[int],
    acted: Returns = (),
    random_return: float | None = None,
    reference: ReferenceScores | None = None,
    log_return: float | None = None,
    yardstick: float | None = None,
) -> dict[str, float | None]:
    """Metrics with the names of `transfer_metrics`, for a policy that acts unchanged.

    Args:
        level: its mean evaluation return.
        epochs: number of live episodes of each online epoch.
        acted: returns of episodes that it acted before the first online step. Without any, nothing
            is known of the live system.
        random_return, reference, log_return, yardstick: as for `transfer_metrics`.

    Returns:
        The metrics. The acting dip is the one that chance alone gives, the worst episode is that
        of `acted`, and the loss is the expected one. `epochs_to_threshold` is None, because
        a curve that stands still reaches its own best at once.
    """
    known = np.asarray(acted, np.float64)
    if known.size:
        mean = float(known.mean())
        expected = [[mean] * count for count in epochs]
    else:
        mean, expected, log_return = None, [], None
    metrics = transfer_metrics(
        level,
        [level] * len(epochs),
        random_return=random_return,
        reference=reference,
        behaviour_offline=mean,
        behaviour_returns=expected,
        log_return=log_return,
        yardstick=yardstick,
    )
    if random_return is None and reference is not None:
        random_return = reference.random
    luck = dip_share_by_luck(known, epochs, random_return)
    dip = None
    if luck is not None:
        assert mean is not None and random_return is not None  # without them there is no share
        dip = luck * abs(mean - random_return)
    by_yardstick = None if dip is None or yardstick is None else dip / yardstick
    worst = float(known.min()) if known.size else None
    metrics |= {
        "behaviour_dip": dip,
        "behaviour_dip_share": luck,
        "behaviour_dip_by_yardstick": by_yardstick,
        "behaviour_worst_episode": worst,
        "epochs_to_threshold": None,
    }
    if reference is not None:
        percent = 100.0 / (reference.expert - reference.random)
        metrics["behaviour_dip_score"] = None if dip is None else percent * dip
        metrics["behaviour_worst_episode_score"] = None if worst is None else reference.score(worst)
    return metrics
