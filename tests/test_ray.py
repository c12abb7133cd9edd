"""A sweep on Ray: what cells need, where they are placed, and what a lost node does to them."""

import dataclasses
import json
import os
import threading
import time
from pathlib import Path

import gymnasium as gym
import pytest

from moore.agents.awac import AWACConfig
from moore.config import EvaluationConfig, OfflineConfig, OnlineConfig, to_dict
from moore.errors import InputError
from moore.formats.npz import write_npz
from moore.runs.folder import read_metrics
from moore.runs.signals import Stop
from moore.sweeps.cell import Cell
from moore.sweeps.needs import Needs
from moore.sweeps.outcome import Outcome
from moore.sweeps.ray_pool import environment
from moore.sweeps.sweep import _drive, sweep
from tiny import tiny_config, tiny_log

ENV_ID = "OnRayLinear-v0"
gym.register(ENV_ID, entry_point="tiny:LinearGaussian", max_episode_steps=20)


@pytest.mark.parametrize(
    ("needs", "resources", "cells"),
    [
        (Needs(), {"CPU": 8.0}, 8),
        (Needs(), {}, 0),
        (Needs(cpus=3), {"CPU": 8.0, "GPU": 1.0}, 2),
        (Needs(cpus=0.1), {"CPU": 1.0}, 10),
        (Needs(gpus=1), {"CPU": 8.0}, 0),
        (Needs(cpus=2, gpus=0.25), {"CPU": 16.0, "GPU": 1.0}, 4),
        (Needs(cpus=2, gpus=0.25), {"CPU": 4.0, "GPU": 1.0}, 2),
        (Needs(gpus=2), {"CPU": 8.0, "GPU": 5.0}, 2),
    ],
)
def test_a_node_holds_as_many_cells_as_its_scarcest_resource_allows(needs, resources, cells):
    assert needs.fit(resources) == cells


@pytest.mark.parametrize("needs", [{"cpus": 0}, {"cpus": -1}, {"gpus": -0.5}, {"gpus": 1.5}])
def test_impossible_needs_are_refused(needs):
    with pytest.raises(InputError, match=f"--{next(iter(needs))} is"):
        Needs(**needs)


def test_needs_without_a_cluster_are_refused():
    with pytest.raises(InputError, match="give --ray"):
        sweep([], needs=Needs(cpus=2))


def test_a_cell_gets_the_threads_and_the_part_of_a_gpu_that_it_asked_for(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    alone = environment(Needs())
    assert alone["OMP_NUM_THREADS"] == "1" and alone["JAX_PLATFORMS"] == "cpu"
    half = environment(Needs(cpus=4, gpus=0.5))
    assert half["OMP_NUM_THREADS"] == "4" and "JAX_PLATFORMS" not in half
    assert half["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in environment(Needs(gpus=1))


def test_a_pool_that_shrinks_below_what_runs_starts_nothing():
    class Shrinking:
        pause, room = 0.0, 2
        started: list = []  # noqa: RUF012

        def start(self, cell):
            self.started.append(cell.folder)
            self.room = 0
            return cell.folder

        def ended(self, folder):
            self.asked = getattr(self, "asked", 0) + 1
            if self.asked < 6:
                return None
            self.room = 2
            return "stopped for the test"

    pool, planned = Shrinking(), [Cell(str(n), {}) for n in range(3)]
    outcome = Outcome(3)
    _drive(planned, pool, outcome, lambda line: None, Stop())
    assert sorted(outcome.failed) == pool.started == ["0", "1", "2"]


@pytest.fixture
def cell(tmp_path):
    """A cell of many short epochs, whose environment the other processes can make."""
    write_npz(tmp_path / "log.npz", tiny_log())
    config = dataclasses.replace(
        tiny_config(), env_id=f"test_ray:{ENV_ID}", dataset=str(tmp_path / "log.npz"),
        algorithm="awac", awac=AWACConfig(hidden=(8,), batch_size=16),
        offline=OfflineConfig(epochs=1, updates_per_epoch=5),
        online=OnlineConfig(epochs=60, steps_per_epoch=100, refit_every=20),
        evaluation=EvaluationConfig(episodes=2),
    )  # fmt: skip
    return lambda name: Cell(str(tmp_path / "sweep" / name), to_dict(config))


@pytest.fixture
def cluster(monkeypatch):
    """A Ray cluster on this machine, whose first node has no room for cells."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    tests, source = Path(__file__).parent, Path(__file__).parents[1] / "src"
    monkeypatch.setenv("PYTHONPATH", f"{tests}:{source}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or all that runs beside it comes first
    head = {"num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    made.shutdown()


@pytest.mark.slow
def test_cells_are_spread_over_the_nodes_by_what_they_need(cluster, cell):
    for _ in range(2):
        cluster.add_node(num_cpus=2)
    planned = [cell("a"), cell("b")]
    short = [
        dataclasses.replace(c, config=c.config | {"online": c.config["online"] | {"epochs": 1}})
        for c in planned
    ]
    outcome = sweep(short, ray_address=cluster.address, needs=Needs(cpus=2), quiet=True)
    assert not outcome.failed, outcome.failed
    assert len(outcome.done) == 2
    json.dumps(vars(outcome))


@pytest.mark.slow
def test_the_cell_of_a_lost_node_goes_on_elsewhere_from_its_last_checkpoint(cluster, cell):
    first = cluster.add_node(num_cpus=1)
    found, planned = [], cell("lost")
    thread = threading.Thread(
        target=lambda: found.append(
            sweep([planned], ray_address=cluster.address, needs=Needs(), quiet=True)
        )
    )
    thread.start()
    metrics = Path(planned.folder) / "metrics.jsonl"
    rows: list[dict] = []
    until = time.monotonic() + 600
    while len(rows) < 8 and time.monotonic() < until:
        time.sleep(0.1)
        rows = read_metrics(metrics) if metrics.exists() else []
    before = rows[:6]
    assert len(before) == 6, "the cell has not begun in ten minutes"
    cluster.remove_node(first, allow_graceful=False)
    assert not (Path(planned.folder) / "summary.json").exists()
    cluster.add_node(num_cpus=1)
    thread.join(timeout=600)
    assert found and not found[0].failed, found
    after = read_metrics(metrics)
    assert after[:6] == before  # with the times of the first node: nothing was done again
    assert [row["epoch"] for row in after if row["stage"] == "online"] == list(range(61))
