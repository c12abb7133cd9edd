"""Importance sampling and the doubly robust estimate, where a log has its actions' densities."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_models import NEVER
from moore.agents.bc import BCConfig, act_mode
from moore.agents.nets import Actor, sample_action
from moore.assessing.controller import JudgedController
from moore.assessing.doubly_robust import by_weights_and_values
from moore.assessing.estimate import DOUBLY_ROBUST, IMPORTANCE
from moore.assessing.fitted_q import FittedQ
from moore.assessing.importance import (
    Weighed,
    by_importance,
    effective,
    weighed,
    weighted,
    weights_of,
)
from moore.assessing.judge import Case
from moore.assessing.logged import as_logged
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.envs.bounds import Bounds
from moore.units import AS_GIVEN

BOUNDS = Bounds(np.asarray([-1.0], np.float32), np.asarray([1.0], np.float32))
STEPS, DEVIATION = 4, 0.4


def actor(mean: float) -> JudgedController:
    """tanh of a Gaussian around `mean`, whatever it sees."""
    made = Actor(1, 1, (2,), key=jax.random.key(0))
    last = made.trunk.layers[-1]
    where = (lambda m: m.trunk.layers[-1].weight, lambda m: m.trunk.layers[-1].bias)
    made = eqx.tree_at(where[0], made, jnp.zeros_like(last.weight))
    made = eqx.tree_at(where[1], made, jnp.asarray([mean, np.log(DEVIATION)]))
    return JudgedController(act_mode, made)


def drawn(episodes: int, mean: float, *, seed: int = 0):
    """s' = s + a, reward s + a, and the densities with which the actions were drawn."""
    rng = np.random.default_rng(seed)
    size = episodes, STEPS
    action, density = sample_action(
        actor(mean).weights, jnp.zeros((*size, 1)), jax.random.key(seed)
    )
    action = np.asarray(action, np.float64)
    start = rng.uniform(-1.0, 1.0, (episodes, 1, 1))
    after = start + np.cumsum(action, axis=1)
    before = np.concatenate([start, after[:, :-1]], axis=1)
    ends = np.tile(np.arange(STEPS) == STEPS - 1, episodes)
    log = Log(
        obs=before.reshape(-1, 1), action=action.reshape(-1, 1), reward=after.reshape(-1),
        next_obs=after.reshape(-1, 1), terminated=np.zeros(ends.size, bool), truncated=ends,
        name="drawn",
    )  # fmt: skip
    return as_logged(from_log(log), AS_GIVEN, BOUNDS, STEPS), np.asarray(density).reshape(-1)


def earns(mean: float) -> float:
    """What the sampled policy earns in the mean: 1 + 2 + 3 + 4 times its mean action."""
    noise = np.random.default_rng(9).normal(size=100_000)
    return 10.0 * float(np.tanh(mean + DEVIATION * noise).mean())


# --- The weights ---


def test_weights_of_every_step_sum_up_to_one():
    weights = weights_of(np.log([[2.0, 1.0], [1.0, 3.0]]))
    np.testing.assert_allclose(weights, [[2 / 3, 2 / 5], [1 / 3, 3 / 5]])
    assert effective(weights) == pytest.approx(1 / (4 / 25 + 9 / 25))


def test_equal_policies_earn_the_mean_of_the_log():
    reward = np.arange(40.0).reshape(20, 2)
    value, _ = weighted(reward, np.zeros((20, 2)))
    assert value == pytest.approx(reward.sum(axis=1).mean())


def test_without_each_episode_it_is_what_the_others_alone_would_say():
    rng = np.random.default_rng(0)
    terms, ratio = rng.normal(size=(2, 12, 3))
    _, without = weighted(terms, ratio)
    alone = [weighted(np.delete(terms, i, 0), np.delete(ratio, i, 0))[0] for i in range(12)]
    np.testing.assert_allclose(without, alone)


def test_a_policy_like_the_logs_has_equal_weights():
    logged, density = drawn(20, 0.2)
    np.testing.assert_allclose(weighed(actor(0.2), logged, density).log_ratio, 0.0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda density: None, "does not say with which density"),
        (lambda density: np.full_like(density, np.nan), "deterministic"),
        (lambda density: np.where(np.arange(density.size) < 2, np.nan, density), "2.5% of the"),
        (lambda density: density + 9.0 * (np.arange(density.size) < 4), "and 10 are needed"),
    ],
)
def test_it_says_why_there_are_no_weights(change, words):
    logged, density = drawn(20, 0.2)
    far = actor(0.2 if words != "and 10 are needed" else -1.5)
    assert words in weighed(far, logged, change(density)).refused


