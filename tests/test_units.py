"""The user's units and the agents': what they are, where they are kept, who sees which."""

import json
import shutil
from dataclasses import replace
from functools import partial

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_units import ON, OTHER, config_of, env_in, log_in, metrics_of, run_in
from moore.collecting.training import SACTraining
from moore.envs.collector import Collector
from moore.errors import InputError
from moore.experience.protocol import Moment
from moore.presets import preset, preset_names
from moore.replay.buffer import Transition
from moore.replay.draws import each_row, shift
from moore.replay.priorities import RowScheme
from moore.runs.policy import load_policy
from moore.runs.run import resume, run
from moore.runs.setup import Evaluator, prepare
from moore.stages.gatekeeping import pass_gate
from moore.stages.reported import in_users_units
from moore.units import AS_GIVEN, Units, measured, spread_of
from steps import imagine
from tiny import AGENT_SETTINGS, ENV, tiny_config

# --- What they are ---


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=5, max_size=5),
    st.floats(1e-3, 1e3),
    st.floats(-1e2, 1e2),
)
def test_what_goes_in_comes_out(values, slope, mean):
    units = Units((mean,), (slope,), 0.3)
    obs = np.asarray(values, np.float32)[:, None]
    back = units.obs_out(units.obs_in(obs))
    np.testing.assert_allclose(back, obs, rtol=1e-5, atol=1e-5 * (abs(mean) + slope))
    traced = units.obs_out(jnp.asarray(units.obs_in(obs)))
    np.testing.assert_allclose(traced, obs, rtol=1e-5, atol=1e-5 * (abs(mean) + slope))
    np.testing.assert_allclose(units.reward_out(units.reward_in(obs)), obs, rtol=1e-6, atol=1e-40)
    np.testing.assert_array_equal(units.obs_in(obs)[1], units.obs_in(obs[1]))
    assert Units.from_dict(json.loads(json.dumps(units.to_dict()))) == units


def test_the_logs_rows_have_mean_0_and_deviation_1_and_rewards_of_size_1():
    log = log_in(**OTHER)
    units = measured(log.obs, log.reward, **ON)
    seen = units.transition_in(
        Transition(log.obs, log.action, log.reward, log.next_obs, log.terminated, log.truncated)
    )
    assert seen.obs.mean() == pytest.approx(0, abs=1e-4) and seen.obs.std() == pytest.approx(1)
    assert np.sqrt((seen.reward**2).mean()) == pytest.approx(1)
    assert (np.sign(seen.reward) == np.sign(log.reward)).all(), "scaled, not shifted"
    assert seen.obs.dtype == seen.reward.dtype == np.float32
    assert measured(log.obs, log.reward, standardise_obs=False, scale_rewards=False) == AS_GIVEN


def test_a_column_that_does_not_vary_is_not_blown_up():
    n = 4000
    rng = np.random.default_rng(0)
    alarm = np.zeros(n)
    alarm[7] = 5.0
    columns = {
        "constant": np.full(n, 7.0),
        "zero": np.zeros(n),
        "rounding": np.float32(1e5) * (1 + 6e-8 * rng.normal(size=n)),
        "dust": 1e-17 * rng.normal(size=n),
        "alarm": alarm,
        "nanometres": 1e-9 * rng.normal(size=n),
        "kelvin": 350 + rng.normal(size=n),
    }
    mean, std = spread_of(np.stack(list(columns.values()), axis=1).astype(np.float32))
    found = dict(zip(columns, std, strict=True))
    assert found["constant"] == 7.0 and found["zero"] == 1.0
    assert found["rounding"] == pytest.approx(1e5) and found["dust"] == 1.0
    assert found["alarm"] == 5.0
    assert found["nanometres"] == pytest.approx(1e-9, rel=0.05)
    assert found["kelvin"] == pytest.approx(1.0, rel=0.05)
    assert (std > 0).all() and np.isfinite([*mean, *std]).all()


def test_rewards_that_are_all_zero_stay_so():
    assert measured(np.ones((3, 1)), np.zeros(3), **ON).reward_scale == 1.0


@pytest.mark.parametrize(
    "values",
    [
        {"obs_mean": [0.0], "obs_std": [0.0], "reward_scale": 1.0},
        {"obs_mean": [0.0], "obs_std": [1.0, 2.0], "reward_scale": 1.0},
        {"obs_mean": [float("nan")], "obs_std": [1.0], "reward_scale": 1.0},
        {"obs_mean": [], "obs_std": [], "reward_scale": -1.0},
    ],
)
def test_what_is_no_scale_is_not_read(values):
    with pytest.raises(ValueError, match="units"):
        Units.from_dict(values)


# --- Without a log ---


