"""Does a log belong to an environment: states put back, one step each."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest

from moore.data.dataset import from_log
from moore.data.log import Log
from moore.envs.make import make_env
from moore.envs.simulator import env_facts, quiet_mujoco
from moore.errors import InputError
from moore.formats.load import read_log
from moore.inspecting.replay_check import replay_check

LOGS = Path(__file__).resolve().parents[2] / "shared" / "data"


@cache
def record(env_id: str, rows: int = 500) -> Log:
    """A log of mild random actions, with the simulator's states as infos."""
    with quiet_mujoco():
        env = make_env(env_id)
    rng, columns = np.random.default_rng(0), []
    obs, _ = env.reset(seed=0)
    for _ in range(rows):
        action = rng.uniform(-0.6, 0.6, env.action_space.shape).astype(np.float32)
        data = getattr(env.unwrapped, "data", None)
        qpos, qvel = (data.qpos.copy(), data.qvel.copy()) if data is not None else ([0.0], [0.0])
        next_obs, reward, terminated, truncated, _ = env.step(action)
        columns.append((obs, env.action(action), reward, terminated, truncated, next_obs))
        columns[-1] += (qpos, qvel)
        obs = next_obs
        if terminated or truncated:
            obs, _ = env.reset()
    arrays = [np.array(column) for column in zip(*columns, strict=True)]
    obs, action, reward, terminated, truncated, next_obs, qpos, qvel = arrays
    return Log(
        obs=obs.astype(np.float32),
        action=action.astype(np.float32),
        reward=reward.astype(np.float32),
        terminated=terminated,
        truncated=truncated & ~terminated,
        next_obs=next_obs.astype(np.float32),
        name=env_id,
        env_id=env_id,
        infos={"qpos": qpos, "qvel": qvel},
    )


def bare(env_id: str) -> Log:
    """The log without the simulator's states, as most logs are."""
    return replace(record(env_id), infos={})


# --- Logs that fit ---


@pytest.mark.parametrize(
    "env_id",
    [
        "HalfCheetah-v5",
        "Hopper-v4",
        "Hopper-v5",
        "InvertedDoublePendulum-v5",
        "InvertedPendulum-v5",
        "MountainCarContinuous-v0",
        "Pendulum-v1",
        "Swimmer-v5",
        "Walker2d-v4",
        "Walker2d-v5",
    ],
)
def test_states_come_back_from_observations(env_id):
    found = replay_check(bare(env_id), rows=200)
    assert found["fits_all"] and found["verdict"].startswith(f"The log fits {env_id}")
    assert found["obs"]["within"] == found["flags_agree"] == 1.0
    assert found["obs"]["median"] <= found["obs"]["p90"] <= found["obs"]["p99"] <= 1e-3
    assert found["state_from"] == "observation" and found["explanations"] == []
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_half_cheetah_has_the_same_dynamics_in_v4_and_v5():
    assert replay_check(bare("HalfCheetah-v5"), env_id="HalfCheetah-v4")["fits_all"]


def test_rows_with_clipped_velocities_are_left_out_and_counted():
    log = bare("Walker2d-v5")
    clipped = (np.abs(log.obs[:, 8:]) >= 10).any(axis=1).sum()
    assert clipped > 0, "else this shows nothing"
    found = replay_check(log, rows=log.size)
    assert found["skipped"]["clipped_velocity"] == clipped
    assert found["rows"] == log.size - clipped


def test_rows_that_are_not_finite_are_left_out():
    log = bare("Pendulum-v1")
    reward = log.reward.copy()
    reward[:100] = np.nan
    found = replay_check(replace(log, reward=reward), rows=log.size)
    assert (found["skipped"]["not_finite"], found["rows"], found["fits_all"]) == (100, 400, True)


