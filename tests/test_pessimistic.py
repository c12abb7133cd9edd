"""The pessimistic process of MOReL: disagreement, limit and halt, by hand and in a rollout."""

import tomllib
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore.algorithms import find
from moore.dynamics import pessimistic
from moore.dynamics.ensemble import init_ensemble, predict_all
from moore.dynamics.fit import init_model
from moore.dynamics.imagine import rollout
from moore.dynamics.pessimistic import Halt, PessimismConfig
from moore.errors import InputError
from moore.experience.pessimistic import halt_of
from moore.experience.protocol import Task
from moore.replay.buffer import empty_replay
from moore.runs.folder import read_metrics
from moore.runs.run import resume, run
from tiny import ENV, tiny_config, tiny_log


def log_of(obs, action, reward, capacity):
    """Scalar rows in a buffer of that capacity; 99 where nothing is."""
    log = empty_replay(capacity, 1, 1, max_holdout=1)
    size = len(reward)
    padded = lambda x: jnp.full(capacity, 99.0).at[:size].set(jnp.asarray(x, jnp.float32))  # noqa: E731
    new = padded(obs)[:, None], padded(action)[:, None], padded(reward), jnp.asarray(size)
    where = lambda r: (r.data.obs, r.data.action, r.data.reward, r.size)  # noqa: E731
    return eqx.tree_at(where, log, new)


def test_disagreement_is_the_largest_distance_of_two_members_states():
    # Rewards differ by 100 and do not count. At the first input the states are (0, 0), (3, 4) and
    # (0, 1): distances 5, 1 and sqrt(18). At the second all members agree.
    mean = [[[0, 0, 0], [9, 1, 1]], [[100, 3, 4], [9, 1, 1]], [[0, 0, 1], [8, 1, 1]]]
    found = pessimistic.disagreement(jnp.asarray(mean, jnp.float32))
    np.testing.assert_allclose(found, [5.0, 0.0])


@pytest.fixture(scope="module")
def ensemble():
    return init_ensemble(jax.random.key(0), 1, 1, members=3, elites=2, hidden=(8,))


def test_the_limit_is_the_coefficient_times_the_largest_disagreement_of_the_logs_rows(ensemble):
    obs, action = np.asarray([0.5, -1.0, 2.0]), np.asarray([0.1, 0.9, -0.4])
    log = log_of(obs, action, [0.0, 0.0, 0.0], 5)
    by_row = [
        float(pessimistic.disagreement(predict_all(ensemble, jnp.asarray([[s, a]]))[0])[0])
        for s, a in zip(obs, action, strict=True)
    ]
    assert len(set(by_row)) == 3
    found = pessimistic.known_limit(ensemble, log, PessimismConfig(coef=0.5))
    assert float(found) == pytest.approx(0.5 * max(by_row), rel=1e-5)
    assert float(pessimistic.logged_disagreement(ensemble, log_of([], [], [], 2))) == 0.0


def test_the_halt_is_worth_the_logs_largest_reward_lost_at_every_step():
    log = log_of([0.0, 0.0], [0.0, 0.0], [1.0, -2.0], 4)
    assert float(pessimistic.halt_reward(log, 0.5, PessimismConfig())) == pytest.approx(-4.0)
    half = PessimismConfig(halt_cost=0.5)
    assert float(pessimistic.halt_reward(log, 0.75, half)) == pytest.approx(-4.0)


def test_an_unknown_step_halts_and_a_known_one_stays_as_it_was():
    reward, terminated = pessimistic.halted(
        jnp.asarray([1.0, 2.0, 3.0, 4.0]),
        jnp.asarray([False, False, True, True]),
        jnp.asarray([0.5, 0.7, 0.5, 0.7]),
        Halt(jnp.asarray(0.6), jnp.asarray(-40.0)),
    )
    np.testing.assert_array_equal(reward, [1.0, -40.0, 3.0, -40.0])
    np.testing.assert_array_equal(terminated, [False, True, True, True])


