"""Logs as people have them: other names, lying arrays, odd paths, files in use, no home."""

import builtins
import os
import pwd
import subprocess
import sys
from dataclasses import replace

import gymnasium
import h5py
import numpy as np
import pytest

from made_plant_logs import D4RL, plant_log, save_hdf5, save_npz
from moore import cli
from moore.errors import InputError
from moore.formats.load import load_dataset, read_log
from moore.formats.look_alikes import may_mean
from moore.formats.names import split_names

THINNED = {"episodes": 10, "length": 20}


def same(data, log) -> None:
    for key in ("obs", "action", "reward", "next_obs"):
        np.testing.assert_array_equal(getattr(data, key), getattr(log, key).astype(np.float32))
    np.testing.assert_array_equal(data.truncated, log.truncated)


# --- Names ---

NEXT = ("next_obs", "next_states", "new_observations", "observations_next", "NextObs", "s2",
        "next-observation", "successor_states", "obs_tp1", "observations_", "nextObs")  # fmt: skip
TIMEOUTS = ("truncated", "truncations", "dones", "done", "time_outs", "TimeLimit.truncated")


@pytest.mark.parametrize("name", NEXT)
def test_an_array_that_may_hold_the_successors_is_not_passed_over(name, tmp_path):
    log = plant_log(**THINNED)
    path = save_hdf5(tmp_path / "log.hdf5", log, names={"next_obs": name})
    with pytest.raises(InputError, match=r"no array next_observations, but .*rename it"):
        load_dataset(path)
    name = "next_observations" if name == "next_obs" else name
    path = save_npz(tmp_path / "log.npz", log, names={"next_obs": name})
    with pytest.raises(InputError, match=r"no array next_obs, but .*rename it to next_obs"):
        load_dataset(path)


@pytest.mark.parametrize("name", TIMEOUTS)
def test_an_array_that_may_hold_the_time_outs_is_not_passed_over(name, tmp_path):
    path = save_hdf5(tmp_path / "log.hdf5", plant_log(**THINNED), names={"truncated": name})
    with pytest.raises(InputError, match="no array timeouts"):
        read_log(path)


@pytest.mark.parametrize(
    ("key", "name"),
    [("reward", "reward"), ("action", "act"), ("terminated", "dones"), ("obs", "states"),
     ("reward", "rewards_")],
)  # fmt: skip
def test_what_is_missing_comes_with_the_name_that_it_may_have(key, name, tmp_path):
    path = save_hdf5(tmp_path / "log.hdf5", plant_log(**THINNED), names={key: name})
    with pytest.raises(InputError, match=f"{D4RL[key]} may be '{name}'"):
        load_dataset(path)
    path = save_npz(tmp_path / "log.npz", plant_log(**THINNED), names={key: f"{name}_x"})
    with pytest.raises(InputError, match=f"arrays {key} missing"):
        load_dataset(path)


def test_other_arrays_are_left_alone_and_named(tmp_path, capsys):
    log = plant_log(**THINNED)
    path = save_hdf5(tmp_path / "log.hdf5", log)
    with h5py.File(path, "r+") as file:
        file["valve"], file["{brace}"] = log.obs, log.reward
        file["version"] = 3
    same(load_dataset(path), log)
    cli.main(["inspect", path])
    text = capsys.readouterr().out
    assert "not read: valve, {brace}." in text or "not read: {brace}, valve." in text
    for name in ("observations", "valve", "obs", "reward", "infos", "goal", "next"):
        assert not may_mean(name, "next_obs", "next_observations"), name