def test_without_stored_successors_the_next_rows_are_compared():
    log = replace(bare("Hopper-v5"), next_obs=None)
    assert log.terminated.sum() > 5, "whose next rows are no successors"
    assert replay_check(log, rows=log.size)["fits_all"]


def test_a_data_set_can_be_checked_too():
    assert replay_check(from_log(bare("Pendulum-v1")), rows=50)["fits_all"]


def test_the_draw_follows_the_seed():
    first, again, other = (replay_check(bare("Pendulum-v1"), rows=20, seed=s) for s in (1, 1, 2))
    assert first == again and first["obs"] != other["obs"]


# --- Logs that do not ---


def test_walker2d_of_v5_does_not_fit_v4_whose_friction_differs():
    found = replay_check(bare("Walker2d-v5"), env_id="Walker2d-v4")
    assert not found["fits"]["obs"]
    assert "does not fit" in found["verdict"] and "Try Walker2d-v5, which fits." in found["verdict"]


def test_the_alive_bonus_of_the_terminal_step_tells_hopper_v5_from_v4():
    found = replay_check(bare("Hopper-v5"), env_id="Hopper-v4")
    assert found["fits"]["obs"] and found["fits"]["flags"]
    assert not found["fits"]["terminal_reward"]
    assert "Try Hopper-v5, which fits." in found["verdict"]


@pytest.mark.parametrize(
    ("shift", "named"), [(1, "the action of the row after"), (-1, "the action of the row before")]
)
def test_actions_shifted_by_a_row_are_detected(shift, named):
    log = bare("HalfCheetah-v5")
    found = replay_check(replace(log, action=np.roll(log.action, shift, axis=0)))
    assert not found["fits"]["obs"] and found["obs"]["within"] < 0.01
    assert f"With {named} it fits." in found["verdict"]


def test_scaled_rewards_are_detected_and_the_scale_is_told():
    log = bare("Hopper-v5")
    found = replay_check(replace(log, reward=0.1 * log.reward))
    assert found["fits"]["obs"] and not found["fits"]["reward"]
    assert "reward is 0.1 times the environment's." in found["verdict"]
    shifted = replay_check(replace(log, reward=2 * log.reward - 3))
    assert "2 times the environment's -3." in shifted["verdict"]


def test_rewards_that_no_scale_explains_get_none():
    log = bare("Hopper-v5")
    noisy = log.reward + np.random.default_rng(0).normal(size=log.size)
    found = replay_check(replace(log, reward=noisy))
    assert found["reward_line"] is None and "reward off by" in found["verdict"]
    assert replay_check(log)["reward_line"] is None, "it is the environment's own"


def test_actions_that_were_scaled_for_a_network_are_detected():
    log = bare("Pendulum-v1")
    found = replay_check(replace(log, action=log.action / 2))
    assert "With the action scaled from [-1, 1] to its bounds it fits." in found["verdict"]


def test_terminal_flags_are_compared():
    log = bare("Hopper-v5")
    found = replay_check(replace(log, terminated=np.zeros(log.size, bool)), rows=log.size)
    assert found["fits"]["obs"] and not found["fits"]["flags"]
    assert "terminal flags agree in" in found["verdict"]


def test_terminal_rows_are_drawn_besides_so_that_rare_ones_are_seen():
    found = replay_check(bare("Hopper-v5"), rows=10)
    assert found["rows"] == 10 and found["terminal_rows"] >= 10


def test_another_plants_rows_do_not_fit_and_nothing_is_promised():
    log = bare("Pendulum-v1")
    noise = np.random.default_rng(0).normal(size=log.obs.shape)
    found = replay_check(replace(log, next_obs=log.obs + noise))
    assert "does not fit Pendulum-v1" in found["verdict"]
    assert "Try" not in found["verdict"] and "With" not in found["verdict"]


# --- Stored states ---


