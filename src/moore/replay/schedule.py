"""How f(d, t) = 1 / (alpha t) changes the sampling distribution (Eq. 3 and 4), in numbers.

This module computes the online share, how far the distribution moves from epoch to epoch (total
variation), and which alpha keeps that small. The schemes are in `moore.replay.schemes`.
"""

import math
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from moore.errors import InputError


@runtime_checkable
class Shares(Protocol):
    """Anything that has an online share, such as a scheme."""

    def online_share(self, t: int, n_on: int, n_off: int) -> float:
        """Probability that a draw is online, at epoch t with n_on online and n_off logged rows."""


def offline_priority(t: int, alpha: float) -> float:
    """f(d, t) = 1 / (alpha t), Eq. 4: hyperbolic in the online epoch t, infinite at t = 0."""
    if not 0 < alpha < math.inf:
        raise InputError(f"alpha is {alpha}; it must be positive and finite (Eq. 4).")
    return math.inf if t == 0 else 1.0 / (alpha * t)


def sampling_tv(share0: float, n0: int, share1: float, n1: int) -> float:
    """Total variation between the sampling distributions over items at two moments.

    First the online share is `share0` with `n0` online items, then it is `share1` with `n1 >= n0`
    items, which include the first ones. Inside each group sampling is uniform. The result is exact:
    half of the l1 distance over offline, old online and new online items.
    """
    old, new = (n0 / n1, 1.0 - n0 / n1) if n1 else (0.0, 0.0)
    return 0.5 * (abs(share1 - share0) + abs(share0 - share1 * old) + share1 * new)


def schedule(
    scheme: Shares, *, n_off: int, steps_per_epoch: int, epochs: int
) -> Float[np.ndarray, "epochs_plus_1 4"]:
    """The columns t, n_on, online share, and shift (total variation since the epoch before).

    The values are those at the ends of epochs 0..T, with n_on = t * steps_per_epoch.
    """
    rows = np.zeros((epochs + 1, 4))
    for t in range(1, epochs + 1):
        n_on = t * steps_per_epoch
        share = scheme.online_share(t, n_on, n_off)
        shift = sampling_tv(rows[t - 1, 2], int(rows[t - 1, 1]), share, n_on)
        rows[t] = t, n_on, share, shift
    return rows


def crossover_epoch(n_off: int, steps_per_epoch: int, alpha: float) -> float:
    """c = sqrt(n_off / (alpha S)), the epoch at which `moore` draws half of its data online.

    The online share at the end of epoch t is t^2 / (t^2 + c^2), so the log's size, S and alpha
    matter only through c.
    """
    offline_priority(1, alpha)
    return math.sqrt(n_off / (alpha * steps_per_epoch))


# max over x of the derivative of x^2 / (1 + x^2), reached at x = 1 / sqrt(3).
_STEEPEST = 3.0 * math.sqrt(3.0) / 8.0


def peak_tv_bound(n_off: int, steps_per_epoch: int, alpha: float) -> float:
    """(3 sqrt 3 / 8) / c; no epoch of `moore` shifts the sampling distribution by more."""
    return _STEEPEST / crossover_epoch(n_off, steps_per_epoch, alpha)


def alpha_for_peak_tv(peak: float, n_off: int, steps_per_epoch: int) -> float:
    """The largest alpha for which the shift per epoch is guaranteed not to exceed `peak`."""
    if not 0.0 < peak <= 1.0:
        raise InputError(f"the peak shift is {peak}; it must lie in (0, 1].")
    return n_off / steps_per_epoch * (peak / _STEEPEST) ** 2
