"""What every epoch measures beside learning: calibration, ranges, and the theory's terms."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import moore
from moore.agents.sac import AGENT as SAC
from moore.config import Config
from moore.dynamics.ensemble import Ensemble, init_ensemble
from moore.dynamics.surprise import surprise
from moore.experience.diagnostics import (
    PolicyInModels,
    compare_epochs,
    imagine_episodes,
    observed_range,
    probes,
)
from moore.experience.rollouts import surprise_of_newest
from moore.experience.settings import RolloutSettings
from moore.replay.buffer import Transition, append, empty_replay, full_replay
from moore.runs.setup import prepare
from moore.trees import copied
from steps import imagine
from tiny import ENV, tiny_config, tiny_log

OBS, ACTION, MEMBERS = 2, 1, 3


def constant_ensemble(mean, std) -> Ensemble:
    """Every member predicts `mean` for (r, s' - s) with deviations `std`, wherever it is."""
    ensemble = init_ensemble(jax.random.key(0), OBS, ACTION, members=MEMBERS, elites=2, hidden=(4,))
    networks = jax.tree.map(jnp.zeros_like, ensemble.networks)
    networks = dataclasses.replace(
        networks,
        mean_head=dataclasses.replace(
            networks.mean_head, bias=jnp.tile(jnp.asarray(mean, jnp.float32), (MEMBERS, 1))
        ),
        log_var_head=dataclasses.replace(
            networks.log_var_head,
            bias=jnp.tile(2 * jnp.log(jnp.asarray(std, jnp.float32)), (MEMBERS, 1)),
        ),
        max_log_var=jnp.full(OBS + 1, 30.0),
        min_log_var=jnp.full(OBS + 1, -30.0),
    )
    return dataclasses.replace(ensemble, networks=networks)


def transitions(rewards, moves) -> Transition:
    """From the origin, action 0."""
    count = len(rewards)
    flags = jnp.zeros(count, bool)
    return Transition(
        jnp.zeros((count, OBS)), jnp.zeros((count, ACTION)), jnp.asarray(rewards, jnp.float32),
        jnp.asarray(moves, jnp.float32), flags, flags,
    )  # fmt: skip


# --- Calibration on what the models have not seen ---


def test_errors_in_units_of_sigma_by_hand():
    """Errors (1, 0, 0) and (0, 2, 0) with sigma (1, 1, 2): z is 1, 0, 0 and 0, 2, 0."""
    ensemble = constant_ensemble([0.0, 0.0, 0.0], [1.0, 1.0, 2.0])
    found = surprise(ensemble, transitions([1.0, 0.0], [[0.0, 0.0], [2.0, 0.0]]))
    np.testing.assert_allclose(found["new_mse"], (1 + 4) / 6, rtol=1e-5)
    np.testing.assert_allclose(found["new_z"], np.sqrt(5 / 6), rtol=1e-5)
    np.testing.assert_allclose(found["new_coverage"], 5 / 6, rtol=1e-5)


def test_the_penalty_is_admissible_where_u_covers_the_error():
    """u is |sigma| = 3; the errors are 2.9 and 3.1."""
    ensemble = constant_ensemble([0.0, 0.0, 0.0], [1.0, 2.0, 2.0])
    found = surprise(ensemble, transitions([2.9, 0.0], [[0.0, 0.0], [3.1, 0.0]]))
    np.testing.assert_allclose(found["new_admissible"], 0.5)


def test_true_sigmas_are_seen_as_calibrated_and_halved_ones_as_overconfident():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(20_000, 3)) * [0.5, 1.0, 2.0]
    new = transitions(noise[:, 0], noise[:, 1:])
    right = surprise(constant_ensemble([0.0] * 3, [0.5, 1.0, 2.0]), new)
    np.testing.assert_allclose(right["new_z"], 1.0, atol=0.02)
    np.testing.assert_allclose(right["new_coverage"], 0.95, atol=0.01)
    halved = surprise(constant_ensemble([0.0] * 3, [0.25, 0.5, 1.0]), new)
    np.testing.assert_allclose(halved["new_z"], 2.0, atol=0.04)
    assert halved["new_coverage"] < 0.7


