"""Cells of a sweep side by side in one process: the runs they are alone, each by itself."""

import dataclasses
import functools
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import gymnasium as gym
import jax
import numpy as np
import pytest

from moore.agents.ppo import PPOConfig
from moore.agents.sac import SACConfig
from moore.agents.td3 import TD3Config
from moore.config import Config, GateConfig, OfflineConfig, OnlineConfig, to_dict
from moore.dynamics.chains import ChainsConfig
from moore.experience import learning
from moore.formats.npz import write_npz
from moore.runs import online_run
from moore.runs.folder import read_metrics
from moore.runs.run import resume
from moore.runs.signals import Stopped
from moore.sweeps.cell import Cell, run_cell
from moore.sweeps.sweep import sweep
from runs_alike import assert_same_run, rows
from tiny import tiny_config, tiny_log

ENV_ID = "TogetherLinear-v0"
gym.register(ENV_ID, entry_point="tiny:LinearGaussian", max_episode_steps=20)
# Two cells wherever they are one program: so the tests share the compiled programs.
SEEDS = (0, 1)
# In a batched program the second cell has these settings besides another seed.
OTHERWISE = {"moore": {"penalty_coef": 0.3, "scheme": "moore:0.5"}}


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> str:
    """A log of a controller that can be cloned."""
    path = tmp_path_factory.mktemp("log") / "log.npz"
    write_npz(path, tiny_log(episodes=20, gain=0.5, noise=0.2))
    return str(path)


def config(log: str, algorithm: str = "moore", scheme: str = "moore", **changes) -> Config:
    """As little as there can be, with every part in use."""
    tiny = tiny_config(algorithm=algorithm)
    few = {"hidden": (8,), "weight_decay": (0.0,) * 3, "members": 3, "elites": 2}
    model = dataclasses.replace(tiny.model, **few, max_fit_steps=100, max_refit_steps=8)
    small = {"hidden": (8,), "batch_size": 32}
    settings = {
        "env_id": ENV_ID, "dataset": log, "model": model, "accept": ("hand-over",),
        "diagnostics": False,
        "sac": dataclasses.replace(tiny.sac, **small),
        "rlpd": SACConfig(**small, discount=0.9, critics=3, critic_subset=2),
        "offline": OfflineConfig(epochs=2, updates_per_epoch=10, rollout_batch=20),
        "online": OnlineConfig(epochs=2, steps_per_epoch=12, refit_every=6, rollout_batch=20,
                               updates_per_step=2, scheme=scheme),
        "evaluation": dataclasses.replace(tiny.evaluation, episodes=2),
    }  # fmt: skip
    if algorithm == "moore_safe":
        settings |= {
            "gate": GateConfig(enabled=True, rollouts=8, penalised=False, confidence=1.0),
            "ppo": PPOConfig(**small, discount=0.9, critic_warm_up=10, critic_first=5),
            "td3": TD3Config(**small, return_updates=10, warm_up=10),
            "chains": ChainsConfig(restart=0.05), "rollout_length": 10, "imagined_range": 0.1,
            "clone": True, "dip_budget": 0.1,
        }  # fmt: skip
    if algorithm == "moore_robust":
        settings |= {"gate": GateConfig(enabled=True, rollouts=8), "uncertainty": "value"}
    return dataclasses.replace(tiny, **settings | changes)


def cell(folder: Path, settings: Config, *, seed: int = 0) -> Cell:
    return Cell(str(folder), to_dict(dataclasses.replace(settings, seed=seed)))


def cells_of(folder: Path, settings: Config, seeds=SEEDS) -> list[Cell]:
    return [cell(folder / f"together-{seed}", settings, seed=seed) for seed in seeds]


def together(cells: list[Cell], batch: str = "yes", **options):
    return sweep(cells, together=True, batch=batch, quiet=True, **options)


@pytest.fixture(scope="module")
def alone(log, tmp_path_factory):
    """The folder of the run of seed 1 by itself; several tests compare theirs with it."""

    @functools.cache
    def folder(algorithm: str, **changes) -> Path:
        made = tmp_path_factory.mktemp(f"alone-{algorithm}") / "run"
        run_cell(cell(made, config(log, algorithm, **changes), seed=1))
        return made

    return folder


@pytest.fixture(scope="module")
def batched(log, tmp_path_factory):
    """The cells of one batched program, and how often the updates were traced for them."""

    @functools.cache
    def made(algorithm: str) -> tuple[list[Cell], int]:
        base, traces = config(log, algorithm), []
        plain = learning.gradient_steps.function

        def noted(*args, **kwargs):
            traces.append(1)
            return plain(*args, **kwargs)

        folder = tmp_path_factory.mktemp(f"batched-{algorithm}")
        other = config(log, algorithm, **OTHERWISE.get(algorithm, {}))
        cells = [cell(folder / "a", base), cell(folder / "b", other, seed=1)]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(learning.gradient_steps, "function", noted)
            assert together(cells).done == [c.folder for c in cells]
        return cells, len(traces)

    return made