def test_policies_without_densities_are_refused():
    logged, density = drawn(20, 0.2)
    other = JudgedController(lambda weights, obs: jnp.zeros((len(obs), 1)), jnp.zeros(1))
    assert "of this kind of policy are not known" in weighed(other, logged, density).refused


def test_episodes_that_the_recording_cut_short_are_not_weighed():
    logged, density = drawn(40, 0.2)
    cut = replace(logged, whole=np.arange(40) > 3)
    found = weighed(actor(0.2), cut, np.where(np.arange(160) < 16, np.nan, density))
    assert not found.refused and found.rows.shape == (36, STEPS)
    earned = cut.data.reward.reshape(40, STEPS)[4:].sum(axis=1).mean()
    assert by_importance(found, cut).value.value == pytest.approx(earned, rel=1e-4)


def test_an_entry_of_the_action_that_is_locked_has_no_weight():
    logged, density = drawn(20, 0.2)
    two = replace(logged.data, action=np.repeat(logged.data.action, 2, axis=1) * [1.0, 0.0])
    made = actor(0.2).weights
    wide = Actor(1, 2, (2,), key=jax.random.key(0))
    wide = eqx.tree_at(
        lambda m: (m.trunk.layers[-1].weight, m.trunk.layers[-1].bias), wide,
        (jnp.zeros((2, 4)), jnp.repeat(made.trunk.layers[-1].bias, 2)),
    )  # fmt: skip
    found = weighed(JudgedController(act_mode, wide), replace(logged, data=two), density)
    np.testing.assert_allclose(found.log_ratio, 0.0, atol=1e-4)


# --- What the estimates say ---


def both(logged, density, mean: float, values=None):
    """What importance sampling and the doubly robust estimate say."""
    found = weighed(actor(mean), logged, density)
    values = FittedQ(logged) if values is None else values
    return by_importance(found, logged), by_weights_and_values(actor(mean), found, values)


@pytest.mark.parametrize(("worth", "alone"), [(20, False), (30, True)])
def test_weights_that_are_worth_few_episodes_correct_values_and_say_nothing_alone(worth, alone):
    logged, density = drawn(80, 0.2)
    found = weighed(actor(0.2), logged, density)
    unlikely = np.arange(80) >= worth
    found = replace(found, log_ratio=found.log_ratio - 50.0 * unlikely[:, None])
    said = by_importance(found, logged).value
    assert said.known == alone and ("and 25 are needed" in said.refused) != alone
    assert by_weights_and_values(actor(0.2), found, FittedQ(logged)).value.known


def test_most_intervals_hold_what_a_policy_earns_that_did_not_make_the_log():
    logs, truth = [drawn(200, 0.0, seed=seed) for seed in range(20)], earns(0.15)
    pairs = [both(*log, 0.15) for log in logs]
    for said in zip(*pairs, strict=True):
        values = sum(one.value.low < truth < one.value.high for one in said)
        gains = sum(one.gain.low < truth < one.gain.high for one in said)  # the old one earns 0
        assert min(values, gains) >= 15
        assert np.mean([one.gain.value for one in said]) == pytest.approx(truth, abs=0.1)


def test_a_judgement_has_both():
    logged, density = drawn(80, 0.0)
    cloning = BCConfig(hidden=(8,), updates=20, batch_size=16)
    case = Case(logged, AS_GIVEN, NEVER, None, cloning=cloning, density=density)
    estimates = case.judge(actor(0.1)).facts.estimates
    assert estimates[IMPORTANCE].gain.known and estimates[DOUBLY_ROBUST].gain.known


def test_values_make_the_weights_estimate_narrower():
    logged, density = drawn(400, 0.0)
    weights, robust = both(logged, density, 0.15)
    assert robust.value.high - robust.value.low < 0.75 * (weights.value.high - weights.value.low)


def test_the_weights_correct_values_that_are_wrong():
    logged, density = drawn(400, 0.0)
    blind = FittedQ(logged)
    blind.__dict__["phi"] = np.ones((blind.rows.size, 1), np.float32)
    object.__setattr__(blind, "features", lambda obs, action: np.ones((len(obs), 1), np.float32))
    _, robust = both(logged, density, 0.15, blind)
    assert robust.value.low < earns(0.15) < robust.value.high


def test_too_few_rows_for_values_are_refused():
    logged, density = drawn(20, 0.0)
    _, robust = both(logged, density, 0.0)
    assert "60 usable rows" in robust.value.refused
    nothing = Weighed(np.zeros((20, 4), int), np.zeros((20, 4)), "Nothing is known.")
    told = by_weights_and_values(actor(0.0), nothing, FittedQ(logged))
    assert told.value.refused == "Nothing is known."