def test_of_fewer_new_rows_than_asked_for_only_these_count():
    """As at the end of a warm-up that is shorter than the steps between two refits."""
    ensemble = constant_ensemble([0.0, 0.0, 0.0], [1.0, 2.0, 2.0])
    new = transitions([2.9, 0.0, 1.0], [[0.0, 0.0], [3.1, 0.0], [0.0, 1.0]])
    online = empty_replay(20, OBS, ACTION, max_holdout=2)
    for row in range(3):
        one = jax.tree.map(lambda column, row=row: column[row], new)
        online = append(online, one, jax.random.key(row), holdout_fraction=0.0)
    wanted = {f"model/{name}": value for name, value in surprise(ensemble, new).items()}
    found = surprise_of_newest(ensemble, online, 10)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)
    last = surprise(ensemble, jax.tree.map(lambda column: column[1:], new))
    found = surprise_of_newest(ensemble, online, 2)
    np.testing.assert_allclose(found["model/new_mse"], last["new_mse"], rtol=1e-6)


# --- Ranges ---


def test_the_range_of_a_buffer_is_that_of_the_rows_it_has():
    data = transitions([0.0, 0.0], [[1.0, -2.0], [3.0, 0.0]])
    buffer = full_replay(
        data, np.ones(2, bool), jax.random.key(0), holdout_fraction=0.5, max_holdout=1
    )
    low, high = observed_range(buffer)
    np.testing.assert_array_equal([low, high], [[0, -2], [3, 0]])
    low, high = observed_range(empty_replay(5, OBS, ACTION, max_holdout=1))
    assert np.isposinf(low).all() and np.isneginf(high).all()


# --- Two epochs ---


def nowhere(obs, action, next_obs):
    return False


@functools.cache
def as_rule(ends):
    """The same rule for the same function: else every call would compile its program anew."""
    return lambda *row: jnp.asarray(ends(*row))


@pytest.fixture
def between():
    """`compare_epochs` of two pairs of policy and models, from the origin."""
    log = full_replay(
        transitions([0.0] * 4, np.zeros((4, OBS))), np.ones(4, bool), jax.random.key(0),
        holdout_fraction=0.5, max_holdout=1,
    )  # fmt: skip
    policy = SAC.policy(SAC.init(jax.random.key(1), OBS, ACTION, Config().sac))

    def compare(
        old,
        new,
        *,
        rule=SAC,
        policies=(policy, policy),
        terminated_fn=nowhere,
        discount=0.9,
    ):
        return compare_epochs(
            PolicyInModels(policies[0], old), PolicyInModels(policies[1], new), log,
            empty_replay(1, OBS, ACTION, max_holdout=1), jnp.zeros(8, jnp.int32), jax.random.key(2),
            jnp.asarray(2.0), agent=rule, terminated_fn=as_rule(terminated_fn),
            settings=RolloutSettings(rollout_length=3, discount=discount),
        )  # fmt: skip

    return compare


def test_a_constant_u_gives_u_times_the_horizon(between):
    """u = 3, reward 1 + noise of deviation 1e-3, gamma 0.9: U = 30, eta = 10."""
    steady = constant_ensemble([1.0, 0.0, 0.0], [1e-3, 3.0, 1e-3])
    found = between(steady, steady)
    np.testing.assert_allclose(found["theory/uncertainty_old"], 30.0, rtol=1e-4)
    np.testing.assert_allclose(found["theory/return_old"], 10.0, rtol=1e-3)
    for name in ("relative_uncertainty_error", "relative_uncertainty_error_theorem", "drop_term"):
        assert found[f"theory/{name}"] == 0.0


