"""The examples that the documents are made with: what they run is sound."""

import ast
import csv
import importlib
import itertools
import sys
import tomllib
from pathlib import Path

import pytest

from desk import TINY, files

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import handover_factors
import live_system
import session

from moore.config import Config, from_dict
from moore.errors import InputError
from moore.presets import preset
from moore.runs.folder import read_metrics

OPTIONS = handover_factors.OPTIONS
# The scripts are tried without models, which would be most of what there is to compile.
SETTINGS = tomllib.loads(TINY) | {
    "algorithm": "awac",
    "awac": {"hidden": [8], "batch_size": 16},
    "offline": {"epochs": 1, "updates_per_epoch": 2},
}


ROOT = Path(__file__).parents[1]
SCRIPTS = [*(ROOT / "examples").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_a_script_takes_from_the_package_is_there(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("moore"):
            continue
        module = importlib.import_module(node.module)
        missing = [name.name for name in node.names if not hasattr(module, name.name)]
        for name in missing:
            importlib.import_module(f"{node.module}.{name}")


@pytest.mark.parametrize(
    ("task", "so_already"),
    [
        ("quick/inverted-pendulum", ["as it is"]),
        ("laptop/hopper-medium-expert", ["as it is", "a colder policy", "discount 0.99"]),
    ],
)
def test_every_option_is_one_thing_that_a_task_can_have(task, so_already):
    base = preset(task, algorithm="moore")
    assert len(OPTIONS) == len(handover_factors.ONLINE) + len(handover_factors.BOTH)
    same = [name for name in OPTIONS if handover_factors.with_option(name, base) == base]
    assert same == so_already


def test_the_script_runs_options_from_one_offline_stage_and_goes_on_where_it_stopped(
    desk, monkeypatch, capsys
):
    # Both options have the same programs.
    monkeypatch.setattr(handover_factors.jax, "clear_caches", lambda: None)
    online = {"steps_per_epoch": 4, "refit_every": 2}
    small = from_dict(SETTINGS | {"online": online}, base=Config())
    monkeypatch.setattr(handover_factors, "preset", lambda name, algorithm: small)
    line = "handover_factors.py any --dataset log.hdf5 --epochs 2 --seeds 3 4 --out out --only"
    monkeypatch.setattr("sys.argv", [*line.split(), "as it is", "half the updates"])
    handover_factors.main()
    assert sorted(path.name for path in (desk / "out").iterdir()) == [
        *("as-it-is__3", "as-it-is__4", "curves.csv", "factors.csv"),
        *("half-the-updates__3", "half-the-updates__4", "offline__3", "offline__4"),
    ]
    written = [(desk / "out" / name).read_text() for name in ("factors.csv", "curves.csv")]
    factors, epochs = (list(csv.DictReader(text.splitlines())) for text in written)
    assert {row["preset"] for row in factors + epochs} == {"any"}
    assert [(row["option"], row["seed"]) for row in factors] == [
        (option, seed) for option in ("as it is", "half the updates") for seed in ("3", "4")
    ]
    assert [row["epoch"] for row in epochs] == ["0", "1", "2"] * 4
    shared = {(row["seed"], row["eval_return"]) for row in epochs if row["epoch"] == "0"}
    assert len(shared) == 2, "both options begin with the hand-over of their seed"
    for row in factors:
        (start,) = (value for seed, value in shared if seed == row["seed"])
        assert float(row["offline"]) == float(start)
    before = files(desk / "out")
    handover_factors.main()
    assert files(desk / "out") == before
    monkeypatch.setattr("sys.argv", [*line.replace("--epochs 2", "--epochs 3").split(), "as it is"])
    with pytest.raises(InputError, match="holds another run"):
        handover_factors.main()


def test_the_table_of_the_documents_holds_these_options():
    path = Path(__file__).parents[1] / "docs" / "results" / "handover-factors.csv"
    with open(path, newline="") as file:
        assert {row["option"] for row in csv.DictReader(file)} <= set(OPTIONS)


class TestLiveSystem:
    def go(self, monkeypatch, folder, *, lowest) -> list[int]:
        """Runs the script for up to three online epochs; returns those that there are."""
        settings = SETTINGS | {"dataset": "builtin:pendulum-medium"}
        settings["online"] = {
            **{"epochs": 3, "steps_per_epoch": 300, "refit_every": 300},
            "updates_per_step": 1,
        }
        small = from_dict(settings, base=Config())
        monkeypatch.setattr(live_system.moore, "preset", lambda name: small, raising=False)
        monkeypatch.setattr("sys.argv", ["", "--out", str(folder), "--lowest", str(lowest)])
        live_system.main()
        rows = read_metrics(folder / "online" / "metrics.jsonl")
        assert not any(key.startswith("eval/") for row in rows for key in row)
        return [row["epoch"] for row in rows if row["stage"] == "online"]

    def test_a_bad_policy_is_stopped_after_two_epochs_and_stays_so(
        self, monkeypatch, tmp_path, capsys
    ):
        for _ in range(2):
            assert self.go(monkeypatch, tmp_path, lowest=0) == [0, 1, 2]
        assert "'episodes': 3" in capsys.readouterr().out

    def test_interrupted_it_goes_on_and_remembers_a_low_epoch(self, monkeypatch, tmp_path):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            stepped, taken = live_system.Plant.step, itertools.count()

            def step(plant, action):
                if next(taken) == 400:
                    raise KeyboardInterrupt
                return stepped(plant, action)

            patched.setattr(live_system.Plant, "step", step)
            self.go(patched, tmp_path, lowest=0)
        assert self.go(monkeypatch, tmp_path, lowest=0) == [0, 1, 2]

    def test_a_good_one_goes_on_to_the_end(self, monkeypatch, tmp_path):
        assert self.go(monkeypatch, tmp_path, lowest=-1e9) == [0, 1, 2, 3]


def test_the_tank_is_controlled_from_its_log_and_every_step_is_kept(desk, monkeypatch, capsys):
    small = SETTINGS | {"online": {"steps_per_epoch": 24, "refit_every": 12, "updates_per_step": 1}}
    small |= {"evaluation": {"episodes": 0}, "standardise_obs": True}
    monkeypatch.setattr(session, "settings", lambda: from_dict(small, base=Config()))
    monkeypatch.setattr("sys.argv", ["session.py", "--out", "tank", "--days", "2"])
    session.main()
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("day 0: return ") and told[0].endswith("then 24 updates")
    assert told[-1].startswith("48 steps of 2 days are in ")
