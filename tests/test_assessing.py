"""Estimates of returns from a log and models, what the log covers, and the verdict."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_models import NEVER, TINY, models
from moore.agents.bc import BCConfig
from moore.assessing.controller import JudgedController
from moore.assessing.coverage import Covered, Surroundings
from moore.assessing.estimate import (
    DOUBLY_ROBUST,
    FITTED_Q,
    IMPORTANCE,
    MODELS,
    QUANTILE,
    ReturnEstimate,
    mean_of,
    refused,
)
from moore.assessing.fitted_q import FittedQ, recursion
from moore.assessing.imagined import Compared, Imagined, corrected, imagine_episodes
from moore.assessing.judge import Case
from moore.assessing.logged import as_logged
from moore.assessing.readings import ReadingFacts, readings, verdict
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.envs.bounds import Bounds
from moore.units import AS_GIVEN, Units

BOUNDS = Bounds(np.asarray([-1.0], np.float32), np.asarray([1.0], np.float32))


def constant(action: float) -> JudgedController:
    """A policy that always does the same."""
    return JudgedController(
        lambda weights, obs: jnp.zeros((len(obs), 1)) + weights, jnp.asarray(action)
    )


def walk(episodes: int = 60, steps: int = 5, *, units: Units = AS_GIVEN, limit=None):
    """s' = s + a, reward s, from s in [-1, 1] with actions in [-0.5, 0.5]."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(episodes):
        s = rng.uniform(-1.0, 1.0)
        for step in range(steps):
            a = rng.uniform(-0.5, 0.5)
            rows.append(([s], [a], s, [s + a], False, step == steps - 1))
            s = s + a
    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
    columns = (np.asarray(column) for column in zip(*rows, strict=True))
    log = from_log(Log(**dict(zip(names, columns, strict=True)), name="walk"))
    return as_logged(log, units, BOUNDS, limit)


# --- The old controller ---


def test_the_old_controller_earns_the_mean_of_its_episodes_with_students_interval():
    found = mean_of(np.asarray([0.0, 2.0] * 8))
    assert found.value == 1.0
    half = 1.753 * math.sqrt(16 / 15) / 4  # t of 15 degrees of freedom, 95%
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half), abs=1e-3)


def test_few_episodes_say_nothing():
    assert "9 whole episodes" in mean_of(np.zeros(9)).refused


def test_the_log_counts_in_the_agents_units_and_knows_its_episodes():
    logged = walk(12, units=Units(reward_scale=2.0))
    assert (logged.horizon, logged.cut, len(logged.returns)) == (5, 0.0, 12)
    assert logged.returns[0] == pytest.approx(logged.data.reward[:5].sum(), rel=1e-5)
    assert logged.rows_of(np.asarray([1])).tolist() == [5, 6, 7, 8, 9]
    np.testing.assert_array_equal(logged.starts[:, 0], logged.data.obs[::5, 0])


def test_episodes_that_were_cut_short_are_not_whole():
    logged = walk(12, limit=20)
    assert (logged.horizon, logged.cut, len(logged.returns)) == (20, 1.0, 0)


# --- The models ---


def test_imagined_episodes_are_those_of_each_member_from_each_start():
    # Member 0 earns 1 a step, member 1 earns 3; both stay where they are.
    ensemble = models([(1.0, 0.0), (3.0, 0.0)], [(TINY, TINY)] * 2)
    found = imagine_episodes(
        constant(0.0), ensemble, np.zeros((3, 1), np.float32), jax.random.key(0),
        terminated_fn=NEVER, steps=4, limits=(np.full(1, -9.0), np.full(1, 9.0)),
    )  # fmt: skip
    np.testing.assert_allclose(found.returns, [[4.0] * 3, [12.0] * 3], rtol=1e-5)
    np.testing.assert_allclose(found.course, [2.0, 4.0, 6.0, 8.0], rtol=1e-5)
    assert float(found.broken) == 0.0


def test_what_the_models_say_is_corrected_by_what_the_log_says_of_the_old_controller():
    old = np.full((2, 4), 4.0)
    found = corrected(old + 2.0, old, np.full(10, 5.0), seed=0)
    assert (found.value.value, found.gain.value) == (7.0, 2.0)
    # Nothing scatters, so the interval is the error of 1 that the models make for the old one.
    assert found.gain.high - found.gain.value == pytest.approx(QUANTILE)


def test_members_that_disagree_widen_the_interval():
    old = np.full((2, 4), 5.0)
    new = old + np.asarray([[0.0], [4.0]])
    found = corrected(new, old, np.full(10, 5.0), seed=0)
    assert found.gain.value == 2.0
    assert found.gain.high - found.gain.value == pytest.approx(2.0 * QUANTILE, rel=0.05)


# --- Fitted Q evaluation ---


def test_each_step_adds_its_reward_unless_the_episode_has_ended():
    one, reward = np.ones((4, 1), np.float32), np.ones(4, np.float32)
    weights, inverse = np.ones((4, 1), np.float32), np.full((1, 1, 1), 0.25, np.float32)
    for goes_on, value in ((True, 7.0), (False, 1.0)):
        flags = np.full(4, goes_on)
        *_, theta = recursion(one, one, reward, flags, weights, inverse, steps=7)
        assert theta.item() == pytest.approx(value)


def test_fitted_q_finds_the_return_of_a_policy_that_the_log_never_had():
    # sum of s over 5 steps with a = 0.3 is 5 s_0 + 10 * 0.3.
    logged = walk()
    found = FittedQ(logged).of(constant(0.3))
    truth = 5.0 * float(logged.starts.mean()) + 3.0
    assert found.value.value == pytest.approx(truth, abs=0.25)
    assert found.value.low < truth < found.value.high
    assert found.gain.low > 0.0


