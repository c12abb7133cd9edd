"""The benchmarks at tiny sizes: hand-worked flop counts, and what they print."""

import argparse
import json
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import cases
import inner_operations
from products import ensemble_products, gigaflop, rollout_products, sac_products

from moore.agents import sac
from moore.dynamics.fit import init_model, train_step
from moore.dynamics.imagine import rollout
from moore.envs.termination import hopper
from moore.presets import preset
from moore.replay.buffer import as_batch, empty_replay, take

PAPER = preset("paper/hopper-medium-replay")
# Few different shapes: each of them is compiled.
SAC = replace(PAPER.sac, hidden=(5,), batch_size=8)
MODEL = replace(
    PAPER.model, members=3, elites=2, hidden=(5,), weight_decay=(0.0, 0.0, 0.0), batch_size=8
)
CONFIG = replace(
    PAPER,
    rollout_length=3,
    rollout_chunk=16,
    sac=SAC,
    model=MODEL,
    offline=replace(PAPER.offline, rollout_batch=20, retain_epochs=2),
)
TINY = partial(
    cases.Sizes,
    obs=4,
    action=1,
    log_rows=40,
    online_rows=10,
    updates=2,
    steps=2,
    draws=(4, 12),
    config=CONFIG,
)


def matrix_flops(function, *args) -> int:
    """2mkn of every matrix product in the program that JAX makes of a function."""

    def count(jaxpr) -> int:
        total = 0
        for equation in jaxpr.eqns:
            if equation.primitive.name == "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                depth = np.prod(np.take(equation.invars[0].aval.shape, contracted))
                total += 2 * equation.outvars[0].aval.size * int(depth)
            inner = [getattr(v, "jaxpr", v) for v in equation.params.values()]
            below = sum(count(j) for j in inner if hasattr(j, "eqns"))
            total += below * equation.params.get("length", 1)
        return total

    return count(jax.make_jaxpr(function)(*args).jaxpr)


def flops(products) -> int:
    return round(1e9 * gigaflop(products))


# Two observation entries, one action entry, one hidden layer of 4, batch 8; a weight takes part in
# 2 * 8 operations. Actor 2-4-2: weights 8 + 8. Critic 3-4-1: 12 + 4. Member 3-4, heads 4-3: 12 + 12
# + 12.


def test_flops_of_a_sac_update_worked_by_hand():
    actor = 2 * 16 + 16 + 8
    critic = 3 * 16 + 16 + 4 + 16
    assert flops(sac_products(2, 1, (4,), 8)) == 16 * (actor + 2 * critic) == 3584


def test_flops_of_an_ensemble_step_worked_by_hand():
    member = 36 + 36 + 24
    assert flops(ensemble_products(2, 1, (4,), batch=8, members=2)) == 16 * 2 * member == 3072


def test_flops_of_imagined_transitions_worked_by_hand():
    products = rollout_products(2, 1, (4,), actor_hidden=(4,), batch=8, members=2)
    assert flops(products) == 16 * (16 + 2 * 36) == 1408


def test_the_counts_are_those_of_the_programs():
    # Shapes alone, so the paper's sizes cost nothing.
    agent_state = jax.eval_shape(lambda: sac.init(jax.random.key(0), 11, 3, PAPER.sac))
    model = jax.eval_shape(lambda: init_model(jax.random.key(0), 11, 3, PAPER.model))
    log = jax.eval_shape(lambda: empty_replay(400_000, 11, 3, max_holdout=1))
    networks, normaliser = model.ensemble.networks, model.ensemble.normaliser
    hidden, shape = (200, 200, 200, 200), {"batch": 256, "members": 7}

    def update(state, data):
        rows = jnp.arange(256)
        return sac.update(state, as_batch(take(data, rows), rows), jax.random.key(0), PAPER.sac)

    expected = flops(sac_products(11, 3, (256, 256), 256))
    assert matrix_flops(update, agent_state, log.data) == expected

    rows = jax.ShapeDtypeStruct((7, 256), jnp.int32)
    step = partial(train_step, config=PAPER.model)
    args = networks, model.opt_state, normaliser, log, log, rows
    assert matrix_flops(step, *args) == flops(ensemble_products(11, 3, hidden, **shape))

    def imagine(ensemble, state, data):
        act, starts = partial(sac.act, sac.policy(state)), take(data, jnp.arange(256)).obs
        settings = {"length": 5, "penalty_coef": 1.0, "obs_bound": 100.0}
        return rollout(ensemble, act, hopper, starts, jax.random.key(0), **settings)

    expected = flops(rollout_products(11, 3, hidden, actor_hidden=(256, 256), **shape))
    assert matrix_flops(imagine, model.ensemble, agent_state, log.data) == 5 * expected


def test_timed_rollouts_have_their_full_length():
    metrics = cases.rollout_case(TINY()).ours(None)
    assert metrics["model/rollout_steps"] == 3
    assert 0 < metrics["replay/online_share"] < 1


@pytest.mark.parametrize("count", [4, 12])
def test_numpy_gathers_the_rows_that_are_sampled(count):
    case = cases.sampling_case(TINY(), count)
    assert case.units == 12 // count
    drawn, gathered = jax.tree.leaves(case.ours(None)), case.numpys()
    for column, expected in zip(drawn, zip(*gathered, strict=True), strict=True):
        np.testing.assert_array_equal(column, np.stack(expected))
    # 4 + 1 + 1 + 4 floats and two flags
    assert case.work == {"rows": count, "gigabyte": pytest.approx(count * 42e-9)}


def test_json_and_table_have_the_four_operations(monkeypatch, capsys):
    monkeypatch.setattr(inner_operations, "Sizes", TINY)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    inner_operations.main(["--json", "--repeats", "2", "--env-dims", "4,1"])
    printed = capsys.readouterr()
    assert "load of the last minute: 3.00\nwarning: the load is above 0.5" in printed.err
    report = json.loads(printed.out)
    names = [row["operation"] for row in report["operations"]]
    assert names == ["SAC update", "ensemble step", "rollout transition", "sampling", "sampling"]
    assert [report["sizes"][name] for name in ("obs", "action")] == [4, 1]
    for row in report["operations"]:
        ours, numpys = row["ours"], row["numpy"]
        assert 0 < ours["least"] <= ours["milliseconds"] <= ours["most"]
        assert row["share"] == pytest.approx(numpys["milliseconds"] / ours["milliseconds"])
        for kind, amount in row["work"].items():
            per_second = 1e3 * amount / ours["milliseconds"]
            assert ours[f"{kind}_per_second"] == pytest.approx(per_second)

    lines = list(inner_operations.table(report))
    assert len(lines) == 7 and "load: 3.0" in lines[0]


def test_the_number_of_threads_is_set_before_the_libraries_are_loaded(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execve", lambda *args: started.append(args))
    for name in inner_operations.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")
    inner_operations.use_threads(1)
    assert started == []
    inner_operations.use_threads(2)
    [(_, _, environment)] = started
    assert {environment[name] for name in inner_operations.THREAD_VARIABLES} == {"2"}


@pytest.mark.parametrize("text", ["11", "11,0", "1,1", "a,b", "11,3,2"])
def test_wrong_dimensions_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected obs,action"):
        inner_operations.env_dims(text)