# --- Arrays that lie ---


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("vectors", ["(n,)", "(1, n)", "(n, 1)"])
def test_what_matlab_writes_is_read_the_other_way_round(vectors, chunked, tmp_path):
    log = plant_log(dim=3, **THINNED)
    shape = {"(n,)": (200,), "(1, n)": (1, 200), "(n, 1)": (200, 1)}[vectors]
    arrays = {D4RL[key]: getattr(log, key) for key in D4RL}
    arrays = {k: x.T if x.ndim == 2 else x.reshape(shape) for k, x in arrays.items()}
    with h5py.File(tmp_path / "log.h5", "w") as file:
        for key, value in arrays.items():
            how = {"chunks": (1, 50)} if chunked and value.ndim == 2 and value.shape[0] < 4 else {}
            file.create_dataset(key, data=value, **how)
    path = str(tmp_path / "log.h5")
    data = load_dataset(path)
    same(data, log)
    assert "transposed, as MATLAB writes them" in data.metadata["notes"][0]
    raw = read_log(path, exact=True, fraction=0.5)
    assert raw.obs.shape == (100, 3) and raw.obs.dtype == np.float64
    names = {name: key for key, name in D4RL.items()}
    np.savez(tmp_path / "log.npz", **{names[key]: value for key, value in arrays.items()})
    same(load_dataset(str(tmp_path / "log.npz")), log)
    assert load_dataset(str(tmp_path / "log.npz"), max_rows=40).size == 40


def test_inspect_says_that_arrays_lie_and_what_is_unsure_is_refused(tmp_path, capsys):
    log = plant_log(dim=1, **THINNED)
    path = tmp_path / "log.npz"
    np.savez(path, **{key: np.atleast_2d(getattr(log, key).T) for key in D4RL})
    cli.main(["inspect", str(path)])
    assert "note: the arrays action, next_obs, obs" in capsys.readouterr().out
    np.savez(path, **{key: getattr(log, key) for key in D4RL} | {"reward": log.obs.T[:, :100]})
    with pytest.raises(InputError, match=r"\(1, 100\)"):
        load_dataset(str(path))


# --- Paths ---


def test_commas_join_logs_unless_a_path_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = plant_log(**THINNED)
    (tmp_path / "a,b").mkdir()
    for name in ("a,b/log.npz", "c.npz", "d, e.npz"):
        save_npz(tmp_path / name, log)
    assert split_names("a,b/log.npz,c.npz") == ["a,b/log.npz", "c.npz"]
    assert split_names("c.npz, d, e.npz ,minari:x/y-v0") == ["c.npz", "d, e.npz", "minari:x/y-v0"]
    assert split_names("x.npz, y.npz") == ["x.npz", "y.npz"]
    assert load_dataset("a,b/log.npz").size == 200
    assert load_dataset("a,b/log.npz,c.npz,d, e.npz").size == 600
    assert read_log("a,b/log.npz").size == 200
    with pytest.raises(InputError, match="several logs"):
        read_log("c.npz,a,b/log.npz")


@pytest.mark.parametrize("name", ["log.npz", "LOG.NPZ", "log.HDF5", "Log.H5", "Prüfstand µ.h5"])
def test_a_tilde_is_the_home_and_suffixes_may_be_capital(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    log = plant_log(**THINNED)
    if name.lower().endswith("npz"):
        with open(tmp_path / name, "wb") as file:
            np.savez(file, **{key: getattr(log, key) for key in D4RL})
    else:
        save_hdf5(tmp_path / name, log)
    same(load_dataset(f"~/{name}"), log)
    cli.main(["inspect", f"~/{name}"])
    assert "200 rows" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    cli.main(["convert", f"~/{name}", "--out", "new.npz"])
    same(load_dataset("new.npz"), log)


def test_without_a_home_relative_paths_still_work(tmp_path, monkeypatch):
    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.chdir(tmp_path)
    save_hdf5("log.hdf5", plant_log(**THINNED))
    assert load_dataset("log.hdf5").size == 200
    with pytest.raises(InputError, match="no such file"):
        load_dataset("missing.hdf5")


def test_a_file_that_is_written_to_is_named_so(tmp_path, monkeypatch, capsys):
    path = save_hdf5(tmp_path / "log.hdf5", plant_log(**THINNED))
    code = f"import h5py, sys; f = h5py.File({path!r}, 'r+'); print(1, flush=True); input()"
    env = {key: value for key, value in os.environ.items() if key != "HDF5_USE_FILE_LOCKING"}
    recorder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, env=env)  # fmt: skip
    try:
        recorder.stdout.readline()
        with pytest.raises(InputError, match="another process has it open for writing"):
            load_dataset(path)
    finally:
        recorder.communicate(b"\n")
    assert load_dataset(path).size == 200


