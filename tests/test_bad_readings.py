"""Readings of a live system that are not finite."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from made_plants import Shown, bad_reading, bad_reward
from moore.config import Config
from moore.errors import InputError
from moore.runs.run import run
from tiny import ENV, quick_config, tiny_config, tiny_log

# What touches a system has little to do with what is learned: a run that takes a second will do.
EPOCH, EPOCHS = 40, 3
STEPS = EPOCHS * EPOCH  # of the online stage


def config(**changes) -> Config:
    online = replace(quick_config().online, epochs=EPOCHS, steps_per_epoch=EPOCH, refit_every=20)
    return quick_config(online=online, **changes)


def assert_no_gap_is_bridged(online):
    """Where no episode ends in D_on, the next row is the successor."""
    data = jax.tree.map(lambda column: np.asarray(column[: int(online.size)]), online.data)
    goes_on = ~(data.terminated | data.truncated)[:-1]
    assert goes_on.mean() > 0.5
    np.testing.assert_array_equal(data.next_obs[:-1][goes_on], data.obs[1:][goes_on])


class TestBadReadings:
    """One reading that is not finite costs one or two transitions, and nothing else."""

    def online(self, tmp_path, alter, settings=None, epochs=None):
        plants = []

        def live():
            plants.append(Shown(ENV(), alter))
            return plants[-1]

        rows = []

        def until(row, state):
            rows.append((row, state))
            return row["epoch"] == epochs

        result = run(
            settings or tiny_config(), dataset=tiny_log(), env=ENV, system=live,
            out=tmp_path / "run", until=until,
        )  # fmt: skip
        return result, rows

    def test_models_and_agent_learn_on(self, tmp_path, capsys):
        reading, reward = bad_reading(30), bad_reward(90, 100, 110)
        tiny = tiny_config(accept=("hand-over",))  # a policy of one offline epoch may be a bad one
        short = replace(tiny, offline=replace(tiny.offline, epochs=1))
        alter = lambda n, *shown: reward(n, *reading(n, *shown))  # noqa: E731
        result, rows = self.online(tmp_path, alter, short, epochs=2)
        metrics = [row for row, _ in rows]
        assert [row["online/dropped_transitions"] for row in metrics] == [2, 3]
        assert not any("non-finite" in row["model/fit_stopped_by"] for row in metrics)
        assert all(row["losses/skipped_updates"] == 0 for row in metrics)
        online = rows[-1][1].online
        assert int(online.size) == 120 - 2 - 3
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(online.data))
        assert_no_gap_is_bridged(online)
        said = capsys.readouterr().err
        assert "not finite" in said and "nan" in said
        assert result.summary["acting"]["episodes"] == 120 // 20

    def test_a_system_that_stays_blind_ends_the_run_in_one_line(self, tmp_path):
        with pytest.raises(InputError, match=r"live system has given 3 readings in a row"):
            settings = config()
            settings = replace(settings, online=replace(settings.online, max_bad_readings=2))
            self.online(tmp_path, bad_reading(*range(50, 90)), settings)
