"""The accelerator's benchmark at tiny sizes, and that learning stays on the device."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import accelerator
import accelerator_runs
import cells as celled
import device_world

from moore.dynamics.ensemble import init_ensemble, predict_all
from moore.dynamics.model_config import ModelConfig
from moore.runs.setup import prepare
from tiny import ENV, tiny_config, tiny_log

SMALL = celled.small()


def operation(name, cells, kind, milliseconds):
    return {
        "operation": name, "cells": cells, "format": kind, "milliseconds": milliseconds,
        "per_second": 4e3, "gigaflop_per_second": 12.0, "share": 0.25, "bytes": 3 * 2**20,
    }  # fmt: skip


# --- The tables, from made-up timings ---


def test_seeds_an_hour_are_counted_from_the_work_of_a_run(monkeypatch):
    """Agents compute in float32 whatever the models do; the cells of a program share its time."""
    work = [{"update": 1000, "fit": 50, "imagine": 10_000, "gate": 9}, {"update": 500, "refit": 10}]
    monkeypatch.setattr(accelerator, "offline_work", lambda learner: work[0])
    monkeypatch.setattr(accelerator, "online_work", lambda learner, epochs: work[1])
    monkeypatch.setattr(accelerator, "Cells", lambda *a: SimpleNamespace(learner=None))
    rows = [
        operation("update", 8, "float32", 4.0),
        operation("model step", 8, "float32", 50.0),
        operation("imagined step", 8, "float32", 0.1),
        operation("model step", 8, "bfloat16", 20.0),
        operation("imagined step", 8, "bfloat16", 0.05),
    ]
    full, half = accelerator.seeds_an_hour(rows, SMALL)
    # 1500 * 4 + 60 * 50 + 10000 * 0.1 = 10000 ms; in bfloat16 6000 + 1200 + 500 = 7700 ms.
    assert full["hours"] == pytest.approx(10.0 / 3600.0) and full["an_hour"] == pytest.approx(2880)
    assert half["an_hour"] == pytest.approx(8 * 3600 / 7.7) and half["format"] == "bfloat16"


def test_the_report_is_two_tables_and_says_when_it_is_no_measurement():
    report = {
        "small": False,
        "operations": [operation("update", 8, "float32", 4.0)],
        "seeds": [{"cells": 8, "format": "float32", "hours": 0.5, "an_hour": 16.0}],
        "device_epochs": [
            {"environment": "X", "cells": 8, "seconds": 2.0, "steps_per_second": 50.0}
        ],
        "runs": [
            {"format": "float32", "seed": 0, "seconds": 60.0, "returns": [1.0, 2.0]},
            {"format": "bfloat16", "seed": 0, "seconds": 40.0, "returns": [2.0, 5.0, 9.0]},
        ],
    }
    lines = list(accelerator.lines(report))
    assert lines[2] == "| update | 8 | float32 | 4 | 4000 | 12 | 25% | 3 |"
    assert "| 8 | float32 | 0.5 | 16 |" in lines
    assert "X, 8 cells: 2 s an epoch, 50 steps a second" in lines
    assert "float32 and bfloat16, seed 0: 2 apart in the mean of the epochs" in lines
    report["small"] = True
    assert "say nothing about speed" in next(iter(accelerator.lines(report)))


def test_the_curves_of_two_formats_are_compared_beside_those_of_two_seeds():
    rows = [
        {"format": name, "seed": seed, "seconds": 1.0, "returns": [value, value]}
        for (name, seed), value in {
            ("float32", 0): 1.0, ("float32", 1): 4.0, ("bfloat16", 0): 1.5, ("bfloat16", 1): 4.0,
        }.items()
    ]  # fmt: skip
    told = list(accelerator_runs.curve_lines(rows))[-3:]
    assert [line.split(": ")[1].split()[0] for line in told] == ["0.5", "0", "3"]


def test_short_runs_differ_in_their_format_and_seed_alone(monkeypatch, tmp_path):
    asked = []

    def returned(config):
        asked.append((config.model.compute, config.seed, config.algorithm, config.online.epochs))
        return [{"evaluation": 0, "return": float(config.seed), "seconds": 1.0}]

    monkeypatch.setattr(accelerator_runs, "evaluations", returned)
    path = tmp_path / "bf16.csv"
    accelerator_runs.main(["--presets", "quick/pendulum", "--epochs", "2", "--out", str(path)])
    assert asked == [
        (form, seed, "moore", 2) for seed in (0, 1) for form in ("float32", "bfloat16")
    ]
    lines = path.read_text().splitlines()
    assert lines[0] == ",".join(accelerator_runs.COLUMNS) and len(lines) == 5
    assert lines[4].startswith("quick/pendulum,bfloat16,1,0,1.0,1.0,")


# --- Number formats ---


def test_bfloat16_changes_the_predictions_by_its_rounding_alone():
    """Eight bits of mantissa in two hidden layers: about 1% of what the outputs spread over."""
    made = [
        init_ensemble(
            jax.random.key(0), 4, 2, members=3, elites=2, hidden=(32, 32), compute=compute
        )
        for compute in ("float32", "bfloat16")
    ]
    inputs = jax.random.normal(jax.random.key(1), (64, 6))
    (full, _), (half, std) = (predict_all(ensemble, inputs) for ensemble in made)
    assert half.dtype == std.dtype == jnp.float32
    difference = float(jnp.abs(full - half).max() / jnp.std(full))
    assert 1e-4 < difference < 5e-2
    leaves = jax.tree.leaves(made[1].networks)
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


def test_a_configuration_names_the_format_of_its_models():
    assert ModelConfig().compute == "float32"
    text = replace(tiny_config(), model=replace(tiny_config().model, compute="bfloat16"))
    made = prepare(text, dataset=tiny_log(), env=ENV).learner.init(jax.random.key(0))
    assert made.experience.model.ensemble.networks.compute == "bfloat16"


# --- Nothing leaves the device ---


def primitives(jaxpr) -> set[str]:
    """The names of all primitives of a program, those of its inner programs too."""
    found = set()
    for equation in jaxpr.eqns:
        found.add(equation.primitive.name)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=callable):
            inner = getattr(value, "jaxpr", value)
            found |= primitives(inner) if hasattr(inner, "eqns") else set()
    return found


def test_an_epoch_with_the_environment_on_the_device_is_one_program_without_transfers():
    two = celled.Cells(SMALL, 2, "float32")
    timed = accelerator.device_epoch(two, device_world.pushed_point())
    for _ in range(2):
        timed.call()  # within jax.transfer_guard("disallow")
    assert timed.units == 2 and timed.memory > 0


def test_an_environment_that_asks_the_host_would_be_seen():
    point = device_world.pushed_point()

    def on_the_host(state, action):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        state, obs, reward = point.step(state, action)
        return state, obs, reward + jax.pure_callback(lambda: np.float32(0.0), shape)

    one = celled.Cells(SMALL, 1, "float32")
    asked = {}
    for name, world in {"device": point, "host": replace(point, step=on_the_host)}.items():
        program, carry = device_world.epoch_program(one, world)
        asked[name] = primitives(jax.make_jaxpr(program)(carry).jaxpr)
    assert asked["host"] - asked["device"] == {"pure_callback"}


@pytest.fixture
def read(monkeypatch):
    """Sizes of the arrays that are read from the device since."""
    from jax._src.array import ArrayImpl

    sizes, whole = [], ArrayImpl._value.fget

    def noted(array):
        sizes.append(array.size)
        return whole(array)

    monkeypatch.setattr(ArrayImpl, "_value", property(noted))
    return sizes


def test_learning_between_two_steps_of_the_system_stays_on_the_device(read):
    """Only a few single numbers are read, however many updates there are; no array goes in."""
    setup = prepare(tiny_config(), dataset=tiny_log(), env=ENV)
    learner = setup.learner
    state = learner.init(setup.key)
    counts = []
    for updates in (5, 5, 10):
        state, _ = learner.refresh(state, 1)
        state, _ = learner.update(state, 1, updates)  # compiles what is new
        read.clear()
        with jax.transfer_guard("disallow"):
            state, _ = learner.refresh(state, 1)
            imagined = list(read)
            state, _ = learner.update(state, 1, updates)
        counts.append((imagined, read[len(imagined) :]))
    assert counts[0] == counts[1] == counts[2]
    imagined, updated = counts[0]
    assert set(imagined + updated) == {1} and len(imagined) <= 4 and len(updated) <= 2
