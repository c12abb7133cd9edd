"""A gate that asks for what was earned: what it may lose, and what chance adds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from made_mdps import few, seeds, transfers
from moore.errors import InputError
from moore.theory import (
    LearnedModel,
    TabularMDP,
    eta,
    gate_bound,
    random_policy,
    sampling_error,
)


@given(transfers(), seeds, st.floats(-1.0, 1.0))
@few
def test_a_gate_loses_no_more_than_its_model_is_wrong_along_the_new_policy(transfer, seed, luck):
    """Any two policies, the candidate better in the model: what was earned is that, by luck."""
    true, old, new = transfer
    acting, candidate = old.policy, random_policy(np.random.default_rng(seed), true)
    if eta(new.mdp, candidate) < eta(true, acting):
        candidate = new.policy
    promised = eta(new.mdp, candidate)
    earned = min(promised, eta(true, acting) + luck)
    bound = gate_bound(true, new, acting, candidate, earned=earned)
    assert bound.holds()
    assert bound.terms["sampling"] == pytest.approx(eta(true, acting) - earned)
    with pytest.raises(InputError, match="puts no lower"):
        gate_bound(true, new, acting, candidate, earned=promised + 1.0)


def test_a_gate_attains_its_bound_and_sees_no_error_of_the_old_policy():
    """The first action earns 1, the second 0; the model takes both for 1."""
    reward = np.array([[1.0, 0.0]])
    true = TabularMDP(np.ones((1, 2, 1)), reward, np.array([1.0]), 0.9)
    wrong = LearnedModel(true.with_(reward=np.array([[7.0, 1.0]])), np.zeros((1, 2)), 1.0)
    first, second = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    bound = gate_bound(true, wrong, first, second, earned=10.0)
    assert (bound.lhs, bound.rhs) == pytest.approx((10.0, 10.0))
    assert bound.terms["sampling"] == pytest.approx(0.0)
    # One lucky episode earns more than the policy is worth, and asks for more.
    with pytest.raises(InputError, match="puts no lower"):
        gate_bound(true, wrong, first, second, earned=10.5)


@pytest.mark.parametrize("episodes", [1, 3, 10, 40])
@pytest.mark.parametrize("chance", [0.05, 0.3])
def test_a_mean_of_episodes_is_seldom_lower_than_its_sampling_error(episodes, chance):
    """Exact, for returns of 0 and 2 with chances p and 1 - p."""
    margin = sampling_error(2.0, episodes, chance)
    for p in np.linspace(0.05, 0.95, 19):
        wins = stats.binom(episodes, p)
        too_low = [k for k in range(episodes + 1) if 2.0 * k / episodes <= 2.0 * p - margin]
        assert wins.pmf(too_low).sum() <= chance + 1e-12
    with pytest.raises(InputError, match="at least one episode"):
        sampling_error(2.0, 0, chance)