def test_without_a_log_random_steps_in_an_environment_of_evaluation_tell_them():
    setups = [prepare(config_of("sac"), env=partial(env_in, **OTHER)) for _ in range(2)]
    units, again = (setup.units for setup in setups)
    assert units == again
    assert units.obs_mean[0] == pytest.approx(350, abs=30)
    assert 20 < units.obs_std[0] < 100 and units.reward_scale == pytest.approx(1e-4, rel=0.7)
    other = prepare(replace(config_of("sac"), seed=1), env=partial(env_in, **OTHER))
    assert other.units != units


def test_a_live_system_is_not_moved_to_measure_them_and_that_is_said(tmp_path, capsys):
    moved = []

    class Plant(gym.Wrapper):
        def reset(self, **options):
            moved.append("reset")
            return super().reset(**options)

    config = config_of("sac")
    alone = replace(config, evaluation=replace(config.evaluation, episodes=0))
    assert prepare(alone, env=lambda: Plant(ENV())).units == AS_GIVEN
    assert not moved
    empty = replace(alone, online=replace(alone.online, epochs=0))
    run(empty, env=ENV, out=tmp_path / "run")
    assert "observations and rewards are taken as they are" in capsys.readouterr().err


def test_a_log_tells_them_where_an_algorithm_does_not_learn_from_it():
    units = prepare(config_of("sac"), dataset=log_in(**OTHER), env=ENV).units
    log = log_in(**OTHER)
    assert units == measured(log.obs, log.reward, **ON)


# --- They are kept ---


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units") / "offline"
    return run_in(OTHER, config_of("awac"), folder, stages="offline")


def test_the_saved_policy_takes_observations_as_they_are(offline):
    obs = np.asarray([[260.0], [340.0], [420.0]], np.float32)
    policy = load_policy(offline.folder)
    assert policy.units.obs_mean[0] == pytest.approx(350, abs=10)
    actions = policy(obs)
    plain = replace(policy, units=AS_GIVEN)
    np.testing.assert_allclose(actions, plain(policy.units.obs_in(obs)), atol=1e-6)
    assert np.abs(actions - plain(obs)).max() > 1e-2
    np.testing.assert_allclose(policy(obs[1]), actions[1], atol=1e-6)


