"""Settings of the gate."""

from dataclasses import dataclass

from moore.ranges import AnySign, Positive


@dataclass(frozen=True)
class GateConfig:
    """Settings of the gate, which lets a new policy act only if the models predict no drop.

    It decides after every offline epoch, so the policy that is handed over has passed it too, and
    online after every refit of the models.
    """

    enabled: bool = False
    """Use the gate. Off, the newest policy always acts (line 10 of Algorithm 1)."""
    horizon: Positive[int] | None = None
    """Number of imagined steps over which the new policy is compared with the acting one, with
    discounted returns and from states that the scheme draws. None compares undiscounted returns
    of whole episodes, from the initial states of the logged episodes."""
    rollouts: Positive[int] = 50
    """Number of imagined rollouts of each policy. Both policies start from the same states and use
    the same random numbers."""
    penalised: bool = True
    """Compare the returns after the penalty lambda u is subtracted, as the theory does
    (docs/theory.md). Turn it off for whole episodes if the penalties add up to so much that ending
    an episode early looks better."""
    confidence: AnySign[float] = 0.0
    """The new policy must be better by at least this many standard errors of the difference.
    Negative values tolerate a drop."""
    earned: bool = False
    """Online, also require that the models predict at least the mean return that the acting policy
    has really earned in its episodes. No new policy passes before an episode has ended. Works only
    with whole episodes, that is, without `horizon`."""
    calibrated: bool = False
    """Offline, ask for more than a better prediction. While the clone acts, nothing passes if the
    models are wrong about it by more than 15% of what its part of the log has earned; otherwise
    they must promise a gain of more than a fifth of that. A later policy must promise a twentieth
    more than the acting one. Works only with whole episodes, that is, without `horizon`."""
