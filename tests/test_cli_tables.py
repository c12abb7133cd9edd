"""moore inspect, convert and run on tables: the flags, the map beside the log, what is told."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from made_tables import write_csv
from moore.formats.load import read_log

ROWS = 80
FLAGS = "--obs a,b,c --action u --reward r --time t"
MAP = 'obs = ["a", "b", "c"]\naction = "u"\nreward = "r"\ntime = "t"\n'


@pytest.fixture
def plant(desk):
    """A log of Pendulum-v1's sizes with a gap after 40 rows, and no map."""
    rng = np.random.default_rng(0)
    columns = {key: rng.normal(size=ROWS).tolist() for key in "abcr"}
    columns["u"] = rng.uniform(-2, 2, ROWS).tolist()
    columns["t"] = [10 * i + 3600 * (i >= 40) for i in range(ROWS)]
    write_csv(desk / "plant.csv", columns)
    return desk


def test_inspect_tells_the_interval_and_the_gap(plant, moore_prints):
    out = moore_prints(f"inspect plant.csv {FLAGS}")
    assert "80 rows, 3 observation and 1 action dimensions" in out
    assert "note: a row every 10 s" in out
    assert "note: 1 gap" in out and "before line 42" in out
    found = json.loads(moore_prints(f"inspect plant.csv {FLAGS} --json"))
    assert found["episodes"] == 2 and found["metadata"]["obs_names"] == ["a", "b", "c"]


def test_the_map_is_a_file_beside_the_log_or_named_and_flags_prevail(plant, moore_prints):
    (plant / "columns.toml").write_text(MAP)
    beside = json.loads(moore_prints("inspect plant.csv --json"))
    flagged = json.loads(moore_prints("inspect plant.csv --gap-tolerance 1000 --json"))
    assert (beside["episodes"], flagged["episodes"]) == (2, 1)
    (plant / "columns.toml").rename(plant / "other.toml")
    named = json.loads(moore_prints("inspect plant.csv --columns other.toml --json"))
    assert named["sha256"] == beside["sha256"] != flagged["sha256"]


def test_convert_writes_what_the_table_holds_and_the_environment(plant, moore_prints):
    out = moore_prints(f"convert plant.csv {FLAGS} --env-id Pendulum-v1 --out plant.hdf5")
    assert "80 rows of Pendulum-v1" in out and "note: 1 gap" in out
    log, table = read_log("plant.hdf5"), read_log("plant.csv", columns=_map(plant))
    assert log.env_id == "Pendulum-v1"
    np.testing.assert_array_equal(log.obs, table.obs)
    np.testing.assert_array_equal(log.truncated, table.truncated)
    assert "note: 1 gap" in moore_prints("inspect plant.hdf5")


def _map(folder):
    (folder / "map.toml").write_text(MAP)
    return "map.toml"


def test_reward_is_a_column_or_a_function(plant, moore_prints, monkeypatch):
    monkeypatch.syspath_prepend(str(plant))
    (plant / "own_reward.py").write_text("def of(obs, action, next_obs): return next_obs[:, 0]")
    flags = FLAGS.replace("--reward r", "--reward own_reward:of")
    moore_prints(f"convert plant.csv {flags} --out plant.npz")
    log = read_log("plant.npz")
    np.testing.assert_allclose(log.reward, log.next_obs[:, 0])
    assert log.size == ROWS - 2
    assert "rewards are those of own_reward:of" in moore_prints("inspect plant.npz")


@pytest.mark.parametrize(
    "flags, message",
    [
        ("", "no column is named for obs, action, reward; the file has 'a', 'b', 'c'"),
        ("--columns absent.toml", "absent.toml: no such file; expected a column map"),
        (FLAGS.replace("--obs a,b,c", "--obs a,z"), "no column 'z'"),
        (f"{FLAGS} --reward-of before", "reward_of is 'before'; expected one of 'row', 'next'"),
        (
            FLAGS.replace("--reward r", "--reward absent_module:f"),
            "module absent_module cannot be imported",
        ),
        (f"{FLAGS} --window long", "window is 'long'"),
    ],
)
@pytest.mark.parametrize("command", ["inspect plant.csv", "convert plant.csv --out new.hdf5"])
def test_flags_that_do_not_fit_are_one_line(plant, moore_refuses, command, flags, message):
    assert message in moore_refuses(f"{command} {flags}")


def test_a_run_takes_map_and_function_from_its_configuration(plant, monkeypatch):
    from moore.config import Config, read_toml, to_toml
    from moore.runs.setup import prepare

    monkeypatch.syspath_prepend(str(plant))
    (plant / "own_rewards.py").write_text("def of(obs, action, next_obs): return obs[:, 0] * 2")
    config = Config(dataset="plant.csv", columns=_map(plant), reward="own_rewards:of")
    (plant / "config.toml").write_text(to_toml(replace(config, env_id="Pendulum-v1")))
    logs = [prepare(read_toml(plant / "config.toml")).dataset]
    (plant / "map.toml").write_text(MAP + "gap_tolerance = 1000.0\n")
    logs.append(prepare(read_toml(plant / "config.toml")).dataset)
    np.testing.assert_allclose(logs[0].reward, 2 * logs[0].obs[:, 0])
    assert [log.size for log in logs] == [ROWS - 2, ROWS - 1]
    assert logs[0].sha256 != logs[1].sha256  # so that a run is not resumed with another map
