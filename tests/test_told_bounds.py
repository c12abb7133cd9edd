"""Learning for a plant without an environment by the command line: its bounds are told."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from desk import LOG, TINY
from moore import Session, load_policy
from moore.config import Config, EvaluationConfig
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.envs.plant_spec import PlantSpec
from moore.errors import InputError
from moore.runs.world import find_world

BOUNDS = "--action-low -2 --action-high 2"


@pytest.fixture
def plant(desk) -> Path:
    """The folder of somebody who has a table, a map of its columns, and no environment."""
    rows = zip(*LOG["observations"].T, LOG["actions"][:, 0], LOG["rewards"], strict=True)
    lines = [",".join(f"{x:.6f}" for x in row) for row in rows]
    batches = [f"{line},{row // 20}" for row, line in enumerate(lines)]
    (desk / "plant.csv").write_text("\n".join(["a,b,c,valve,earned,batch", *batches]) + "\n")
    columns = ['obs = ["a", "b", "c"]', 'action = ["valve"]', 'reward = "earned"']
    (desk / "map.toml").write_text("\n".join([*columns, 'episode = "batch"']) + "\n")
    tiny = TINY.replace('dataset = "log.hdf5"\nenv_id = "Pendulum-v1"\n', 'termination = "never"\n')
    (desk / "tiny.toml").write_text(tiny.replace("episodes = 1", "episodes = 0"))
    return desk


def test_a_table_and_bounds_are_enough_to_learn_and_to_begin_a_session(plant, moore_prints):
    given = "--dataset plant.csv --columns map.toml"
    line = f"run tiny.toml {given} {BOUNDS} --out station --json"
    summary = json.loads(moore_prints(line))
    assert summary["offline"] is not None
    assert np.abs(load_policy("station")(LOG["observations"][0])) <= 2.0
    moore_prints("run --resume station --json")  # it needs to be told nothing again
    with Session.from_run("station", "session", accept=("hand-over", "first-observation")) as one:
        assert np.abs(one.act(LOG["observations"][0])) <= 2.0


def test_what_a_run_would_do_is_its_offline_stage_alone(plant, moore_prints):
    given = "--dataset plant.csv --columns map.toml"
    facts = json.loads(moore_prints(f"run tiny.toml {given} {BOUNDS} --dry-run --json"))
    assert facts["stages"] == ["offline"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", ("names no environment", "--action-low", "from -1.88976 to 1.92295")),
        ("--action-low -2", ("action_low has 1 numbers and action_high 0",)),
        ("--action-low 2 --action-high -2", ("no more than the upper one",)),
        ("--action-low 0 0 --action-high 1 1", ("has 2 numbers", "plant.csv has 1")),
        (f"{BOUNDS} --env-id Pendulum-v1", ("leave out one of them",)),
        (f"{BOUNDS} --evaluation.episodes 2", ("--evaluation.episodes 0", "preset plant")),
    ],
)
def test_what_is_missing_is_said_in_a_line(flags, words, plant, moore_refuses):
    line = moore_refuses(f"run tiny.toml --dataset plant.csv --columns map.toml {flags}")
    assert all(word in line for word in words), line


def test_in_a_plant_of_which_only_signals_are_known_nothing_acts_online():
    none, zeros = np.zeros(4, bool), np.zeros((4, 1))
    arrays = {"obs": zeros, "action": zeros, "reward": zeros[:, 0], "next_obs": zeros}
    log = from_log(Log(**arrays, terminated=none, truncated=np.arange(4) == 3, name="log"))
    config = Config(evaluation=EvaluationConfig(episodes=0))
    told = dataclasses.replace(config, action_low=(-2.0,), action_high=(2.0,))
    given = PlantSpec(1, action_low=[-2.0], action_high=[2.0])
    for one, env in ((told, None), (config, given)):
        assert find_world(one, log, env=env, system=None, acts=False).obs_dim == 1
        with pytest.raises(InputError, match="run the offline stage alone"):
            find_world(one, log, env=env, system=None)
