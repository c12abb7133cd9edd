"""How much of the log is drawn at epoch t: f(d, t) and what follows from it (Eq. 3 and 4).

Every online transition has priority 1, every offline one has priority f(d, t). With two priority
values, proportional sampling (Schaul et al. 2016, exponent 1, no importance weights) is exactly:
choose the group online with probability n_on / (n_on + f n_off), then uniformly within the group.
So a scheme is one number a epoch, and no sum tree is needed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from moore.errors import InputError


def offline_priority(t: int, alpha: float) -> float:
    """f(d, t) = 1 / (alpha t), Eq. 4: hyperbolic in the online epoch t, infinite at t = 0."""
    if not 0 < alpha < math.inf:
        raise InputError(f"alpha is {alpha}; it must be positive and finite (Eq. 4).")
    return math.inf if t == 0 else 1.0 / (alpha * t)


@dataclass(frozen=True)
class Scheme:
    """A sampling scheme: the priority of the log at epoch t, from the sizes of both groups.

    Attributes:
        name: as written on the command line, without the parameter.
        priority: `(t, n_on, n_off) -> f`, the priority of an offline transition when an online one
            has priority 1; may be infinite (log only) or 0 (online only).
        parameters: what the scheme was made with, for the records.
    """

    name: str
    priority: Callable[[int, int, int], float]
    parameters: dict[str, float] = field(default_factory=dict)

    def online_share(self, t: int, n_on: int, n_off: int) -> float:
        """Probability that a drawn transition is an online one.

        Without online data every scheme draws from the log (share 0); without a log, from the
        online data (share 1).
        """
        if n_on == 0:
            return 0.0
        if n_off == 0:
            return 1.0
        f = self.priority(t, n_on, n_off)
        return 0.0 if math.isinf(f) else n_on / (n_on + f * n_off)

    def __str__(self) -> str:
        values = ",".join(f"{value:g}" for value in self.parameters.values())
        return f"{self.name}:{values}" if values else self.name


def moore(alpha: float = 1.0) -> Scheme:
    """The paper's scheme, Eq. 4: the log's priority decays as 1 / (alpha t)."""
    offline_priority(1, alpha)
    return Scheme("moore", lambda t, n_on, n_off: offline_priority(t, alpha), {"alpha": alpha})


def uniform() -> Scheme:
    """Every transition alike (section 4.2)."""
    return Scheme("uniform", lambda t, n_on, n_off: 1.0)


def half_half() -> Scheme:
    """Half of every draw from each group, as soon as there are online data (section 4.2)."""
    return Scheme("half_half", lambda t, n_on, n_off: n_on / n_off)


def online_only() -> Scheme:
    """Only online data, as soon as there are any (section 4.2)."""
    return Scheme("online_only", lambda t, n_on, n_off: 0.0)


SCHEMES: dict[str, Callable[..., Scheme]] = {
    "moore": moore,
    "uniform": uniform,
    "half_half": half_half,
    "online_only": online_only,
}


def parse_scheme(text: str, alpha: float = 1.0) -> Scheme:
    """A scheme from its name: `moore`, `moore:2`, `uniform`, `half_half`, `online_only`.

    Args:
        text: the name, with a number after a colon for `moore`.
        alpha: used by a plain `moore`.

    Raises:
        InputError: unknown name, a parameter where none is taken, or one that is not a number.
    """
    name, _, parameter = text.partition(":")
    if name not in SCHEMES:
        raise InputError(f"unknown scheme '{name}'; the known ones are {', '.join(SCHEMES)}.")
    if name != "moore":
        if parameter:
            raise InputError(f"scheme '{name}' takes no parameter; '{text}' gives it one.")
        return SCHEMES[name]()
    try:
        return moore(float(parameter) if parameter else alpha)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"'{text}': alpha must be a number, as in moore:0.5.") from None


def sampling_tv(share0: float, n0: int, share1: float, n1: int) -> float:
    """Total variation between the sampling distributions over items at two moments.

    The online share goes from `share0` over `n0` online items to `share1` over `n1 >= n0` items
    (the old ones kept); inside each group sampling is uniform. This is the exact form:
    half of the l1 distance over offline, old online and new online items.
    """
    old, new = (n0 / n1, 1.0 - n0 / n1) if n1 else (0.0, 0.0)
    return 0.5 * (abs(share1 - share0) + abs(share0 - share1 * old) + share1 * new)


def schedule(
    scheme: Scheme, *, n_off: int, steps_per_epoch: int, epochs: int
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