def assert_near(one: list[dict], other: list[dict], tolerance: float) -> None:
    """Every number of every row is the same to this tolerance, but for the gate's yes or no.

    A policy that is as good as the acting one is accepted or not by the last digit of a gain of 0.
    """
    assert [row.keys() for row in one] == [row.keys() for row in other]
    for a, b in zip(one, other, strict=True):
        for name in a.keys() - {"gate/accepted"}:
            place = f"{name} of {a['stage']} epoch {a['epoch']}"
            if isinstance(a[name], str) or a[name] is None:
                assert a[name] == b[name], place
                continue
            x, y = (np.asarray(row[name], float) for row in (a, b))
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=place)


@pytest.mark.parametrize(
    "algorithm",
    [
        "moore",
        pytest.param("rlpd", marks=pytest.mark.slow),
        pytest.param("moore_safe", marks=pytest.mark.slow),
        pytest.param("moore_robust", marks=pytest.mark.slow),
    ],
)
def test_in_one_batched_program_a_seed_is_what_it_is_alone(algorithm, alone, batched):
    """To the tolerance of 32-bit numbers over the first updates: the fit and an offline epoch.

    `rlpd` learns nothing offline here: it is followed over its first online epoch.
    """
    cells, _ = batched(algorithm)
    by_itself = alone(algorithm, **OTHERWISE.get(algorithm, {}))
    assert_near(rows(by_itself)[:2], rows(Path(cells[1].folder))[:2], tolerance=2e-3)


@pytest.mark.parametrize("algorithm", ["moore", "moore_safe"])
def test_where_cells_take_turns_a_seed_is_bit_for_bit_what_it_is_alone(
    algorithm, alone, log, tmp_path
):
    cells = cells_of(tmp_path, config(log, algorithm))
    assert len(together(cells, "no").done) == 2
    assert_same_run(alone(algorithm), Path(cells[1].folder))


def test_on_a_cpu_cells_take_turns_unless_they_are_told_to_be_one_program(alone, log, tmp_path):
    assert jax.default_backend() == "cpu"
    assert len(together(cells_of(tmp_path, config(log, "rlpd")), "auto").done) == 2
    assert_same_run(alone("rlpd"), tmp_path / "together-1")


def test_all_cells_share_the_compiled_programs(batched):
    """Another seed, alpha and coefficient of the penalty: one program a stage for both cells."""
    cells, traces = batched("moore")
    assert traces == 2, "one program offline, and one online"
    used = [rows(Path(c.folder))[1].get("model/penalty_coef") for c in cells]
    assert used == pytest.approx([0.5, OTHERWISE["moore"]["penalty_coef"]])


def test_cells_of_unequal_sizes_run_apart_and_that_is_said_once(log, tmp_path, capsys):
    small = config(log, "rlpd")
    large = dataclasses.replace(small, rlpd=dataclasses.replace(small.rlpd, hidden=(9,)))
    cells = [*cells_of(tmp_path, small), cell(tmp_path / "large", large)]
    assert len(sweep(cells, together=True, batch="yes").done) == 3
    said = [line for line in capsys.readouterr().err.splitlines() if "run together" in line]
    assert len(said) == 1 and str(tmp_path / "large") in said[0]
    run_cell(cell(tmp_path / "alone", large))
    assert_near(rows(tmp_path / "alone")[:2], rows(tmp_path / "large")[:2], tolerance=2e-3)


def test_a_cell_that_fails_does_not_take_the_others_with_it(log, tmp_path):
    """One has a log that is not there, and one fails in the middle of its online stage."""
    settings = config(log, "rlpd")
    cells = cells_of(tmp_path, settings)
    cells.append(cell(tmp_path / "no-log", dataclasses.replace(settings, dataset="no.npz")))
    keep = online_run.OnlineRun._keep

    def fails(self, epoch, state):
        keep(self, epoch, state)
        if self.setup.config.seed == 1 and (epoch.number, epoch.learned) == (2, 3):
            raise RuntimeError("the pump is broken")

    online_run.OnlineRun._keep = fails
    try:
        outcome = together(cells)
    finally:
        online_run.OnlineRun._keep = keep
    assert outcome.done == [cells[0].folder]
    assert outcome.failed.keys() == {cells[1].folder, cells[2].folder}
    assert "RuntimeError: the pump is broken" in outcome.failed[cells[1].folder]
    assert "Traceback" in Path(f"{cells[1].folder}.log").read_text()
    assert outcome.failed[cells[2].folder].startswith("moore: ")
    again = together(cells[:2])
    assert again.done == [cells[0].folder, cells[1].folder]