def test_new_models_with_half_the_uncertainty(between):
    """U falls from 30 to 15 for both policies: the errors are 15 / 10, and nothing can drop."""
    old = constant_ensemble([1.0, 0.0, 0.0], [1e-3, 3.0, 1e-3])
    new = constant_ensemble([1.0, 0.0, 0.0], [1e-3, 1.5, 1e-3])
    found = between(old, new)
    np.testing.assert_allclose(found["theory/uncertainty_carried"], 15.0, rtol=1e-4)
    np.testing.assert_allclose(found["theory/relative_uncertainty_error"], 1.5, rtol=1e-2)
    np.testing.assert_allclose(found["theory/relative_uncertainty_error_theorem"], 1.5, rtol=1e-2)
    np.testing.assert_allclose(found["theory/drop_term"], 0.0)


def test_the_predicted_drop_is_that_of_the_return_in_the_new_models(between):
    """Rewards go from 1 to 2 for both policies: eta is 10, then 20, and nothing drops."""
    old = constant_ensemble([1.0, 0.0, 0.0], [1e-4, 3.0, 1e-3])
    new = constant_ensemble([2.0, 0.0, 0.0], [1e-4, 3.0, 1e-3])
    found = between(old, new)
    np.testing.assert_allclose(found["theory/return_old"], 10.0, rtol=1e-3)
    np.testing.assert_allclose(found["theory/return_carried"], 20.0, rtol=1e-3)
    np.testing.assert_allclose(found["theory/return_new"], 20.0, rtol=1e-3)
    np.testing.assert_allclose(found["theory/predicted_drop"], 0.0, atol=1e-3)


def told(state, obs, key):
    """Acts with what the agent's state says."""
    return jnp.full((obs.shape[0], ACTION), state)


def test_a_policy_that_the_new_models_call_worse_is_a_predicted_drop(between):
    """a = 1 ends the episode: one reward of 1 instead of 10. u = 3 then counts for one step too."""
    steady = constant_ensemble([1.0, 0.0, 0.0], [1e-4, 3.0, 1e-3])
    found = between(
        steady,
        steady,
        rule=dataclasses.replace(SAC, act=told),
        policies=(jnp.asarray(-1.0), jnp.asarray(1.0)),
        terminated_fn=lambda s, a, n: a[0] > 0,
    )
    one_step = 1 / (1 - 0.9**3)
    np.testing.assert_allclose(found["theory/predicted_drop"], 10 - one_step, rtol=1e-3)
    np.testing.assert_allclose(found["theory/drop_term"], 2.0 * 3.0 * (10 - one_step), rtol=1e-3)


@pytest.mark.parametrize(("length", "count"), [(1, 1000), (5, 1000), (10, 500), (100, 100)])
def test_long_rollouts_are_few(length, count):
    assert probes(length) == count


# --- Whole episodes in the models ---


AS_TOLD = dataclasses.replace(SAC, act_mode=lambda policy, obs: jnp.full((2, ACTION), policy))


def episodes(*, terminated_fn=nowhere, bound=np.inf, steps=5) -> dict:
    """The policy acts 0.5; each step earns 2 and moves the first entry by 1; gamma 0.9."""
    found = imagine_episodes(
        jnp.asarray(0.5), constant_ensemble([2.0, 1.0, 0.0], [1e-6] * 3),
        jnp.asarray([[0.0, 0.0], [2.0, 0.0]]), jax.random.key(0),
        agent=AS_TOLD, terminated_fn=as_rule(terminated_fn),
        settings=RolloutSettings(imagined_bound=bound, discount=0.9), steps=steps,
    )  # fmt: skip
    return {name.removeprefix("model/episode_"): float(value) for name, value in found.items()}


def test_imagined_episodes_last_to_the_step_limit_where_nothing_ends_them():
    found = episodes()
    assert found["steps"] == 5
    np.testing.assert_allclose(found["return"], 10.0, rtol=1e-4)
    np.testing.assert_allclose(found["discounted_return"], 2 * (1 - 0.9**5) / 0.1, rtol=1e-4)


