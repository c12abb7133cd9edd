"""Random MDPs, models and transfers as hypothesis strategies."""

from itertools import product

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from moore.theory import TabularMDP, Transfer, random_mdp, random_transfer

# Linear algebra on a busy machine has no deadline.
few = settings(max_examples=30, deadline=None)

seeds = st.integers(0, 2**32 - 1)
sizes = st.floats(-6.0, 0.0).map(lambda power: 10.0**power)
signs = st.sampled_from(["nonneg", "signed", "nonpos", "sparse", "zero"])
discounted = st.tuples(st.sampled_from([0.0, 0.5, 0.9, 0.99]), st.none())
finite = st.tuples(st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.integers(1, 12))


@st.composite
def mdps(draw, *, rewards=signs, timing=discounted | finite) -> TabularMDP:
    """Nearly deterministic, deterministic (concentration 0) and even dynamics."""
    discount, horizon = draw(timing)
    return random_mdp(
        np.random.default_rng(draw(seeds)),
        states=draw(st.integers(1, 5)),
        actions=draw(st.integers(1, 4)),
        discount=discount,
        horizon=horizon,
        reward=draw(rewards),
        concentration=draw(st.sampled_from([0.0, 0.03, 0.3, 1.0, 5.0])),
    )


@st.composite
def transfers(
    draw,
    *,
    rewards=signs,
    uncertainties=("same", "noisy", "ensemble"),
    reward_errors=(0.0, 0.1),
    timing=discounted | finite,
) -> Transfer:
    """Two consecutive models; 'last' breaks ties that zero and sparse rewards make."""
    return random_transfer(
        np.random.default_rng(draw(seeds)),
        draw(mdps(rewards=rewards, timing=timing)),
        model_error=draw(sizes),
        shift=draw(sizes),
        reward_error=draw(st.sampled_from(reward_errors)),
        uncertainty=draw(st.sampled_from(uncertainties)),
        penalty_coef=draw(st.sampled_from([0.0, 0.1, 1.0, 3.0])),
        tie=draw(st.sampled_from(["first", "last"])),
    )


def all_policies(mdp: TabularMDP) -> list[np.ndarray]:
    """Every stationary deterministic policy."""
    states, actions = mdp.reward.shape
    return [np.array(policy) for policy in product(range(actions), repeat=states)]
