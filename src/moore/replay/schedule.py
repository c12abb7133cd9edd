"""What f(d, t) = 1 / (alpha t) does to the sampling distribution (Eq. 3 and 4), in numbers.

The online share, how far the distribution moves from epoch to epoch (total variation), and what
alpha keeps that small. The schemes themselves are in `moore.replay.schemes`.
"""

import math
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from moore.errors import InputError


@runtime_checkable
class Shares(Protocol):
    """Anything that says how much is drawn online: a scheme."""

    def online_share(self, t: int, n_on: int, n_off: int) -> float:
        """At epoch t, with so many transitions of each group."""


def offline_priority(t: int, alpha: float) -> float:
    """f(d, t) = 1 / (alpha t), Eq. 4: hyperbolic in the online epoch t, infinite at t = 0."""
    if not 0 < alpha < math.inf:
        raise InputError(f"alpha is {alpha}; it must be positive and finite (Eq. 4).")
    return math.inf if t == 0 else 1.0 / (alpha * t)


def sampling_tv(share0: float, n0: int, share1: float, n1: int) -> float:
    """Total variation between the sampling distributions over items at two moments.

    The online share goes from `share0` over `n0` online items to `share1` over `n1 >= n0` items
    (the old ones kept); inside each group sampling is uniform. This is the exact form:
    half of the l1 distance over offline, old online and new online items.
    """
    old, new = (n0 / n1, 1.0 - n0 / n1) if n1 else (0.0, 0.0)
    return 0.5 * (abs(share1 - share0) + abs(share0 - share1 * old) + share1 * new)


def schedule(
    scheme: Shares, *, n_off: int, steps_per_epoch: int, epochs: int
) -> Float[np.ndarray, "epochs_plus_1 4"]:
    """Columns t, n_on, online share, and shift (total variation since the epoch before).

    Values are those at the ends of epochs 0..T, n_on = t * steps_per_epoch.
    """
    rows = np.zeros((epochs + 1, 4))
    for t in range(1, epochs + 1):
        n_on = t * steps_per_epoch
        share = scheme.online_share(t, n_on, n_off)
        shift = sampling_tv(rows[t - 1, 2], int(rows[t - 1, 1]), share, n_on)
        rows[t] = t, n_on, share, shift
    return rows


def crossover_epoch(n_off: int, steps_per_epoch: int, alpha: float) -> float:
    """c = sqrt(n_off / (alpha S)): the epoch at which `moore` draws half of its data online.

    The log's size, S and alpha act through c alone: the share at the end of epoch t is
    t^2 / (t^2 + c^2).
    """
    offline_priority(1, alpha)
    return math.sqrt(n_off / (alpha * steps_per_epoch))


# max over x of the derivative of x^2 / (1 + x^2), reached at x = 1 / sqrt(3).
_STEEPEST = 3.0 * math.sqrt(3.0) / 8.0


def peak_tv_bound(n_off: int, steps_per_epoch: int, alpha: float) -> float:
    """No epoch of `moore` shifts the sampling distribution by more than (3 sqrt 3 / 8) / c."""
    return _STEEPEST / crossover_epoch(n_off, steps_per_epoch, alpha)


def alpha_for_peak_tv(peak: float, n_off: int, steps_per_epoch: int) -> float:
    """The largest alpha whose shift per epoch is guaranteed to stay below `peak`."""
    if not 0.0 < peak <= 1.0:
        raise InputError(f"the peak shift is {peak}; it must lie in (0, 1].")
    return n_off / steps_per_epoch * (peak / _STEEPEST) ** 2
