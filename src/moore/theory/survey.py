"""Both sides of every statement, in numbers, on many random MDPs and on the counterexamples.

The random draws vary the setting and the discount, the sign of the rewards, the errors of the
models and of their rewards, the shift between the models, and the origin of u.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Bool, Float

from moore.errors import InputError
from moore.theory import generators
from moore.theory.bound import Bound
from moore.theory.counterexamples import cases
from moore.theory.empirical import model_shift_bound
from moore.theory.guarantees import (
    admissible_penalty,
    drop_bound,
    drop_bound_two_sided,
    no_degradation,
)
from moore.theory.mdp import Probabilities, TabularMDP, action_probabilities
from moore.theory.model_change import eq9, lemma1, theorem1
from moore.theory.model_error import eq13, lemma2
from moore.theory.models import LearnedModel, Transfer
from moore.theory.transfer import theorem2, theorem2_identity

_REWARDS: tuple[generators.Reward, ...] = ("nonneg", "signed", "nonpos")
_UNCERTAINTIES: tuple[generators.Uncertainty, ...] = ("same", "noisy", "ensemble")


@dataclass(frozen=True, eq=False)
class Draw:
    """One random transfer, with a policy and sampling masses for the statements that need them.

    Attributes:
        transfer: the real MDP and two consecutive models.
        policy: an arbitrary policy.
        masses: sampling masses of two consecutive epochs, if the draw has them.
    """

    transfer: Transfer
    policy: Probabilities
    masses: Float[np.ndarray, "2 states actions states"] | None = None

    @cached_property
    def same_reward(self) -> tuple[TabularMDP, TabularMDP]:
        """Two MDPs with the same reward, for Theorem 1."""
        true, old, new = self.transfer
        return old.mdp.with_(reward=true.reward), new.mdp.with_(reward=true.reward)

    @cached_property
    def admissible(self) -> LearnedModel:
        """The new model with the smallest penalty that covers its errors."""
        true, _, new = self.transfer
        return LearnedModel(new.mdp, admissible_penalty(true, new.mdp), 1.0)

    @property
    def policies_differ(self) -> bool:
        return not np.array_equal(self.transfer.old.policy, self.transfer.new.policy)


def evaluate_transfer(transfer: Transfer) -> list[tuple["Statement", Bound]]:
    """Every statement about models, in every form, on one transfer.

    A statement about an arbitrary policy is evaluated for the old one.

    Raises:
        InputError: the models cannot be compared.
    """
    true, old, _ = transfer
    draw = Draw(transfer, action_probabilities(true, old.policy))
    return [(each, each.evaluate(draw)) for each in STATEMENTS if each.name != "model shift"]


def random_draw(rng: np.random.Generator) -> Draw:
    """One random draw of the survey: small MDPs of every kind."""
    states, actions = int(rng.integers(2, 6)), int(rng.integers(2, 4))
    finite = rng.uniform() < 0.5
    true = generators.random_mdp(
        rng,
        states=states,
        actions=actions,
        discount=float(rng.choice([0.9, 1.0] if finite else [0.5, 0.9, 0.99])),
        horizon=int(rng.integers(1, 13)) if finite else None,
        reward=_REWARDS[rng.choice(len(_REWARDS))],
        concentration=float(rng.choice([0.03, 0.3, 1.0, 5.0])),
    )
    transfer = generators.random_transfer(
        rng,
        true,
        model_error=float(10 ** rng.uniform(-4, 0)),
        shift=float(10 ** rng.uniform(-4, 0)),
        reward_error=float(rng.choice([0.0, 0.1])),
        uncertainty=_UNCERTAINTIES[rng.choice(len(_UNCERTAINTIES))],
        penalty_coef=float(10 ** rng.uniform(-1, 0.5)),
    )
    masses, _ = generators.random_masses(
        rng,
        states=states,
        actions=actions,
        logged=int(rng.integers(20, 2000)),
        online=int(rng.integers(1, 50)),
        weight=float(rng.choice([0.1, 1.0, 5.0])),
    )
    return Draw(transfer, generators.random_policy(rng, true), masses)


@dataclass(frozen=True)
class Statement:
    """A statement in one form.

    Attributes:
        name: name of the statement.
        form: `printed` (V_max as printed), `printed, |V|` (with an absolute value), or
            `corrected`, in one of several ways.
        evaluate: computes both sides on a draw.
        identity: whether the statement is an equality, which fails if either side is larger.
    """

    name: str
    form: str
    evaluate: Callable[[Draw], Bound]
    identity: bool = False

    def fails(self, bound: Bound) -> bool:
        """Whether a bound refutes the statement."""
        return bound.residual > bound.tolerance if self.identity else not bound.holds()


PRINTED, PRINTED_ABS = "printed", "printed, |V|"
_READINGS = {PRINTED: {"reading": "literal"}, PRINTED_ABS: {"reading": "abs"}}
_CORRECTED = {"corrected": {"corrected": True}}
_ALONG = {
    "corrected, sup": {"corrected": "sup"},
    "corrected, on policy": {"corrected": "on_policy"},
}
_ALL = _ALONG | {"corrected, same policy": {"corrected": "same_policy"}}


def _theorem1(draw: Draw, **form) -> Bound:
    return theorem1(*draw.same_reward, **form)


def _eq9(draw: Draw, **form) -> Bound:
    return eq9(draw.transfer.old, draw.transfer.new, **form)


def _lemma1(draw: Draw, **form) -> Bound:
    return lemma1(draw.transfer.old, draw.transfer.new, **form)


def _lemma2(draw: Draw, **form) -> Bound:
    return lemma2(draw.transfer.true, draw.transfer.new.mdp, draw.policy, **form)


def _eq13(draw: Draw, **form) -> Bound:
    return eq13(draw.transfer.true, draw.transfer.new.mdp, draw.policy, **form)


def _theorem2(draw: Draw, **form) -> Bound:
    return theorem2(*draw.transfer, **form)


def _drop(draw: Draw) -> Bound:
    true, old, new = draw.transfer
    return drop_bound(true, new, old.policy)


def _no_degradation(draw: Draw) -> Bound:
    true, old, _ = draw.transfer
    return no_degradation(true, draw.admissible, old.policy)


def _model_shift(draw: Draw) -> dict[str, Bound]:
    assert draw.masses is not None  # it is only evaluated on random draws
    return model_shift_bound(*draw.masses)


def _forms(name: str, evaluate: Callable[..., Bound], forms: dict, **more) -> list[Statement]:
    return [
        Statement(name, form, partial(evaluate, **given), **more) for form, given in forms.items()
    ]


STATEMENTS: tuple[Statement, ...] = (
    *_forms("Theorem 1", _theorem1, _READINGS | _CORRECTED),
    *_forms("Eq. 9", _eq9, _READINGS | _ALONG),
    *_forms("Lemma 1", _lemma1, _READINGS | _ALL),
    *_forms(
        "Lemma 2",
        _lemma2,
        {PRINTED: {"corrected": False}, "corrected": {"corrected": True}},
        identity=True,
    ),
    *_forms("Eq. 13", _eq13, _READINGS | _CORRECTED),
    *_forms("Theorem 2", _theorem2, _READINGS | _ALL),
    Statement(
        "Theorem 2 as equality",
        "corrected",
        lambda d: theorem2_identity(*d.transfer),
        identity=True,
    ),
    Statement("drop", "corrected", _drop),
    Statement("drop", "corrected, two-sided", lambda d: drop_bound_two_sided(*d.transfer)),
    Statement("no degradation", "corrected", _no_degradation),
    Statement("model shift", "average row", lambda d: _model_shift(d)["total"]),
    Statement("model shift", "largest row", lambda d: _model_shift(d)["largest"]),
)


@dataclass(frozen=True, eq=False)
class Row:
    """The results of many draws for one statement.

    Attributes:
        name, form: see `Statement`.
        identity: whether the statement is an equality; its ratios are then of no interest.
        ratios: left over right for each draw [draws].
        violated: which draws refute the statement [draws].
        vacuous: in which draws the right side is no smaller than the trivial gap [draws].
        subset: whether this row holds only some of the draws of another row.
    """

    name: str
    form: str
    identity: bool
    ratios: Float[np.ndarray, " draws"]
    violated: Bool[np.ndarray, " draws"]
    vacuous: Bool[np.ndarray, " draws"]
    subset: bool = False

    def among(self, differ: Bool[np.ndarray, " draws"]) -> "Row":
        """The row restricted to the draws in which the two policies differ."""
        columns = {"ratios": self.ratios, "violated": self.violated, "vacuous": self.vacuous}
        kept = {name: column[differ] for name, column in columns.items()}
        name = f"{self.name}, policies differ"
        return dataclasses.replace(self, name=name, subset=True, **kept)

    def summary(self) -> dict:
        """The row in numbers for JSON: shares, and the median, p99 and max of the ratios."""
        empty = self.identity or not self.ratios.size
        # No interpolation: an infinite ratio must not make its neighbours NaN.
        levels = {"median": 0.5, "p99": 0.99, "max": 1.0}
        ratios = {
            name: None if empty else _number(np.quantile(self.ratios, level, method="inverted_cdf"))
            for name, level in levels.items()
        }
        return {
            "statement": self.name,
            "form": self.form,
            "draws": len(self.ratios),
            "violations": int(self.violated.sum()),
            "violated": _share(self.violated),
            **{f"ratio_{name}": value for name, value in ratios.items()},
            "vacuous": None if self.identity else _share(self.vacuous),
        }


def survey(draws: int = 800, seed: int = 0) -> list[Row]:
    """Evaluates every statement in every form on the same random draws.

    Args:
        draws: number of draws.
        seed: seed of the draws; the result depends only on these two numbers.

    Raises:
        InputError: the number of draws is not positive, or the seed is negative.
    """
    if draws < 1:
        raise InputError(f"the number of draws is {draws}; it must be positive.")
    if seed < 0:
        raise InputError(f"the seed is {seed}; it must not be negative.")
    found = np.zeros((len(STATEMENTS), 3, draws))
    differ = np.zeros(draws, bool)
    for i, stream in enumerate(np.random.SeedSequence(seed).spawn(draws)):
        draw = random_draw(np.random.default_rng(stream))
        differ[i] = draw.policies_differ
        for statement, results in zip(STATEMENTS, found, strict=True):
            bound = statement.evaluate(draw)
            results[:, i] = bound.ratio, statement.fails(bound), bound.vacuous
    rows = [_row(statement, *results) for statement, results in zip(STATEMENTS, found, strict=True)]
    # Mostly both epochs have the same policy and the gap is 0, which says little of the bound.
    return rows + [row.among(differ) for row in rows if row.name in ("Theorem 2", "drop")]


def _row(statement: Statement, *results: Float[np.ndarray, " draws"]) -> Row:
    ratios, violated, vacuous = results
    return Row(
        statement.name,
        statement.form,
        statement.identity,
        ratios,
        violated.astype(bool),
        vacuous.astype(bool),
    )


def counterexample_table() -> list[dict]:
    """Both forms of each statement on its counterexample, for JSON; an infinite ratio is None."""
    return [
        {
            "name": case.name,
            "statement": case.printed.name,
            "why": case.why,
            "printed": _sides(case.printed),
            "corrected": _sides(case.corrected),
        }
        for case in cases()
    ]


def transfer_table(transfer: Transfer) -> list[dict]:
    """Both sides of every statement on one transfer, for JSON; an infinite ratio is None."""
    return [
        {
            "statement": statement.name,
            "form": statement.form,
            **_sides(bound),
            "holds": not statement.fails(bound),
        }
        for statement, bound in evaluate_transfer(transfer)
    ]


def _sides(bound: Bound) -> dict:
    return {
        "lhs": bound.lhs,
        "rhs": bound.rhs,
        "ratio": _number(bound.ratio),
        "holds": bound.holds(),
        "vacuous": bound.vacuous,
        "terms": dict(bound.terms),
    }


def _number(value: float | np.floating) -> float | None:
    return float(value) if math.isfinite(value) else None


def _share(flags: np.ndarray) -> float | None:
    return float(flags.mean()) if flags.size else None