def test_imagined_episodes_end_where_the_rule_says_so_or_the_numbers_do():
    # Beyond 2.5: from 0 the third step, from 2 the first. The step that ends it counts.
    found = episodes(terminated_fn=lambda s, a, n: n[0] > 2.5)
    assert found["steps"] == 2
    np.testing.assert_allclose(found["return"], (6 + 2) / 2, rtol=1e-4)
    np.testing.assert_allclose(found["discounted_return"], (2 + 1.8 + 1.62 + 2) / 2, rtol=1e-4)
    # A step that leaves the bound is no step: two from 0, none from 2.
    assert episodes(bound=2.5)["steps"] == 1


def test_imagined_episodes_are_of_the_mode_that_is_evaluated():
    assert episodes(terminated_fn=lambda s, a, n: a[0] != 0.5)["steps"] == 5


# --- In a run ---


@pytest.fixture(scope="module")
def runs(tiny_run, tmp_path_factory):
    """The same run with diagnostics, and without them up to its second online epoch."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "True").symlink_to(tiny_run.folder)
    how = {"dataset": tiny_log(), "env": ENV, "until": lambda row, state: row["epoch"] == 2}
    moore.run(tiny_config(diagnostics=False), out=folder / "False", quiet=True, **how)
    return folder


def rows(folder, stage):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["stage"] == stage]


def test_every_online_epoch_has_them(runs):
    for row in rows(runs / "True", "online")[1:]:
        for name in ("new_mse", "new_z", "new_coverage", "new_admissible"):
            assert np.isfinite(row[f"model/{name}"])
        for name in ("uncertainty_old", "uncertainty_new", "return_old", "drop_term"):
            assert np.isfinite(row[f"theory/{name}"])
        assert 0 <= row["model/imagined_out_of_range"] <= 1
        assert row["model/penalty_ratio"] > 0


def test_every_evaluation_has_one_in_the_models_beside_it(runs):
    evaluated = [
        row for stage in ("offline", "online") for row in rows(runs / "True", stage)
        if "eval/return" in row
    ]  # fmt: skip
    assert len(evaluated) > 4
    for row in evaluated:
        assert np.isfinite(row["model/episode_return"])
        assert row["model/episode_steps"] == 20  # nothing ends them but the limit


def test_they_begin_where_episodes_of_the_log_begin():
    log = tiny_log()
    first = np.append(0, np.flatnonzero(log.terminated | log.truncated)[:-1] + 1)
    learner = prepare(tiny_config(), dataset=log, env=ENV).learner
    np.testing.assert_array_equal(learner.task.first_states, log.obs[first])


def test_no_result_depends_on_them(runs):
    with_them, without = rows(runs / "True", "online"), rows(runs / "False", "online")
    left_out = ("theory/", "model/episode_")
    assert not any(name.startswith(left_out) for row in without for name in row)
    assert [row["epoch"] for row in without] == [0, 1, 2]
    for one, other in zip(with_them[:3], without, strict=True):
        for name in other:
            assert name.startswith("time/") or one[name] == other[name], name


def test_a_snapshot_outlives_the_update_that_follows(runs):
    learner = prepare(tiny_config(), dataset=tiny_log(), env=ENV).learner
    state = learner.init(jax.random.key(0))
    kept = copied(PolicyInModels(state.agent, state.experience.model.ensemble))
    expected = jax.tree.map(np.asarray, kept)
    state, _ = imagine(learner, state, 1, 16)
    state, _ = learner.update(state, 1, 2)
    jax.tree.map(np.testing.assert_array_equal, kept, expected)
    assert any(
        (np.asarray(a) != np.asarray(b)).any()
        for a, b in zip(jax.tree.leaves(kept.policy), jax.tree.leaves(state.agent), strict=True)
    )