def test_a_rollout_goes_on_from_a_logged_state_and_not_from_far_away(ensemble):
    """The members are linear enough to disagree the more, the further the input is from 0."""
    log = log_of([0.5, -0.5, 0.1], [0.1, 0.9, -0.9], [0.0, 0.0, 0.0], 3)
    limit = pessimistic.known_limit(ensemble, log, PessimismConfig(coef=3.0))
    transitions, happened, found = rollout(
        ensemble,
        lambda obs, key: jnp.zeros((obs.shape[0], 1)),
        lambda obs, action, next_obs: jnp.zeros((), bool),
        jnp.asarray([[0.1], [50.0]]),
        jax.random.key(1),
        length=2,
        penalty_coef=0.0,
        obs_bound=1e6,
        trusted=limit,
        uncertainty_fn=pessimistic.of_disagreement,
    )
    np.testing.assert_array_equal(happened, [[True, True], [True, False]])
    reward, terminated = pessimistic.halted(
        transitions.reward, transitions.terminated, found, Halt(limit, jnp.asarray(-40.0))
    )
    np.testing.assert_array_equal(terminated[0], [False, True])
    np.testing.assert_array_equal(reward[0], [transitions.reward[0, 0], -40.0])


def test_where_nothing_is_known_no_policy_is_worth_more_than_on_the_system():
    """Costs of at most 2 a step: the value of any policy is at least that of the halt."""
    rng = np.random.default_rng(0)
    cost = -rng.uniform(0.0, 2.0, 400)
    log = log_of(np.zeros(400), np.zeros(400), cost, 400)
    halt = float(pessimistic.halt_reward(log, 0.9, PessimismConfig()))
    worth = float(np.sum(cost * 0.9 ** np.arange(400)))
    assert halt <= worth < 0.0


def settings():
    config = tiny_config(
        algorithm="morel", penalty_coef=0.0, pessimism=PessimismConfig(coef=0.5), diagnostics=False,
        accept=("hand-over",),  # after few updates the policy is worse than the log
    )  # fmt: skip
    offline = replace(config.offline, epochs=2, updates_per_epoch=50)
    online = replace(config.online, epochs=2, steps_per_epoch=40, refit_every=20)
    return replace(config, offline=offline, online=online)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("morel") / "run"
    return run(settings(), dataset=tiny_log(), env=ENV, out=out, quiet=True)


def test_in_a_run_some_steps_halt_and_the_limit_is_that_of_the_newest_models(finished):
    rows = read_metrics(finished.folder / "metrics.jsonl")
    imagined = [row for row in rows if "model/halted" in row]
    assert [row["stage"] for row in imagined] == ["offline"] * 2 + ["online"] * 2
    assert all(0.0 < row["model/halted"] < 1.0 for row in imagined)
    limits = [row["model/halt_limit"] for row in imagined]
    assert limits[0] == limits[1] and len(set(limits)) == 3, "one after each fit"
    assert "pessimism" in tomllib.loads((finished.folder / "config.toml").read_text())


def test_an_interrupted_run_ends_bit_for_bit_as_one_that_was_not(finished, tmp_path):
    stop = {"until": lambda row, _: row["epoch"] == 1}
    out = tmp_path / "run"
    run(settings(), dataset=tiny_log(), env=ENV, out=out, quiet=True, **stop)
    again = resume(out, dataset=tiny_log(), env=ENV, quiet=True)
    leaves = [jax.tree.leaves(result.policy.weights) for result in (finished, again)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_discount_of_one_is_refused():
    config = replace(settings(), sac=replace(settings().sac, discount=1.0))
    log, never = log_of([0.0], [0.0], [1.0], 1), lambda *_: jnp.zeros((), bool)
    task = Task(config, find("morel").agent, log, never)
    model = eqx.filter_eval_shape(lambda: init_model(jax.random.key(0), 1, 1, config.model))
    with pytest.raises(InputError, match=r"sac\.discount is 1; the halt of morel needs"):
        halt_of(model, task)