def test_fitted_q_refuses_too_few_rows():
    found = FittedQ(walk(20)).of(constant(0.0))
    assert not found.value.known and "80 usable rows" in found.value.refused


# --- What the log covers ---


def test_actions_that_the_log_never_took_are_outside_of_it():
    around = Surroundings(walk())
    assert around.of(constant(0.0), None).actions_outside_in_log < 0.05
    far = around.of(constant(1.0), None)
    assert far.actions_outside_in_log > 0.9
    assert (far.at_bounds, far.logged_at_bounds) == (1.0, 0.0)
    assert far.states_outside is None


def test_a_record_without_an_end_knows_the_actions_in_it():
    around = Surroundings(walk(1, steps=400))
    assert around.of(constant(0.0), None).actions_outside_in_log < 0.25
    assert around.of(constant(1.0), None).actions_outside_in_log > 0.9


def test_states_that_the_log_never_saw_are_outside_of_it():
    logged = walk()
    around, everywhere = Surroundings(logged), jnp.ones((4, 5), bool)

    def visited(obs) -> Imagined:
        zeros = jnp.zeros((4, 5, 1))
        return Imagined(jnp.zeros((1, 5)), jnp.zeros(4), obs, zeros, everywhere, jnp.zeros(()))

    near = jnp.asarray(logged.data.obs[:20].reshape(4, 5, 1))
    assert around.of(constant(0.0), visited(near)).states_outside < 0.2
    assert around.of(constant(0.0), visited(near + 40.0)).states_outside == 1.0


# --- A case without models ---


@pytest.mark.parametrize(
    ("logged", "words"),
    [
        (walk(12, limit=20), "100% of the log lies in episodes that neither ended"),
        (walk(9), "9 whole episodes"),
    ],
)
def test_where_the_return_of_an_episode_has_no_meaning_every_estimator_says_so(logged, words):
    small = BCConfig(hidden=(8,), updates=20, batch_size=16)
    judged = Case(logged, AS_GIVEN, NEVER, None, cloning=small).judge(constant(0.0))
    assert judged.answer == "unknown"
    assert {words in found.value.refused for found in judged.facts.estimates.values()} == {True}


def test_without_models_fitted_q_speaks_alone_and_there_is_no_yes():
    case = Case(walk(), AS_GIVEN, NEVER, None, cloning=BCConfig(hidden=(8,), updates=20))
    judged = case.judge(constant(0.3))
    assert "no models" in judged.facts.estimates[MODELS].value.refused
    assert judged.facts.estimates[FITTED_Q].gain.low > 0.0
    assert judged.answer == "unknown"


# --- The verdict ---


def says(gain: float, half: float, old: float = 10.0) -> Compared:
    def around(value: float) -> ReturnEstimate:
        return ReturnEstimate(value, value - half, value + half)

    return Compared(around(old + gain), around(gain))


NOTHING = Compared(refused("It cannot."), refused("It cannot."))
COVERED = Covered(0.01, 0.02, 0.02, 0.0, 0.0, np.zeros(0), np.zeros(0))
GOOD = ReadingFacts(
    old=ReturnEstimate(10.0, 9.0, 11.0),
    scatter=4.0,
    best=20.0,
    estimates={"the models": says(4.0, 1.0), "fitted Q evaluation": says(3.0, 1.0)},
    errors={"the models": 0.4, "fitted Q evaluation": -0.4},
    open_loop={10: 0.1, 50: 0.3},
    broken=0.0,
    covered=COVERED,
)


def with_models(found: Compared, facts: ReadingFacts = GOOD) -> ReadingFacts:
    return replace(facts, estimates=facts.estimates | {"the models": found})


@pytest.mark.parametrize(
    ("facts", "answer", "words"),
    [
        (GOOD, "yes", "as a trial that can be stopped"),
        (with_models(says(4.0, 5.0)), "unknown", "the gain may as well be nothing or a loss"),
        (with_models(NOTHING), "unknown", "Fewer than two estimators speak"),
        (with_models(says(-4.0, 1.0)), "no", "By the models the new policy earns less"),
        (with_models(says(8.0, 1.0)), "unknown", "exclude each other"),
        (with_models(says(11.0, 8.0)), "unknown", "above the best logged episode"),
        (replace(GOOD, covered=replace(COVERED, states_outside=0.3)), "no", "30% of the states"),
        (replace(GOOD, covered=replace(COVERED, actions_outside_in_log=0.1)), "unknown", "10%"),
        (replace(GOOD, errors={"the models": 5.0}), "no", "5 more than the old controller"),
        (replace(GOOD, errors={"fitted Q evaluation": 5.0}), "unknown", "5 more than the old"),
        (replace(GOOD, errors={"the models": -3.0}), "unknown", "3 less than the old controller"),
        (replace(GOOD, open_loop={100: 1.2}), "unknown", "After 100 steps"),
        (replace(GOOD, broken=0.1), "no", "became infinite"),
        (replace(GOOD, doubts=("Other rewards.",)), "unknown", "Not known. Other rewards."),
        (replace(GOOD, old=refused("Few episodes.")), "unknown", "Few episodes."),
        (replace(GOOD, estimates={IMPORTANCE: says(4.0, 1.0), DOUBLY_ROBUST: says(4.0, 1.0)}),
         "unknown", "have the same weights and count as one"),
        (replace(GOOD, estimates={MODELS: says(4.0, 1.0), DOUBLY_ROBUST: says(4.0, 1.0)}),
         "yes", "by the models and doubly robust"),
    ],
)  # fmt: skip
def test_yes_needs_two_estimators_and_no_reading_against_it(facts, answer, words):
    found, line = verdict(facts, readings(facts))
    assert found == answer and words in line
