"""Sampling schemes: objects that say how much of the log is drawn at epoch t.

Every online transition has priority 1, every offline one has priority f(d, t). With two priority
values, proportional sampling (Schaul et al. 2016, exponent 1, no importance weights) is exactly:
choose the group online with probability n_on / (n_on + f n_off), then uniformly within the group.
So a scheme gives one number an epoch, and needs no sum tree. Priorities that differ from row to row
are in `moore.replay.priorities`.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from moore.errors import InputError, unknown
from moore.imports import is_function_name
from moore.numbers import in_full
from moore.replay.priorities import RowScheme, load_scheme
from moore.replay.schedule import alpha_for_peak_tv, offline_priority


@dataclass(frozen=True)
class Scheme:
    """A scheme that sets the log's priority at epoch t from the sizes of the log and D_on.

    Attributes:
        name: as written on the command line, without the parameters.
        priority: `(t, n_on, n_off) -> f`, the priority of an offline transition when an online one
            has priority 1; may be infinite (log only) or 0 (online only).
        parameters: the parameters of the scheme, in the order of the command line.
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
        return ":".join([self.name, *map(in_full, self.parameters.values())])


def moore(alpha: float = 1.0) -> Scheme:
    """The paper's scheme (Eq. 4), in which the log's priority decays as 1 / (alpha t)."""
    offline_priority(1, alpha)
    return Scheme("moore", lambda t, n_on, n_off: offline_priority(t, alpha), {"alpha": alpha})


def uniform() -> Scheme:
    """Draws every transition with the same probability (section 4.2)."""
    return Scheme("uniform", lambda t, n_on, n_off: 1.0)


def half_half() -> Scheme:
    """Draws half from the log and half online, as soon as there are online data (section 4.2)."""
    return Scheme("half_half", lambda t, n_on, n_off: n_on / n_off)


def online_only() -> Scheme:
    """Draws only online data, as soon as there are any (section 4.2)."""
    return Scheme("online_only", lambda t, n_on, n_off: 0.0)


def linear(start: float, end: float, epochs: int) -> Scheme:
    """The online share changes linearly from `start` at epoch 1 to `end` at epoch `epochs`.

    Raises:
        InputError: a share lies outside [0, 1], or there are fewer than 2 epochs.
    """
    for share in (start, end):
        if not 0.0 <= share <= 1.0:
            raise InputError(f"linear: the online share {share} must lie between 0 and 1.")
    if epochs < 2:
        raise InputError(f"linear: {epochs} epochs; a line needs at least 2.")

    def priority(t: int, n_on: int, n_off: int) -> float:
        way = min(max((t - 1) / (epochs - 1), 0.0), 1.0)
        share = start + way * (end - start)
        return math.inf if share == 0.0 else n_on * (1.0 - share) / (share * n_off)

    return Scheme("linear", priority, {"start": start, "end": end, "epochs": epochs})


def auto() -> Scheme:
    """The online share is n_off / (n_off + n_on), so the smaller group is drawn more often."""
    return Scheme("auto", lambda t, n_on, n_off: (n_on / n_off) ** 2)


def peak_shift(eps: float, steps_per_epoch: int) -> Scheme:
    """`moore` with the largest alpha that shifts the draws by no more than `eps` an epoch.

    The shift is the total variation between the sampling distributions of consecutive epochs. The
    effect of the paper's alpha depends on the size of the log, that of eps does not: alpha is
    (n_off / S) (eps / 0.65)^2, see `alpha_for_peak_tv`.

    Args:
        eps: largest shift, in (0, 1].
        steps_per_epoch: S, online steps an epoch.
    """
    alpha_for_peak_tv(eps, 1, steps_per_epoch)

    def priority(t: int, n_on: int, n_off: int) -> float:
        return offline_priority(t, alpha_for_peak_tv(eps, n_off, steps_per_epoch))

    return Scheme("peak_shift", priority, {"eps": eps})


@dataclass(frozen=True)
class _Known:
    """How a scheme is written on the command line.

    Attributes:
        usage: the name with its parameters.
        make: makes the scheme from the given numbers and the settings of the run.
        least, most: how many numbers may be given.
    """

    usage: str
    make: Callable[[list[float], "_Settings"], Scheme]
    least: int = 0
    most: int = 0


@dataclass(frozen=True)
class _Settings:
    alpha: float
    steps_per_epoch: int


def _whole(number: float) -> int:
    if not number.is_integer():
        raise InputError(f"linear: {number:g} epochs; it must be a whole number.")
    return int(number)


SCHEMES: dict[str, _Known] = {
    "moore": _Known("moore[:ALPHA]", lambda v, s: moore(*(v or [s.alpha])), 0, 1),
    "uniform": _Known("uniform", lambda v, s: uniform()),
    "half_half": _Known("half_half", lambda v, s: half_half()),
    "online_only": _Known("online_only", lambda v, s: online_only()),
    "linear": _Known("linear:FROM:TO:EPOCHS", lambda v, s: linear(v[0], v[1], _whole(v[2])), 3, 3),
    "auto": _Known("auto", lambda v, s: auto()),
    "peak_shift": _Known("peak_shift:EPS", lambda v, s: peak_shift(v[0], s.steps_per_epoch), 1, 1),
}


def check_scheme(text: str, alpha: float = 1.0, *, steps_per_epoch: int = 1000) -> None:
    """Checks the name of a scheme without importing a module or opening a file.

    So it is safe to read another person's configuration. Only `parse_scheme`, which is called when
    a run is prepared, imports a user's function or reads an array.

    Raises:
        InputError: the name is unknown, or the scheme does not take these numbers.
    """
    if not is_own(text):
        _known_scheme(text, alpha, steps_per_epoch)


def is_own(text: str) -> bool:
    """Whether a name is a user's own scheme: `module:function` or `path.npy`, none of SCHEMES."""
    known = text.partition(":")[0] in SCHEMES
    return not known and (text.endswith(".npy") or is_function_name(text))


def parse_scheme(
    text: str, alpha: float = 1.0, *, steps_per_epoch: int = 1000
) -> Scheme | RowScheme:
    """A scheme from its name, with its numbers after colons, such as `linear:0.1:0.9:20`.

    Args:
        text: one of SCHEMES, or a user's own (see `moore.replay.priorities.load_scheme`).
        alpha: used by `moore` without a number.
        steps_per_epoch: S, used by `peak_shift`.

    Raises:
        InputError: the name is unknown, or the scheme does not take these numbers.
    """
    return load_scheme(text) if is_own(text) else _known_scheme(text, alpha, steps_per_epoch)


@functools.lru_cache(maxsize=256)
def _known_scheme(text: str, alpha: float, steps_per_epoch: int) -> Scheme:
    """One of SCHEMES. The result is cached, so checking a configuration and its run share it."""
    name, *words = text.split(":")
    if name not in SCHEMES:
        usages = [scheme.usage for scheme in SCHEMES.values()]
        raise unknown("scheme", name, usages, ", module:function and path.npy")
    known = SCHEMES[name]
    if not known.least <= len(words) <= known.most:
        takes = "takes no parameter" if known.most == 0 else f"is written {known.usage}"
        raise InputError(f"scheme '{name}' {takes}; '{text}' was given.")
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise InputError(f"'{text}': {known.usage} takes numbers.") from None
    return known.make(values, _Settings(alpha, steps_per_epoch))
