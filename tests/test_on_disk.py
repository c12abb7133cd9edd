"""Draws from a log on disk: the same rows as from memory, the split, and whole runs."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_logs import refuses
from moore.config import OfflineConfig, OnlineConfig
from moore.data import row_file
from moore.data.dataset import concatenate
from moore.experience.protocol import Moment
from moore.formats.load import load_dataset
from moore.formats.row_writer import write_rows
from moore.replay.buffer import Transition, append
from moore.replay.sampler import gather
from moore.runs.run import resume, run
from moore.runs.setup import prepare
from tiny import ENV, quick_config, tiny_config, tiny_log

PLACES = ("memory", "disk")


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """A folder of 1,800 rows, and a room for 600 of them."""
    write_rows(tmp_path / "log.rows", [tiny_log(30, seed=seed) for seed in range(3)])
    monkeypatch.setattr(row_file, "ROOM", 600)
    return tmp_path / "log.rows"


def prepared(config, rows, place):
    log = load_dataset(rows) if place == "disk" else load_dataset(rows, max_rows=10**6)
    assert (log.whole is not None) == (place == "disk")
    return prepare(config, dataset=log, env=ENV)


def with_online_rows(learner, count):
    """The state after the hand-over, with some online rows."""
    state = learner.hand_over(learner.init(jax.random.key(0)))
    online = state.online
    rows = tiny_rows(count)
    for number in range(count):
        row = jax.tree.map(lambda column, at=number: column[at], rows)
        online = append(online, row, jax.random.key(number), holdout_fraction=0.2)
    return Moment("online", 2, state.agent, online)


def tiny_rows(count):
    log = tiny_log(3, seed=9)
    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
    return Transition(*(jnp.asarray(getattr(log, name)[:count]) for name in names))


@pytest.mark.parametrize("scheme", ["moore:2", "uniform", "half_half"])
@pytest.mark.parametrize("stage", ["offline", "online"])
def test_the_same_seed_draws_the_same_rows_as_from_memory(rows, stage, scheme):
    real = OfflineConfig(epochs=4, updates_per_epoch=150, rollout_batch=200, real_ratio=0.5)
    online = OnlineConfig(epochs=4, steps_per_epoch=60, refit_every=20, rollout_batch=200,
                          scheme=scheme, real_ratio=0.5)  # fmt: skip
    config = tiny_config(standardise_obs=True, scale_rewards=True, offline=real, online=online)
    found = {}
    for place in PLACES:
        learner = prepared(config, rows, place).learner
        if stage == "online":
            now = with_online_rows(learner, 30)
        else:
            begun = learner.init(jax.random.key(0))
            now = Moment("offline", 1, begun.agent, begun.online)
        state = learner.experience.begin(jax.random.key(1))
        batches = learner.experience.batches(state, now, jax.random.key(3), 40)
        log = learner.offline if batches.log is None else batches.log
        planned = batches.planned.reshape(-1)
        found[place] = gather(log, now.online, planned), planned >= log.capacity
    for a, b in zip(*map(jax.tree.leaves, found.values()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(*(online for _, online in found.values()))
    assert bool(found["disk"][1].any()) == (stage == "online")


def test_the_priority_of_the_log_is_that_of_all_its_rows(rows):
    """1 / (alpha t) for each of its 1,800 rows, not for the 600 in memory."""
    config = tiny_config(online=replace(tiny_config().online, scheme="moore:3"))
    learner = prepared(config, rows, "disk").learner
    now = with_online_rows(learner, 30)
    draws = learner.task.draws(now)
    assert draws.online_share() == pytest.approx(30 / (30 + 1800 / (3 * now.epoch)))
    drawn = np.asarray(draws.rows(jax.random.key(0), (200_000,)))
    logged = np.bincount(drawn[drawn < 1800], minlength=1800)
    assert np.mean(drawn >= 1800) == pytest.approx(draws.online_share(), rel=0.03)
    expected = logged.sum() / 1800
    chi_square = ((logged - expected) ** 2 / expected).sum()
    assert abs(chi_square - 1799) < 5 * np.sqrt(2 * 1799)


def test_windows_are_uniform_over_the_rows_to_train_on_and_never_held_out(rows):
    setup = prepared(tiny_config(), rows, "disk")
    disk, log = setup.learner.task.disk, load_dataset(rows, max_rows=10**6)
    counts = np.zeros(log.size, int)
    place = {row.tobytes(): i for i, row in enumerate(log.obs)}
    for number in range(40):
        window = disk.window(jax.random.key(number), 1000)
        drawn = np.asarray(window.data.obs)[np.asarray(window.train_rows[: int(window.train_size)])]
        counts += np.bincount([place[row.tobytes()] for row in drawn], minlength=log.size)
    assert not counts[disk.holdout_rows].any()
    others = np.delete(counts, disk.holdout_rows)
    expected = 40_000 / len(others)
    chi_square = ((others - expected) ** 2 / expected).sum()
    assert abs(chi_square - len(others)) < 5 * np.sqrt(2 * len(others))
    held = np.asarray(window.data.obs)[np.asarray(window.holdout_rows[: int(window.holdout_size)])]
    np.testing.assert_array_equal(held, log.obs[disk.holdout_rows])
    assert int(disk.counts.train_size) == len(others)


def test_the_split_stays_the_same(rows):
    first, second = (prepared(tiny_config(seed=1), rows, "disk") for _ in range(2))
    other = prepared(tiny_config(seed=2), rows, "disk")
    held = [setup.learner.task.disk.holdout_rows for setup in (first, second, other)]
    np.testing.assert_array_equal(held[0], held[1])
    assert not np.array_equal(held[0], held[2])


def test_units_and_ranges_are_those_of_all_rows(rows):
    config = tiny_config(standardise_obs=True, scale_rewards=True)
    disk, memory = (prepared(config, rows, place) for place in ("disk", "memory"))
    np.testing.assert_allclose(disk.units.obs_mean, memory.units.obs_mean, rtol=1e-6)
    np.testing.assert_allclose(disk.units.obs_std, memory.units.obs_std, rtol=1e-6)
    assert disk.units.reward_scale == pytest.approx(memory.units.reward_scale)
    seen = [s.learner.models.within(s.learner.init(s.key).online) for s in (disk, memory)]
    assert seen == [None, None]
    ranges = [s.learner.models.seen_range(s.learner.init(s.key).online) for s in (disk, memory)]
    np.testing.assert_allclose(*ranges, rtol=1e-5)


@pytest.mark.parametrize("algorithm", ["cal_ql", "sqil", "balanced_replay", "adaptive_bc", "bc"])
def test_an_algorithm_that_needs_all_rows_is_refused(rows, algorithm):
    refuses(
        "which stay on disk.*--max-rows, or one of moore",
        prepared, quick_config(algorithm=algorithm), rows, "disk",
    )  # fmt: skip


def test_a_priority_for_every_row_is_refused(rows, tmp_path):
    np.save(tmp_path / "p.npy", np.ones(1800))
    config = tiny_config(online=replace(tiny_config().online, scheme=str(tmp_path / "p.npy")))
    refuses("a priority for every row", prepared, config, rows, "disk")


def test_actions_beyond_the_bounds_are_found_in_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(row_file, "ROOM", 600)
    logs = [tiny_log(30, seed=seed) for seed in range(40)]
    logs[17].action[5] = 2.5
    write_rows(tmp_path / "log.rows", logs)
    refuses("actions reach from", prepared, quick_config(), tmp_path / "log.rows", "disk")


@pytest.mark.parametrize("algorithm", ["awac", "moore"])
def test_a_run_on_a_log_on_disk_goes_on_where_it_was_stopped(rows, tmp_path, algorithm):
    config = quick_config(algorithm="awac")
    if algorithm == "moore":
        config = tiny_config(online=replace(tiny_config().online, epochs=2, steps_per_epoch=20))
    how = {"dataset": str(rows), "env": ENV, "quiet": True}
    whole = run(config, out=tmp_path / "whole", **how)
    assert whole.summary["dataset"]["rows"] == 1800

    def stop(row, state):
        del state
        if row["epoch"] == 1:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "parts", until=stop, **how)
    again = resume(tmp_path / "parts", env=ENV, quiet=True)
    assert again.summary["transfer"] == whole.summary["transfer"]


def test_joined_parts_are_those_of_memory(rows):
    joined = concatenate([tiny_log(30, seed=seed) for seed in range(3)])
    np.testing.assert_array_equal(load_dataset(rows, max_rows=10**6).obs, joined.obs)
