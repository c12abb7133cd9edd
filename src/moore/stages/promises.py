"""How much of what the models promise comes true: it decides how long the steps of learning may be.

The level that models give to a policy is no measure of that. They call every policy too good that
was improved in them, and still tell better from worse; or they let a good policy fall where it does
not, and what is then improved was not broken. What counts is whether the gains come that they
promise of new policies, and trials tell that. Before the first trial, their error about a policy
that was *not* improved in them stands in.

As in a trust-region method (Conn, Gould, Toint 2000, Trust-Region Methods, section 6.1), where the
ratio of the gain that came to the gain that was predicted decides on the size of a step. Here the
ratio is the slope of a regression over the last trials, because returns are noisy.
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# What is known before the first trial counts as much as a promise of two standard errors.
_PRIOR = 4.0
# No single trial counts for more than that, and only the last ones do: models and policies change.
_MOST, _REMEMBERED = 4.0, 8
# Standard errors by which a policy must have lost before the loss tells more than its promise does.
_LUCK = 2.0


class Promise(NamedTuple):
    """What the models say of a policy that was offered.

    Attributes:
        gain: how much more it earns an episode than the incumbent of that time.
        against: number of that incumbent.
    """

    gain: float
    against: int


@dataclass
class Promises:
    """The promises for policies that wait or are tried, and how those for earlier ones came out.

    Attributes:
        doubt_before: how wrong the models were about a policy that was not improved in them; 1 is
            as much as they may err and be believed. Infinite: unknown.
        learned: whether the policy that was handed over was learned in the models, so that their
            error about it says nothing of that.
        given: the promise for each policy that was offered and has no verdict yet, by number.
        kept: for each of the last verdicts, its weight, and how much of this weight came: none of
            it if nothing of the promise came true, and less than that if there was a loss.
    """

    doubt_before: float = math.inf
    learned: bool = False
    given: dict[int, Promise] = field(default_factory=dict)
    kept: list[tuple[float, float]] = field(default_factory=list)

    @property
    def doubt(self) -> float:
        """The share of promised gains that is not expected to come; above 1, losses are."""
        prior = max(1.0 - self.doubt_before, 0.0)
        came = _PRIOR * prior + sum(came for came, _ in self.kept)
        return max(1.0 - came / (_PRIOR + sum(weight for _, weight in self.kept)), 0.0)

    def settle(self, promise: Promise, gained: float, standard_error: float) -> None:
        """Takes the verdict on a policy.

        Args:
            promise: what was said of it.
            gained: how much more it really earned an episode.
            standard_error: how well that is known, above 0.
        """
        if promise.gain <= 0.0:  # it was tried because it was hardly worse; that promises nothing
            return
        weight = min((promise.gain / standard_error) ** 2, _MOST)
        came = min(max(weight * gained / promise.gain, -_MOST), _MOST)
        # A clear loss tells something whatever was promised.
        loss = min(max(-gained / standard_error - _LUCK, 0.0) ** 2, _MOST)
        if loss > weight:
            weight, came = loss, -loss
        self.kept = [*self.kept, (came, weight)][-_REMEMBERED:]

    def forget(self, number: int) -> Promise | None:
        """The promise for a policy that has its verdict or is passed over; None: there was none."""
        return self.given.pop(number, None)

    def pack(self) -> dict[str, Any]:
        """As JSON, in which there is no infinity."""
        unknown = math.isinf(self.doubt_before)
        return {
            "doubt_before": None if unknown else self.doubt_before,
            "learned": self.learned,
            "given": [[number, *promise] for number, promise in self.given.items()],
            "kept": self.kept,
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> "Promises":
        """What `pack` has packed."""
        doubt = packed["doubt_before"]
        return cls(
            math.inf if doubt is None else doubt,
            packed["learned"],
            {number: Promise(gain, against) for number, gain, against in packed["given"]},
            [(came, weight) for came, weight in packed["kept"]],
        )
