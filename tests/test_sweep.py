"""moore sweep: the cells of a grid, shared offline stages, going on, and cells that fail."""

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import gymnasium as gym
import pytest

from moore import cli
from moore.agents.awac import AWACConfig
from moore.config import Config, OfflineConfig, OnlineConfig, from_dict, to_dict, to_toml
from moore.errors import InputError
from moore.formats.npz import write_npz
from moore.runs.folder import read_metrics
from moore.sweeps import grid as grids
from moore.sweeps import sweep as sweeps
from moore.sweeps.cell import Cell, limit_threads, run_cell
from moore.sweeps.grid import Grid, cells, read_grid
from moore.sweeps.sweep import sweep
from tiny import tiny_config, tiny_log

ENV_ID = "SweptLinear-v0"
gym.register(ENV_ID, entry_point="tiny:LinearGaussian", max_episode_steps=20)


def always(config):
    """In place of `preset`: this configuration, whatever the name."""
    return lambda name, algorithm="moore": dataclasses.replace(config, algorithm=algorithm)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The preset quickstart is the tiny task, in this process and in those it starts."""
    write_npz(tmp_path / "log.npz", tiny_log())
    tiny = tiny_config()
    few = {"hidden": (8,), "weight_decay": (0.0,) * 3, "members": 2, "elites": 1}
    model = dataclasses.replace(tiny.model, **few, max_fit_steps=20, max_refit_steps=2)
    # Every cell is a process that compiles all that it needs: as little as there can be.
    config = dataclasses.replace(
        tiny, env_id=ENV_ID, dataset=str(tmp_path / "log.npz"), diagnostics=False, model=model,
        sac=dataclasses.replace(tiny.sac, hidden=(8,)),
        awac=AWACConfig(hidden=(8,), batch_size=16),
        offline=OfflineConfig(epochs=1, updates_per_epoch=5, rollout_batch=20),
        online=OnlineConfig(epochs=1, steps_per_epoch=8, refit_every=4, rollout_batch=20),
        evaluation=dataclasses.replace(tiny.evaluation, episodes=2),
    )  # fmt: skip
    monkeypatch.setattr(grids, "preset", always(config))
    # The other process registers the task when it makes it: gymnasium imports the part before ":".
    return dataclasses.replace(config, env_id=f"test_sweep:{ENV_ID}")


def test_the_cells_are_every_combination_and_share_their_offline_stages(tmp_path):
    grid = Grid(schemes=("moore:1", "uniform"), alphas=(0.5,), seeds=(0, 1))
    planned = cells(grid, tmp_path)
    offline = [cell for cell in planned if cell.stages == "offline"]
    online = [cell for cell in planned if cell.stages == "online"]
    assert len(offline) == 2 and len(online) == 6
    assert planned[:2] == offline
    schemes = [from_dict(cell.config).online.scheme for cell in online]
    assert schemes == ["moore:1"] * 2 + ["uniform"] * 2 + ["moore:0.5"] * 2
    for cell in online:
        seed = from_dict(cell.config).seed
        assert cell.start_from == offline[seed].folder
    assert len({cell.folder for cell in planned}) == 8


def test_alphas_and_penalties_that_differ_in_their_last_digits_are_different_runs(tmp_path):
    close = (0.12345678, 0.123456781)
    planned = cells(
        Grid(schemes=(), algorithms=("moore",), alphas=close, penalties=close), tmp_path
    )
    online = [cell for cell in planned if cell.stages == "online"]
    assert len({cell.folder for cell in online}) == len(online) == 4
    configs = [from_dict(cell.config) for cell in online]
    schemes = {config.online.parsed_scheme().parameters["alpha"] for config in configs}
    assert schemes == {config.penalty_coef for config in configs} == set(close)
    told = {str(config.online.parsed_scheme()) for config in configs}
    assert told == {f"moore:{alpha}" for alpha in close}


def test_an_algorithm_without_a_log_has_a_run_of_its_own(tmp_path):
    planned = cells(Grid(algorithms=("naive", "sac")), tmp_path)
    assert [cell.stages for cell in planned] == ["offline", "online", "both"]


def test_without_algorithms_each_preset_runs_its_own(tmp_path):
    def run_by(**grid):
        return {from_dict(cell.config).algorithm for cell in cells(Grid(**grid), tmp_path)[-2:]}

    assert run_by(presets=("quickstart",), seeds=(0, 1)) == {"moore_safe"}
    assert run_by(presets=("quick/pendulum", "sac")) == {"moore_safe", "sac"}
    assert run_by(presets=("quickstart",), schemes=("uniform", "moore:1")) == {"moore"}


def test_variants_share_an_offline_stage_only_where_it_is_the_same(tmp_path):
    grid = Grid(
        presets=("laptop/hopper-medium",), seeds=(0,), schemes=("moore:1",),
        algorithms=("naive", "moore", "moore_robust", "no_penalty", "iql", "cql", "rlpd"),
    )  # fmt: skip
    planned = cells(grid, tmp_path)
    stages = {cell.folder: cell.config for cell in planned if cell.stages == "offline"}
    assert [Path(folder).name for folder in stages] == [
        f"Hopper-v5-hopper-medium__{name}0" for name in ("", "moore_robust__", "iql__", "cql__")
    ]
    for cell in planned:
        if cell.start_from:
            stage = stages[cell.start_from]
            for name in stage.keys() - {"online", "algorithm"}:
                assert stage[name] == cell.config[name], (cell.folder, name)


def test_each_penalty_has_offline_stages_of_its_own_and_what_has_no_models_runs_once(tmp_path):
    grid = Grid(algorithms=("moore", "rlpd"), alphas=(0.5, 1.0), penalties=(0.3, 2.0), seeds=(0,))
    planned = cells(grid, tmp_path)
    found = {Path(c.folder).name: (c.config["penalty_coef"], c.start_from) for c in planned}
    task = "Pendulum-v1-builtin-pendulum-medium"
    for penalty in (0.3, 2):
        name = f"{task}-penalty-{penalty:g}"
        stage = str(tmp_path / "offline" / f"{name}__0")
        assert found[f"{name}__0"] == (penalty, None)
        assert found[f"{name}__moore-0.5__0"] == found[f"{name}__moore-1__0"] == (penalty, stage)
    assert [name for name in found if "rlpd" in name] == [f"{task}__rlpd__0"]
    assert len(found) == 7


def test_each_task_has_offline_stages_of_its_own(tmp_path):
    grid = Grid(presets=("laptop/hopper-medium", "laptop/hopper-random"), schemes=("uniform",))
    assert [cell.stages for cell in cells(grid, tmp_path)] == ["offline"] * 2 + ["online"] * 2
    alone = cells(grid, tmp_path, share_offline=False)
    assert [cell.stages for cell in alone] == ["both"] * 2


def test_joined_logs_do_not_share_a_folder_with_the_first_of_them(tmp_path):
    grid = Grid(presets=("laptop/hopper-medium", "laptop/hopper-medium-expert"))
    names = {Path(cell.folder).name for cell in cells(grid, tmp_path) if cell.stages == "online"}
    assert names == {
        "Hopper-v5-hopper-medium__moore_safe__0",
        "Hopper-v5-hopper-medium+hopper-expert__moore_safe__0",
    }


@pytest.mark.parametrize(
    "twice",
    [
        {"seeds": (3, 3)},
        {"datasets": ("a/log.hdf5", "b/log.hdf5"), "presets": ("quickstart", "quickstart")},
    ],
    ids=repr,
)
def test_runs_that_would_share_a_folder_are_bad_input(twice, tmp_path):
    with pytest.raises(InputError, match=r"^2 runs of the grid would have the folder "):
        cells(Grid(**twice), tmp_path)


def test_settings_and_data_sets_go_over_the_preset(tmp_path):
    grid = Grid(datasets=("other.hdf5",), settings={"online": {"epochs": 3}})
    config = from_dict(cells(grid, tmp_path)[-1].config)
    assert (config.dataset, config.online.epochs) == ("other.hdf5", 3)


def test_the_setting_of_alpha_counts_where_a_scheme_leaves_it_open(tmp_path):
    grid = Grid(schemes=("moore",), settings={"online": {"alpha": 5.0}})
    config = from_dict(cells(grid, tmp_path)[-1].config)
    assert config.online.parsed_scheme().parameters["alpha"] == 5.0


def test_a_grid_from_a_file(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text('schemes = ["uniform"]\nseeds = [0, 3]\n[settings.online]\nepochs = 2\n')
    grid = read_grid(path)
    assert grid == Grid(schemes=("uniform",), seeds=(0, 3), settings={"online": {"epochs": 2}})


class Here:
    """In place of the pool of processes: a cell runs in this one when it is started."""

    room, pause = 2, 0.0

    def __init__(self, jobs):
        pass

    def start(self, cell):
        try:
            run_cell(cell)
        except InputError as error:
            return str(error)
        return ""

    def ended(self, process):
        return process

    def close(self):
        pass


def test_cells_run_go_on_and_are_found_done(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "_ProcessPool", Here)
    planned = cells(Grid(algorithms=("awac",)), tmp_path / "sweep")
    more = dataclasses.replace(from_dict(planned[1].config).online, updates_per_step=2)
    other = to_dict(dataclasses.replace(from_dict(planned[1].config), online=more))
    planned.append(dataclasses.replace(planned[1], folder=f"{planned[1].folder}-2", config=other))
    outcome = sweep(planned, quiet=True)
    assert outcome.done == [cell.folder for cell in planned]
    # The variants start from the very same policy.
    starts = {
        read_metrics(tmp_path / "sweep" / name / "metrics.jsonl")[1]["eval/return"]
        for name in (cell.folder for cell in planned[1:])
    }
    assert len(starts) == 1
    again = sweep(planned, quiet=True)
    assert sorted(again.done) == sorted(outcome.done)


def test_a_failed_cell_is_named_and_the_others_run(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "tests")
    monkeypatch.setattr(
        grids,
        "preset",
        lambda name, algorithm="moore": dataclasses.replace(tiny, algorithm=algorithm),
    )
    good = cells(Grid(algorithms=("sac",)), tmp_path / "sweep")
    broken = dict(good[0].config, dataset="missing.npz", algorithm="awac")
    bad = [Cell(str(tmp_path / "bad"), broken, "offline")]
    lost = [Cell(str(tmp_path / "lost"), broken, "online", bad[0].folder)]
    outcome = sweep([*bad, *lost, *good], jobs=2, quiet=True)
    assert list(outcome.failed) == [bad[0].folder]
    assert "missing.npz: no such file" in outcome.failed[bad[0].folder]
    assert outcome.skipped == [lost[0].folder]
    assert sorted(outcome.done) == sorted(cell.folder for cell in good)


def test_a_cell_of_other_settings_is_not_gone_on_with(tiny, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "plan.json").write_text("{}")
    (tmp_path / "run" / "config.toml").write_text(to_toml(tiny))
    other = cells(Grid(seeds=(7,)), tmp_path)[0].config
    with pytest.raises(InputError, match=r"holds another run \(.* is .*, not .*\)"):
        run_cell(Cell(str(tmp_path / "run"), other))


def test_a_finished_run_of_other_settings_is_not_the_cell(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text("{}")
    (tmp_path / "run" / "config.toml").write_text(to_toml(tiny))
    same = Cell(str(tmp_path / "run"), to_dict(tiny))
    longer = dataclasses.replace(tiny.online, epochs=tiny.online.epochs + 1)
    other = Cell(str(tmp_path / "run"), to_dict(dataclasses.replace(tiny, online=longer)))
    assert same.done
    assert not other.done
    assert other.departure() == f"online.epochs is {tiny.online.epochs}, not {longer.epochs}"


def test_a_finished_run_whose_settings_cannot_be_read_fails_alone(tiny, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "plan.json").write_text("{}")
    (tmp_path / "run" / "summary.json").write_text("{}")
    (tmp_path / "run" / "config.toml").write_text("of_another_version = 1")
    cell = Cell(str(tmp_path / "run"), to_dict(tiny))
    assert not cell.done
    with pytest.raises(
        InputError, match=r"holds another run \(unknown setting 'of_another_version'"
    ):
        run_cell(cell)


def test_threads_are_limited(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_mine=1 intra_op_parallelism_threads=8")
    assert limit_threads(1)["XLA_FLAGS"] == (
        "--xla_of_mine=1 --xla_cpu_multi_thread_eigen=false"  # the rest would end XLA's reading
    )
    assert limit_threads(1)["OMP_NUM_THREADS"] == "1"
    assert "eigen=false" in limit_threads(1)["XLA_FLAGS"]
    assert "eigen=true" in limit_threads(2)["XLA_FLAGS"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--algorithms bogus", "unknown algorithm 'bogus'"),
        ("--schemes bogus", "unknown scheme 'bogus'"),
        ("--presets bogus", "unknown preset 'bogus'"),
        ("--seeds 3-1", "'3-1' is neither"),
        ("--seeds x", "'x' is neither"),
        ("--alphas a", "'a' is not a number"),
        ("--alphas 0", "must be positive"),
        ("--datasets a,b", "2 data sets for 1 presets"),
        ("--set online.epochs", "expected name=value"),
        ("--set online.bogus=1", "unknown setting 'online.bogus'"),
        ("--set fraction=0.5 --set online.bogus=1 --set online.epochs=2", "'online.bogus'"),
        ("--set seed=7 --seeds 0,1", "the setting seed would change nothing"),
        ("--set algorithm=iql", "give the algorithms that you want"),
        ("--set dataset=b.npz --datasets a.npz", "the datasets of the grid decide it"),
        ("--set penalty_coef=3 --penalties 1,2 --algorithms moore", "the setting penalty_coef"),
        ("--set online.scheme=uniform --schemes moore:1", "the setting online.scheme"),
        ("--set online.alpha=5 --alphas 1,2", "the setting online.alpha"),
        ("--schemes uniform --algorithms sac,iql", "the schemes would change nothing"),
        ("--alphas 1,2 --algorithms iql", "the alphas would change nothing"),
        ("--penalties 1,2 --algorithms sac", "the penalties would change nothing"),
        ("--jobs -1", "--jobs is -1"),
        ("--grid nowhere.toml", "cannot be read as a grid"),
    ],
)
def test_bad_input_is_one_line(flags, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["sweep", "--out", str(tmp_path / "out"), *flags.split()])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and words in error
    assert not (tmp_path / "out").exists()


def test_the_command_tells_what_failed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweeps, "_ProcessPool", Here)
    line = f"sweep --out {tmp_path / 'out'} --datasets missing.npz --quiet --jobs 1"
    with pytest.raises(SystemExit) as stop:
        cli.main(line.split())
    assert stop.value.code == 1
    text = capsys.readouterr().out
    assert "0 of 2 cells done" in text and "missing.npz: no such file" in text
    assert text.count("not run: ") == 1


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('seeds = ["1"]', "list of integers"),
        ("seeds = [true]", "list of integers"),
        ("presets = [1]", "list of strings"),
        ('alphas = ["1"]', "list of numbers"),
    ],
)
def test_a_grid_file_whose_entries_are_of_another_type_is_refused(line, wanted, tmp_path):
    (tmp_path / "grid.toml").write_text(line)
    with pytest.raises(InputError, match=wanted):
        read_grid(tmp_path / "grid.toml")


IN_MAIN_THREAD = threading.current_thread() is threading.main_thread()


@pytest.mark.skipif(not IN_MAIN_THREAD, reason="signals are the main thread's")
def test_no_cell_outlives_a_terminated_sweep(tiny, tmp_path, monkeypatch):
    closed = []

    def terminated(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(sweeps, "_drive", terminated)
    monkeypatch.setattr(sweeps._ProcessPool, "close", lambda pool: closed.append(pool))
    with pytest.raises(KeyboardInterrupt):
        sweep(cells(Grid(), tmp_path / "sweep"), quiet=True)
    assert len(closed) == 1


def test_what_a_run_has_found_in_its_log_and_environment_makes_it_no_other_run(tmp_path):
    given = Config(algorithm="moore", horizons_per_episode=3.0)
    cell = Cell(str(tmp_path), to_dict(given))
    found = dataclasses.replace(given, env_id="Hopper-v5", episode_steps=1000)
    found = dataclasses.replace(found, sac=dataclasses.replace(given.sac, discount=0.997))
    (tmp_path / "config.toml").write_text(to_toml(found))
    assert cell.departure() == ""
    other = dataclasses.replace(found, sac=dataclasses.replace(found.sac, discount=0.5))
    (tmp_path / "config.toml").write_text(to_toml(other))
    assert cell.departure() == "sac.discount is 0.5, not 0.99"
