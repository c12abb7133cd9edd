"""A search that wants to refute: it climbs from random transfers to the worst it can find."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from moore.theory import (
    Bound,
    LearnedModel,
    Transfer,
    drop_bound,
    drop_bound_two_sided,
    eq9,
    lemma1,
    random_mdp,
    random_transfer,
    theorem2,
)

SEARCHES: dict[str, Callable[[Transfer], Bound]] = {
    "Eq. 9, sup": lambda t: eq9(t.old, t.new, corrected="sup"),
    "Eq. 9, on policy": lambda t: eq9(t.old, t.new, corrected="on_policy"),
    "Lemma 1, sup": lambda t: lemma1(t.old, t.new, corrected="sup"),
    "Lemma 1, on policy": lambda t: lemma1(t.old, t.new, corrected="on_policy"),
    "Lemma 1, same policy": lambda t: lemma1(t.old, t.new, corrected="same_policy"),
    "Theorem 2, sup": lambda t: theorem2(*t, corrected="sup"),
    "Theorem 2, on policy": lambda t: theorem2(*t, corrected="on_policy"),
    "Theorem 2, same policy": lambda t: theorem2(*t, corrected="same_policy"),
    "drop": lambda t: drop_bound(t.true, t.new, t.old.policy),
    "drop, two-sided": lambda t: drop_bound_two_sided(*t),
}
PRINTED: dict[str, Callable[[Transfer], Bound]] = {
    "Eq. 9": lambda t: eq9(t.old, t.new),
    "Lemma 1": lambda t: lemma1(t.old, t.new),
    "Theorem 2": lambda t: theorem2(*t),
}


def neighbour(rng: np.random.Generator, transfer: Transfer) -> Transfer:
    """One entry or one row of one array changed; small and large steps."""
    true, old, new = transfer
    step = 10.0 ** rng.uniform(-3, 0)
    place = tuple(rng.integers(n) for n in true.reward.shape)

    def nudged(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[place] += step * rng.normal()
        return array

    def mixed(mdp):
        rows = mdp.transition.copy()
        rows[place] += step * (rng.dirichlet(np.full(len(rows), 0.2)) - rows[place])
        return mdp.with_(transition=rows)

    def model(learned: LearnedModel, kind: int) -> LearnedModel:
        mdp, u = learned.mdp, learned.uncertainty
        match kind:
            case 0:
                mdp = mixed(mdp)
            case 1:
                u = np.abs(nudged(u))
            case 2:
                mdp = mdp.with_(reward=nudged(mdp.reward))
        return LearnedModel(mdp, u, learned.penalty_coef)

    match rng.integers(8):
        case 0:
            true = mixed(true)
        case 1:
            true = true.with_(reward=nudged(true.reward))
        case kind if kind < 5:
            old = model(old, int(kind) - 2)
        case kind:
            new = model(new, int(kind) - 5)
    return Transfer(true, old, new)


def climb(evaluate: Callable[[Transfer], Bound], *, seed: int, steps: int) -> Iterator[Bound]:
    """Bounds met on the way up in left over right, which may not shrink below 1e-2."""
    rng = np.random.default_rng(seed)
    horizon = None if rng.uniform() < 0.5 else 4
    mdp = random_mdp(rng, states=3, actions=2, discount=0.9, horizon=horizon)
    here = random_transfer(
        rng, mdp, shift=0.3, model_error=0.3, uncertainty="noisy", reward_error=0.1
    )
    best = -math.inf
    for _ in range(steps):
        there = neighbour(rng, here)
        bound = evaluate(there)
        yield bound
        score = bound.lhs / max(bound.rhs, 1e-2)
        if score >= best:
            here, best = there, score


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_no_climb_refutes_a_corrected_statement(name):
    best = 0.0
    for seed in range(4):
        for bound in climb(SEARCHES[name], seed=seed, steps=1500):
            assert bound.holds(), (bound.lhs, bound.rhs, bound.terms)
            best = max(best, bound.ratio if bound.rhs > 1e-2 else 0.0)
    assert best > 0.55, f"a climb that comes to {best:.3f} of the bound tries nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", PRINTED)
def test_the_climb_refutes_the_printed_statements(name):
    """So it has the power that the test above needs."""
    assert any(
        not bound.holds()
        for seed in range(4)
        for bound in climb(PRINTED[name], seed=seed, steps=1500)
    )