def test_online_stages_wait_for_their_offline_stages(log, tmp_path):
    settings = to_dict(config(log))
    offline = Cell(str(tmp_path / "offline"), settings, "offline")
    online = [
        Cell(str(tmp_path / name), settings | {"online": settings["online"] | {"scheme": name}},
             "online", offline.folder)
        for name in ("uniform", "half_half")
    ]  # fmt: skip
    broken = Cell(str(tmp_path / "broken"), settings | {"dataset": "no.npz"}, "offline")
    lost = Cell(str(tmp_path / "lost"), settings, "online", broken.folder)
    outcome = together([offline, broken, *online, lost], "no")
    assert outcome.done == [offline.folder, *(c.folder for c in online)]
    assert outcome.skipped == [lost.folder]
    assert [*outcome.failed] == [broken.folder]


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals are the main's"
)
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_saves_every_cell_and_each_goes_on_alone(
    number, alone, log, tmp_path, monkeypatch
):
    settings = config(log, "rlpd")
    cells = cells_of(tmp_path, settings)
    keep, calls = online_run.OnlineRun._keep, []

    def stops(self, epoch, state):
        calls.append(1)
        if len(calls) == 30:
            os.kill(os.getpid(), number)
        keep(self, epoch, state)

    monkeypatch.setattr(online_run.OnlineRun, "_keep", stops)
    with pytest.raises(Stopped) as stop:
        together(cells, "no")
    assert stop.value.status == 128 + number
    monkeypatch.setattr(online_run.OnlineRun, "_keep", keep)
    for place in map(Path, (c.folder for c in cells)):
        assert not (place / "summary.json").exists()
        assert any("step" in p.name for p in (place / "checkpoints").iterdir())
    resume(cells[1].folder, quiet=True)
    assert_same_run(alone("rlpd"), Path(cells[1].folder))
    assert together(cells, "no").done == [cells[1].folder, cells[0].folder]


def test_a_finished_cell_of_a_batched_program_is_made_longer_alone(batched, tmp_path):
    cells, _ = batched("rlpd")
    shutil.copytree(cells[0].folder, tmp_path / "longer")
    result = resume(tmp_path / "longer", epochs=3, quiet=True)
    assert read_metrics(result.folder / "metrics.jsonl")[-1]["epoch"] == 3


def test_jobs_limit_the_number_of_cells_at_a_time(log, tmp_path, monkeypatch):
    from moore.sweeps import together as module

    groups = []

    def done_at_once(group, company, outcome, say, stop):
        groups.append(len(group))
        for one in group:
            Path(one.folder).mkdir()
            (Path(one.folder) / "summary.json").write_text("{}")
            outcome.ended(one.folder, "", say)

    monkeypatch.setattr(module, "_run_group", done_at_once)
    cells = cells_of(tmp_path, config(log, "rlpd"), seeds=(0, 1, 2))
    assert len(together(cells, "no", jobs=2).done) == 3
    assert groups == [2, 1]


@pytest.mark.slow
def test_over_a_run_the_results_have_the_distribution_of_runs_alone(log, tmp_path):
    """Eight seeds in one program, and the same eight one after another.

    The paths part after some hundred updates, as those of other roundings do, so the runs are two
    samples of one distribution if they are right. The final returns are compared by a permutation
    test, and so is the error of the models.
    """
    settings = config(
        log,
        online=OnlineConfig(epochs=2, steps_per_epoch=40, refit_every=20, rollout_batch=40,
                            updates_per_step=4),
        offline=OfflineConfig(epochs=2, updates_per_epoch=100, rollout_batch=100),
    )  # fmt: skip
    cells = cells_of(tmp_path, settings, seeds=range(8))
    assert len(together(cells).done) == 8
    last = {"together": [rows(Path(c.folder))[-1] for c in cells], "alone": []}
    for seed in range(8):
        folder = tmp_path / f"alone-{seed}"
        run_cell(cell(folder, settings, seed=seed))
        last["alone"].append(rows(folder)[-1])
    for name in ("eval/return", "losses/q_target", "model/uncertainty_mean"):
        one, other = (np.asarray([row[name] for row in last[way]]) for way in last)
        assert _p_value(one, other) > 0.05, (name, json.dumps([one.tolist(), other.tolist()]))
        assert np.ptp(one) > 0.0, "the seeds differ"


def _p_value(one: np.ndarray, other: np.ndarray) -> float:
    """Of the difference of the means, under exchange of all values."""
    rng, joined = np.random.default_rng(0), np.concatenate([one, other])
    seen = abs(one.mean() - other.mean())
    drawn = [rng.permutation(joined) for _ in range(4000)]
    return float(np.mean([abs(x[: len(one)].mean() - x[len(one) :].mean()) >= seen for x in drawn]))