def test_stored_states_are_preferred_and_need_no_way_back():
    found = replay_check(record("HalfCheetah-v5"), rows=100)
    assert found["state_from"] == "infos qpos and qvel" and found["infos_offset"] == 0
    assert found["fits_all"] and found["obs"]["median"] < 1e-6
    pusher = replay_check(record("Pusher-v5"), rows=100)
    assert pusher["state_from"] == "infos qpos and qvel" and pusher["fits_all"]


@pytest.mark.parametrize(("offset", "side"), [(-1, "earlier"), (1, "later")])
def test_states_that_are_stored_a_row_off_are_found_and_told(offset, side):
    log = record("HalfCheetah-v5")
    infos = {key: np.roll(value, offset, axis=0) for key, value in log.infos.items()}
    found = replay_check(replace(log, infos=infos), rows=100)
    assert found["infos_offset"] == offset and found["fits_all"]
    assert f"one row {side}" in found["verdict"]
    errors = found["infos_offset_errors"]
    assert errors[str(offset)] < 1e-4 < 0.05 < errors["0"]


def test_states_of_something_else_are_not_used():
    log = record("HalfCheetah-v5")
    rng = np.random.default_rng(0)
    infos = {key: rng.normal(size=value.shape) for key, value in log.infos.items()}
    found = replay_check(replace(log, infos=infos), rows=100)
    assert found["infos_offset"] is None and found["state_from"] == "observation"
    assert min(found["infos_offset_errors"].values()) > 0.05 and found["fits_all"]


def test_states_are_found_in_a_file_in_d4rls_layout(tmp_path):
    log = record("HalfCheetah-v5")
    with h5py.File(tmp_path / "log.hdf5", "w") as file:
        file["observations"], file["actions"], file["rewards"] = log.obs, log.action, log.reward
        file["terminals"], file["timeouts"] = log.terminated, log.truncated
        file["infos/qpos"], file["infos/qvel"] = log.infos["qpos"], log.infos["qvel"]
    read = read_log(tmp_path / "log.hdf5", infos=True, exact=True)
    found = replay_check(read, env_id="HalfCheetah-v4", rows=100)
    assert found["state_from"] == "infos qpos and qvel" and found["fits_all"]


# --- Refusals ---


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (lambda: bare("Pusher-v5"), {}, "no way is known .* Hopper, .* infos/qpos"),
        (lambda: replace(bare("Pendulum-v1"), env_id=None), {}, "names no environment .*--env-id"),
        (lambda: bare("Pendulum-v1"), {"env_id": "Hopper-v5"}, "3 observation .* 11 and 3"),
        (lambda: bare("Pendulum-v1"), {"env_id": "Nothing-v0"}, "cannot be made"),
        (lambda: bare("Pendulum-v1"), {"rows": 0}, "rows is 0; expected at least 1"),
        (
            lambda: replace(bare("Pendulum-v1"), reward=np.full(500, np.nan)),
            {},
            "none of 500 rows .*not finite: 500",
        ),
    ],
)
def test_what_cannot_be_checked_is_told_in_one_line(given, options, message):
    with pytest.raises(InputError, match=message) as error:
        replay_check(given(), **options)
    assert "\n" not in str(error.value)


# --- Facts and real logs ---


def test_facts_of_an_environment():
    facts = env_facts("Pendulum-v1")
    assert (facts.obs_dim, facts.step_limit) == (3, 200)
    assert (facts.action_low.tolist(), facts.action_high.tolist()) == ([-2], [2])


def test_old_models_leave_no_warning_behind(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    env_facts("HalfCheetah-v4")
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name",
    [
        f"{env}-{tier}"
        for env in ("hopper", "halfcheetah")
        for tier in ("random", "medium", "medium-replay", "expert")
    ],
)
def test_real_logs_fit_the_environment_that_they_name(name):
    path = LOGS / f"{name}.hdf5"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the repository (../shared/data)")
    found = replay_check(read_log(path), rows=300)
    assert found["fits_all"] and found["obs"]["p99"] < 1e-4
