"""Limits and invariances of the bounds, the model shift of section 3.3, and the schedule's sums."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_mdps import few, finite, mdps, seeds, sizes, transfers
from moore.replay.schemes import half_half, moore, online_only, uniform
from moore.theory import (
    LearnedModel,
    TabularMDP,
    Transfer,
    alpha_for_peak_tv,
    crossover_epoch,
    drop_bound_two_sided,
    eq9,
    eq13,
    lemma1,
    model_shift_bound,
    occupancy,
    offline_priority,
    peak_tv_bound,
    perturb,
    policy_values,
    random_mdp,
    schedule,
    theorem1,
    theorem2,
    value_shift_bound,
    vmax,
)

FORMS = ("sup", "on_policy", "same_policy")


def rewarded(transfer: Transfer, change) -> Transfer:
    """The transfer with another reward everywhere; `change` maps rewards."""
    true, *models = transfer
    models = [
        LearnedModel(
            model.mdp.with_(reward=change(model.mdp.reward)),
            model.uncertainty,
            model.penalty_coef,
            model.tie,
        )
        for model in models
    ]
    return Transfer(true.with_(reward=change(true.reward)), *models)


def scaled(transfer: Transfer, factor: float) -> Transfer:
    """Rewards and uncertainties in other units."""
    true, *models = rewarded(transfer, lambda reward: factor * reward)
    models = [LearnedModel(m.mdp, factor * m.uncertainty, m.penalty_coef, m.tie) for m in models]
    return Transfer(true, *models)


# --- Limits ---


@given(transfers(uncertainties=("same",)))
@few
def test_nothing_changes_where_the_models_are_the_same(transfer):
    true, old, _ = transfer
    for form in FORMS:
        bound = lemma1(old, old, corrected=form)
        assert (bound.lhs, bound.rhs) == (0.0, 0.0)
    perfect = LearnedModel(true, old.uncertainty, old.penalty_coef)
    for form in FORMS:
        assert theorem2(true, perfect, perfect, corrected=form).rhs == 0.0
    assert theorem1(true, true, corrected=True).rhs == 0.0
    assert drop_bound_two_sided(true, perfect, perfect).rhs == 0.0


@given(mdps(timing=st.sampled_from([(0.0, None), (0.0, 5), (0.9, 1), (1.0, 1)])), seeds)
@few
def test_a_single_decision_costs_nothing_by_the_dynamics(mdp, seed):
    """gamma = 0 or H = 1, where the printed Theorem 1 still counts a step."""
    rows = perturb(np.random.default_rng(seed), mdp.transition, size=0.5)
    bound = theorem1(mdp, mdp.with_(transition=rows), corrected=True)
    assert (bound.lhs, bound.rhs) == (0.0, 0.0)


@given(mdps(timing=finite), seeds)
@few
def test_the_last_decision_costs_nothing_by_the_dynamics(mdp, seed):
    rows = perturb(np.random.default_rng(seed), mdp.transition, size=0.5)
    for h in (mdp.horizon - 1, mdp.horizon):
        assert theorem1(mdp, mdp.with_(transition=rows), h=h, corrected=True).rhs == 0.0


@given(transfers())
@few
def test_without_a_penalty_the_uncertainty_is_not_there(transfer):
    true, *models = transfer
    free = [LearnedModel(m.mdp, m.uncertainty, 0.0) for m in models]
    other = [LearnedModel(m.mdp, m.uncertainty**2 + 1.0, 0.0) for m in models]
    for form in (False, *FORMS):
        bound, same = (theorem2(true, *pair, corrected=form) for pair in (free, other))
        assert bound.terms == same.terms and bound.terms["uncertainty"] == 0.0


# --- Invariances ---


def fixed_shift() -> Transfer:
    """A transfer of which nothing is degenerate, and whose optimal policies are clear."""
    rng = np.random.default_rng(11)
    true = random_mdp(rng, states=4, actions=3, discount=0.9)
    rows = perturb(rng, true.transition, size=0.2), perturb(rng, true.transition, size=0.3)
    u = rng.uniform(size=(2, 4, 3))
    rewards = true.reward + 0.1 * rng.normal(size=(2, 4, 3))
    models = (
        LearnedModel(true.with_(transition=rows[i], reward=rewards[i]), u[i], 1.5) for i in (0, 1)
    )
    return Transfer(true, *models)


def test_a_constant_added_to_every_reward_changes_the_printed_forms_alone():
    one, other = fixed_shift(), rewarded(fixed_shift(), lambda reward: reward + 7.0)
    for form in ("sup", "on_policy"):
        before, after = (theorem2(*transfer, corrected=form) for transfer in (one, other))
        assert before.lhs == pytest.approx(after.lhs)
        assert before.terms == pytest.approx(after.terms)
    assert theorem2(*other).rhs > theorem2(*one).rhs + 1.0
    pairs = [(t.old.mdp, t.new.mdp.with_(reward=t.old.mdp.reward)) for t in (one, other)]
    corrected = [theorem1(*pair, corrected=True) for pair in pairs]
    assert corrected[0].rhs == pytest.approx(corrected[1].rhs)
    assert theorem1(*pairs[1]).rhs > theorem1(*pairs[0]).rhs + 1.0
    steps = [eq13(t.true, t.new.mdp, t.new.policy, corrected=True) for t in (one, other)]
    np.testing.assert_allclose(steps[0].arrays["right"], steps[1].arrays["right"])


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_other_units_scale_both_sides(factor):
    one, other = fixed_shift(), scaled(fixed_shift(), factor)
    for form in (False, *FORMS):
        before, after = (theorem2(*transfer, corrected=form) for transfer in (one, other))
        assert after.lhs == pytest.approx(factor * before.lhs)
        assert after.rhs == pytest.approx(factor * before.rhs)
    assert after.ratio == pytest.approx(before.ratio) and after.vacuous == before.vacuous


def test_the_order_of_the_epochs_does_not_matter():
    true, old, new = fixed_shift()
    for form in (False, *FORMS):
        forward = theorem2(true, old, new, corrected=form)
        backward = theorem2(true, new, old, corrected=form)
        assert (forward.lhs, forward.rhs) == pytest.approx((backward.lhs, backward.rhs))
    assert drop_bound_two_sided(true, old, new).rhs == drop_bound_two_sided(true, new, old).rhs


def test_every_term_is_what_it_is_named():
    """On one shift, where the form along the policies is the tighter one; it need not be."""
    true, old, new = fixed_shift()
    sup = theorem2(true, old, new, corrected="sup")
    on_policy = theorem2(true, old, new, corrected="on_policy")
    assert on_policy.rhs < sup.rhs
    largest = np.abs(old.penalized.reward - new.penalized.reward).max()
    assert sup.terms["reward_change"] == pytest.approx(10.0 * largest)
    assert eq9(old, new, corrected="sup").rhs == pytest.approx(
        sup.terms["reward_change"] + sup.terms["model_change"]
    )
    distance = np.abs(old.mdp.transition - new.mdp.transition).sum(-1).max()
    spans = min(np.ptp(old.values), np.ptp(new.values))
    # gamma / (1 - gamma) = 9.
    assert sup.terms["model_change"] == pytest.approx(9.0 * 0.5 * distance * spans)


def test_the_change_along_the_policies_by_hand():
    """The occupancy is that of a policy in its own model, the values are those in the other."""
    _, old, new = fixed_shift()
    changes = []
    for here, there in ((old, new), (new, old)):
        values = policy_values(there.penalized, here.policy)
        distance = np.abs(old.mdp.transition - new.mdp.transition).sum(-1)
        reward = np.abs(old.penalized.reward - new.penalized.reward)
        change = reward + 0.5 * 0.9 * distance * np.ptp(values)
        changes.append((occupancy(here.mdp, here.policy) * change).sum())
    assert eq9(old, new, corrected="on_policy").rhs == pytest.approx(max(changes))


def test_terms_of_the_printed_theorem_2():
    true, old, new = fixed_shift()
    bound = theorem2(true, old, new)
    mdps = (true, old.mdp, new.mdp, old.penalized, new.penalized)
    largest = max(np.abs(mdp.reward).max() for mdp in mdps)
    distance = np.abs(old.mdp.transition - new.mdp.transition).sum(-1).max()
    expected = distance * (largest + vmax(mdps)) * 10.0
    assert bound.terms["model_change"] == pytest.approx(expected)
    gap = old.total_uncertainty(old.policy) - new.total_uncertainty(new.policy)
    assert bound.terms["uncertainty"] == pytest.approx(1.5 * abs(gap))
    values = policy_values(true, old.policy)
    assert np.abs(values).max() <= vmax(mdps)


# --- What a shift of the draws does to the model ---


def test_the_constants_of_the_model_shift_are_sharp():
    """One outcome of a pair is drawn no more, and a pair that had no data is drawn instead."""
    before, after = np.zeros((2, 1, 2)), np.zeros((2, 1, 2))
    before[0, 0] = 0.999, 0.001
    after[0, 0], after[1, 0] = (0.999, 0.0), (0.0, 0.001)
    total = model_shift_bound(before, after)["total"]
    assert total.rhs == pytest.approx(0.004)
    assert 0.999 < total.ratio <= 1.0 + 1e-12
    # A rare pair, all of whose draws come to another outcome.
    before[0, 0], before[1, 0] = (0.001, 0.0), (0.0, 0.999)
    after[0, 0], after[1, 0] = (0.0, 0.001), (0.0, 0.999)
    bounds = model_shift_bound(before, after)
    assert bounds["pair"].lhs == bounds["largest"].lhs == 2.0
    assert bounds["pair"].ratio == pytest.approx(1.0)
    assert bounds["largest"].ratio == pytest.approx(1.0)


def test_a_pair_first_seen_online_moves_by_2_however_small_the_shift():
    before, after = np.zeros((2, 1, 2)), np.zeros((2, 1, 2))
    before[0, 0, 0] = 1.0
    after[0, 0, 0], after[1, 0, 1] = 0.999, 0.001
    bounds = model_shift_bound(before, after)
    assert bounds["largest"].lhs == 2.0
    assert bounds["total"].rhs == pytest.approx(0.004)
    assert all(bound.holds() for bound in bounds.values())


@given(seeds, sizes)
@few
def test_no_shift_of_the_draws_no_shift_of_the_model(seed, size):
    rng = np.random.default_rng(seed)
    mass = rng.dirichlet(np.ones(12)).reshape(2, 3, 2)
    bounds = model_shift_bound(mass, mass)
    assert all(bound.lhs == bound.rhs == 0.0 for bound in bounds.values())
    # The same, if only how often a pair is drawn changes and not where it leads.
    pairs = mass.sum(-1, keepdims=True)
    other = (1 - size) * pairs + size * rng.dirichlet(np.ones(6)).reshape(2, 3, 1)
    bounds = model_shift_bound(mass, mass / pairs * other)
    assert bounds["largest"].lhs < 1e-9
    assert bounds["total"].holds()


def test_the_shift_of_the_value_by_hand():
    """A state that pays 1 and leaks in 10% of its draws, afterwards; it had half of all draws."""
    before, after = np.zeros((2, 1, 2)), np.zeros((2, 1, 2))
    before[0, 0], before[1, 0] = (0.5, 0.0), (0.0, 0.5)
    after[0, 0], after[1, 0] = (0.45, 0.05), (0.0, 0.5)
    rewards, start = np.array([[1.0], [0.0]]), np.array([1.0, 0.0])
    old = TabularMDP(2.0 * before, rewards, start, 0.9)
    new = old.with_(transition=2.0 * after)
    bound = value_shift_bound(old, new, before, after)
    assert bound.lhs == pytest.approx(10.0 - 1.0 / (1.0 - 0.81))
    # 2 gamma / (1 - gamma), span 10, concentration 1 / .5, shift .05.
    assert bound.rhs == pytest.approx(18.0 * 10.0 * 2.0 * 0.05)


def test_rows_that_no_data_fix_make_the_bound_on_the_value_infinite():
    rows = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    old = TabularMDP(rows, np.array([[1.0], [0.0]]), np.array([1.0, 0.0]), 0.9)
    new = old.with_(transition=rows[::-1].copy())
    nowhere = np.zeros((2, 1, 2))
    nowhere[1, 0, 0] = 1.0
    bound = value_shift_bound(old, new, nowhere, nowhere)
    assert bound.lhs > 0 and bound.rhs == np.inf and bound.holds()
    assert value_shift_bound(old, old, nowhere, nowhere).rhs == 0.0
    worthless = (mdp.with_(reward=np.zeros((2, 1))) for mdp in (old, new))
    assert value_shift_bound(*worthless, nowhere, nowhere).rhs == 0.0


# --- The schedule, under the theory's names ---


def test_how_far_the_draws_move_in_a_hundred_epochs():
    def total(scheme, n_off: int) -> float:
        table = schedule(scheme, n_off=n_off, steps_per_epoch=1000, epochs=100)
        return float(table[:, 3].sum())

    totals = [total(scheme, 200_000) for scheme in (uniform(), half_half(), online_only())]
    assert totals == pytest.approx([0.405, 2.594, 5.187], abs=5e-4)
    totals = [total(scheme, 1_000_000) for scheme in (uniform(), moore(1.0))]
    assert totals == pytest.approx([0.095, 1.349], abs=5e-4)
    assert total(moore(1.0), 200_000) == pytest.approx(2.107, abs=5e-4)


@pytest.mark.parametrize(
    ("n_off", "alpha", "first", "peak", "at", "tenth", "last"),
    [
        (1_000_000, 0.1, 0.0001, 0.0065, 57, 0.0099, 0.500),
        (1_000_000, 1.0, 0.0010, 0.0205, 18, 0.0909, 0.909),
        (1_000_000, 10.0, 0.0099, 0.0647, 5, 0.5, 0.990),
        (200_000, 0.1, 0.0005, 0.0145, 25, 0.0476, 0.833),
        (200_000, 4.0, 0.0196, 0.0909, 4, 0.6667, 0.995),
        (200_000, 10.0, 0.0476, 0.1437, 2, 0.8333, 0.998),
    ],
)
def test_what_alpha_does(n_off, alpha, first, peak, at, tenth, last):
    table = schedule(moore(alpha), n_off=n_off, steps_per_epoch=1000, epochs=100)
    shares, shifts = table[:, 2], table[:, 3]
    assert (shares[1], shares[10]) == pytest.approx((first, tenth), abs=5.1e-5)
    assert shares[100] == pytest.approx(last, abs=5.1e-4)
    assert shifts.max() == pytest.approx(peak, abs=5.1e-5)
    assert shifts.argmax() == at + 1, "from epoch `at` to the next"


def test_the_bound_on_the_peak_is_close_for_large_logs():
    table = schedule(moore(1.0), n_off=9_000_000, steps_per_epoch=1000, epochs=100)
    limit = peak_tv_bound(9_000_000, 1000, 1.0)
    assert 0.999 * limit < table[:, 3].max() <= limit
    assert limit == pytest.approx(0.6495 / crossover_epoch(9_000_000, 1000, 1.0), rel=1e-4)
    assert alpha_for_peak_tv(limit, 9_000_000, 1000) == pytest.approx(1.0)
    assert offline_priority(4, 0.5) == 0.5