def test_a_policy_saved_before_there_were_units_takes_them_so_too(offline, tmp_path):
    saved = load_policy(offline.folder)
    for name in ("policy.safetensors", "policy.json"):
        (tmp_path / name).write_bytes((offline.folder / "policy" / name).read_bytes())
    about = json.loads((tmp_path / "policy.json").read_text())
    for key in ("units", "format", "moore", "acting", "sha256"):
        del about[key]
    (tmp_path / "policy.json").write_text(json.dumps(about))
    obs = np.zeros((2, 1), np.float32)
    np.testing.assert_array_equal(load_policy(tmp_path)(obs), replace(saved, units=AS_GIVEN)(obs))
    about["units"] = {"obs_mean": [0.0, 0.0], "obs_std": [1.0, 1.0], "reward_scale": 1.0}
    (tmp_path / "policy.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="damaged"):
        load_policy(tmp_path)


def test_evaluations_and_the_saved_policy_agree(offline):
    setup = prepare(config_of("awac"), dataset=log_in(**OTHER), env=partial(env_in, **OTHER))
    evaluator = Evaluator(setup)
    found = evaluator.deterministic(offline.policy.weights)
    evaluator.close()
    last = metrics_of(offline.folder)[-1]
    assert found.returns == pytest.approx(last["eval/returns"])


def test_a_resumed_run_and_an_online_stage_keep_them(offline, tmp_path, monkeypatch):
    kept = json.loads((offline.folder / "units.json").read_text())
    assert kept["standardise_obs"] and kept["scale_rewards"] and len(kept["obs_std"]) == 1
    # As measured elsewhere: another machine, another version of the statistics.
    monkeypatch.setattr("moore.runs.setup.units_for", lambda *_: pytest.fail("measured anew"))
    given = {"dataset": log_in(**OTHER), "env": partial(env_in, **OTHER), "quiet": True}
    online = tmp_path / "online"
    config = config_of("awac")
    stop = lambda row, state: row["epoch"] == 1  # noqa: E731
    run(config, **given, out=online, stages="online", start_from=offline.folder, until=stop)
    assert json.loads((online / "units.json").read_text()) == kept
    again = resume(online, **{name: given[name] for name in ("env", "dataset")}, quiet=True)
    assert again.policy.units == offline.policy.units
    assert metrics_of(online)[-1]["epoch"] == 2


@pytest.mark.parametrize("name", ON)
def test_an_online_stage_in_other_units_is_refused(offline, tmp_path, name):
    config = replace(config_of("awac"), **{name: False})
    with pytest.raises(InputError, match=f"learned with {name} = true .*, and now false is"):
        run(
            config,
            dataset=log_in(**OTHER),
            env=partial(env_in, **OTHER),
            out=tmp_path / "online",
            stages="online",
            start_from=offline.folder,
            quiet=True,
        )
    assert not (tmp_path / "online").exists()


@pytest.mark.parametrize(
    ("text", "what"),
    [(None, "standardise_obs = false"), ("{", "cannot be read"), ("[]", "cannot be read")],
)
def test_a_run_whose_units_are_lost_is_not_resumed_in_others(offline, tmp_path, text, what):
    folder = tmp_path / "run"
    shutil.copytree(offline.folder, folder)
    (folder / "units.json").unlink()
    if text is not None:
        (folder / "units.json").write_text(text)
    with pytest.raises(InputError, match=what):
        resume(folder, dataset=log_in(**OTHER), env=partial(env_in, **OTHER), quiet=True)


def test_an_online_stage_in_another_environment_is_refused(offline, tmp_path):
    config = replace(config_of("awac"), env_id="Pendulum-v1", dataset="builtin:pendulum-medium")
    with pytest.raises(InputError, match=r"of 1 entries .*, and the environment has 3"):
        run(config, out=tmp_path / "run", stages="online", start_from=offline.folder, quiet=True)


def test_where_nothing_is_changed_there_is_no_such_file(tmp_path):
    config = replace(config_of("sac"), standardise_obs=False, scale_rewards=False)
    run(replace(config, online=replace(config.online, epochs=0)), env=ENV, out=tmp_path / "run")
    assert not (tmp_path / "run" / "units.json").exists()


# --- What the user gives, and what is asked of him, is in his ---


def ends_above_390(obs, action, next_obs):
    return (next_obs[0] > 390.0) & (action[0] > 1.0)


def test_a_rule_sees_the_users_units_and_is_the_same_for_the_same_units():
    config = replace(config_of("moore"), termination="test_units:ends_above_390")
    log = log_in(**OTHER)
    ended = np.asarray(jax.vmap(ends_above_390)(log.obs, log.action, log.next_obs))
    log = replace(log, terminated=ended, truncated=log.truncated & ~ended)  # as the rule has it
    rules = [
        prepare(config, dataset=log, env=partial(env_in, **OTHER)).learner.task.terminated_fn
        for _ in range(2)
    ]
    units = measured(log_in(**OTHER).obs, log_in(**OTHER).reward, **ON)
    obs = units.obs_in(np.asarray([[380.0], [389.9], [390.1], [390.1]], np.float32))
    action = np.asarray([[0.6], [0.6], [0.6], [0.4]], np.float32)  # of a range of 2 on either side

    @partial(jax.jit, static_argnames="rule")
    def ends(obs, action, *, rule):
        return jax.vmap(rule)(obs, action, obs)

    for rule in rules:
        np.testing.assert_array_equal(ends(obs, action, rule=rule), [False, False, True, False])
    assert ends._cache_size() == 1, "compiled once for both"
    assert rules[0] != replace(rules[1], units=replace(units, obs_mean=(0.0,)))


def test_a_users_scheme_sees_his_units():
    learner = prepare(config_of("awac"), dataset=log_in(**OTHER), env=ENV).learner
    log, seen = log_in(**OTHER), {}
    state = learner.init(jax.random.key(0))

    def look(d, t):
        seen[t] = d
        return np.ones(len(d.reward))

    scheme = RowScheme("look", look)
    each_row(scheme, 1, learner.offline, state.online, 0, learner.units)
    shift(scheme, 2, learner.offline, state.online, 0, learner.units)
    task = replace(learner.task, scheme=scheme)
    task.draws(Moment("online", 3, state.agent, state.online))
    for t in (1, 2, 3):
        np.testing.assert_allclose(seen[t].obs, log.obs, rtol=1e-5)
        np.testing.assert_allclose(seen[t].next_obs, log.next_obs, rtol=1e-5)
        np.testing.assert_allclose(seen[t].reward, log.reward, rtol=1e-5)
        assert seen[t].episode_return[0] == pytest.approx(log.reward[:20].sum(), rel=1e-5)


def test_what_was_really_earned_is_told_in_his_units_and_compared_in_the_agents(monkeypatch):
    gate = replace(tiny_config().gate, enabled=True, earned=True, penalised=False)
    learner = prepare(config_of("moore", gate=gate), dataset=log_in(**OTHER), env=ENV).learner
    state = learner.hand_over(learner.init(jax.random.key(0)))
    asked = []

    def compare_policies(acting, *_, bar, **__):
        asked.append(float(bar))
        return jnp.asarray(False), acting, {"gate/bar": bar}

    monkeypatch.setattr("moore.experience.imagination.compare_policies", compare_policies)
    _, metrics = pass_gate(learner, state, 1, [-2e4, -4e4])
    assert asked == [pytest.approx(-3e4 * learner.units.reward_scale)]
    assert float(learner.reported(metrics)["gate/bar"]) == pytest.approx(-3e4)


def test_returns_that_count_as_0_and_1_are_given_in_his():
    settings = replace(
        AGENT_SETTINGS["adaptive_bc"]["adaptive_bc"], return_low=-5e4, return_high=0.0
    )
    config = replace(config_of("adaptive_bc"), adaptive_bc=settings)
    setup = prepare(config, dataset=log_in(**OTHER), env=ENV)
    scale = setup.units.reward_scale
    assert setup.config.adaptive_bc.return_low == -5e4
    assert setup.learner.agent_config.return_low == pytest.approx(-5e4 * scale)
    assert setup.learner.agent_config.return_high == 0.0


def test_the_live_system_is_seen_in_the_agents_units_and_its_returns_in_his():
    setup = prepare(config_of("awac"), dataset=log_in(**OTHER), env=partial(env_in, **OTHER))
    told, plain = (
        Collector(setup.world.make_env(), 0, units=units) for units in (setup.units, AS_GIVEN)
    )
    for step in range(20):
        action = np.full(1, 0.1 * (-1) ** step, np.float32)
        np.testing.assert_array_equal(told.observation(), setup.units.obs_in(plain.observation()))
        seen, raw = told.step(action), plain.step(action)
        np.testing.assert_array_equal(seen.next_obs, setup.units.obs_in(raw.next_obs))
        np.testing.assert_allclose(seen.reward, raw.reward * setup.units.reward_scale, rtol=1e-6)
    assert told.take_episode_returns() == plain.take_episode_returns()
    np.testing.assert_array_equal(told.running_episode().obs, plain.running_episode().obs)
    told.step(action)
    again = Collector(setup.world.make_env(), 0, units=setup.units)
    assert again.restore(told.running_episode())
    np.testing.assert_array_equal(again.observation(), told.observation())


def test_numbers_of_values_are_his_where_uncertainty_is_one_of_values():
    units, told = Units(reward_scale=0.25), {"model/uncertainty_mean": 1.0, "gate/bar": None}
    assert in_users_units(told, units, uncertainty="std") == told
    scaled = in_users_units(told, units, uncertainty="value")
    assert scaled == {"model/uncertainty_mean": 4.0, "gate/bar": None}
    iqls = {"losses/q_target": 3.0, "losses/reward_scale": 8.0}
    told = in_users_units(iqls, units, uncertainty="std")
    assert told == {"losses/q_target": 3.0, "losses/reward_scale": 2.0}


def test_a_trainings_rows_are_his(tmp_path):
    config = config_of("sac", env_id="Pendulum-v1")
    online = replace(config.online, epochs=1, steps_per_epoch=30, refit_every=30, random_steps=30)
    training = SACTraining(tmp_path / "run", replace(config, online=online), quiet=True)
    training.advance(lambda rows: True)
    rows = training.buffer(30)
    assert np.hypot(rows.obs[:, 0], rows.obs[:, 1]) == pytest.approx(1.0, abs=1e-4), "an angle"
    assert rows.reward.min() < -1.5


# --- The bound on imagined observations ---


@pytest.mark.parametrize("standardised", [False, True])
def test_imagination_ends_so_many_of_the_logs_deviations_from_its_mean(standardised):
    settings = {"standardise_obs": standardised, "termination": "never", "imagined_bound": 1.5}
    learner = prepare(config_of("moore", **settings), dataset=log_in(**OTHER), env=ENV).learner
    log = log_in(**OTHER)
    state, metrics = imagine(learner, learner.init(jax.random.key(3)), 1, 200)
    kept = np.asarray(state.experience.imagined.data.next_obs)[
        : int(state.experience.imagined.size)
    ]
    kept = learner.units.obs_out(kept)
    away = np.abs(kept - log.obs.mean()) / log.obs.std()
    assert 0 < len(kept) < 600 and float(metrics["model/imagined_dropped"]) > 0
    assert 1.2 < away.max() < 1.5


def test_an_infinite_bound_asks_for_nothing():
    assert prepare(config_of("moore"), dataset=log_in(), env=ENV).learner.models.spread is None


# --- Which runs have them ---


def test_they_are_on_where_logs_of_any_units_are_brought_and_off_in_the_papers_runs():
    for name in preset_names():
        config = preset(name)
        on = name in ("quickstart", "plant") or name.startswith(("quick/", "laptop/"))
        assert (config.standardise_obs, config.scale_rewards) == (on, on), name
    assert not preset("laptop/hopper-medium", algorithm="moore").standardise_obs
    assert preset("quick/pendulum", algorithm="iql").standardise_obs
    assert not preset("paper/hopper-medium", algorithm="moore_robust").scale_rewards