# --- Types ---


@pytest.mark.parametrize("dtype", ["f2", ">f4", ">f8", "i2", ">i8", "u8", "g"])
def test_numbers_of_every_kind_are_read_as_they_are(dtype, tmp_path):
    log = plant_log(**THINNED)
    whole = replace(log, obs=np.round(log.obs * 10), next_obs=np.round(log.next_obs * 10))
    whole = replace(whole, obs=whole.obs.astype(dtype), next_obs=whole.next_obs.astype(dtype))
    for path in (save_hdf5(tmp_path / "a.h5", whole), save_npz(tmp_path / "a.npz", whole)):
        same(load_dataset(path), whole)


@pytest.mark.parametrize("dtype", [complex, object, "U3", "M8[s]"])
def test_what_is_no_number_is_refused(dtype, tmp_path):
    log = plant_log(**THINNED)
    reward = np.zeros(200, int).astype(dtype)
    path = save_npz(tmp_path / "log.npz", replace(log, reward=reward))
    with pytest.raises(InputError, match=r"object arrays|expected numbers"):
        load_dataset(path)


# --- Environments that a log or the user names ---

PLANT = """
import gymnasium as gym, numpy as np
class Tank(gym.Env):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-0.5, 0.5, (1,), np.float32)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}
    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}
gym.register("ReadingTank-v0", entry_point=Tank, max_episode_steps=15)
"""


@pytest.fixture
def tank(tmp_path, monkeypatch):
    (tmp_path / "reading_tank.py").write_text(PLANT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield "reading_tank:ReadingTank-v0"
    sys.modules.pop("reading_tank", None)
    gymnasium.registry.pop("ReadingTank-v0", None)


def test_an_environment_of_a_module_is_checked_when_the_user_names_it(tank, capsys):
    save_hdf5("log.hdf5", plant_log(**THINNED))
    cli.main(["inspect", "log.hdf5", "--env-id", tank])
    text = capsys.readouterr().out
    assert f"an action outside the bounds of {tank}" in text
    assert f"past the 15 steps of {tank}" in text
    assert "names no environment" not in text and f"{tank}, as given" in text


def test_a_module_that_a_log_names_is_not_imported(tank, capsys, monkeypatch):
    save_hdf5("log.hdf5", plant_log(**THINNED), env_id=tank)
    imported = []
    plain = builtins.__import__

    def watched(name, *args, **kwargs):
        imported.append(name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", watched)
    cli.main(["inspect", "log.hdf5", "--replay-check"])
    text = capsys.readouterr().out
    assert "reading_tank" not in imported and "reading_tank" not in sys.modules
    assert f"if you trust it, say so with --env-id {tank}" in text
    assert "replay          not possible" in text and "--env-id ID" in text


def test_an_environment_that_cannot_be_made_is_told(tank, capsys, moore_refuses):
    save_hdf5("log.hdf5", plant_log(**THINNED), env_id="Pendulm-v1")
    assert "Pendulm" in moore_refuses("inspect log.hdf5 --env-id Pendulm-v1")
    cli.main(["inspect", "log.hdf5"])
    assert "cannot be checked: environment 'Pendulm-v1' cannot be made" in capsys.readouterr().out


def test_what_a_file_says_moves_no_cursor(tmp_path, capsys):
    path = save_hdf5(tmp_path / "log.hdf5", plant_log(**THINNED), env_id="a\x1b[31m\x07-v0")
    cli.main(["inspect", path])
    assert "\x1b" not in capsys.readouterr().out
    with pytest.raises(InputError) as error:
        load_dataset(path)
    assert str(error.value).isprintable()
