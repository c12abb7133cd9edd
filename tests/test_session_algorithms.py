"""Every algorithm of the table works in a session: it acts, learns, is saved and goes on."""

from dataclasses import replace

import numpy as np
import pytest

from controlled import control
from moore import Session, load_dataset
from moore.algorithms import ALGORITHMS
from moore.runs.run import run
from tiny import AGENT_SETTINGS, ENV, tiny_config

OBS = np.asarray([0.5], np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_it_acts_learns_and_goes_on(algorithm, log_file, tmp_path):
    config = tiny_config(algorithm=algorithm, **AGENT_SETTINGS.get(algorithm, {}))
    offline = replace(config.offline, epochs=1, updates_per_epoch=20)
    online = replace(config.online, epochs=1, steps_per_epoch=20, refit_every=10)
    config = replace(config, offline=offline, online=online, accept=("hand-over",))
    log = {"dataset": log_file} if ALGORITHMS[algorithm].uses_log else {}
    run(config, env=ENV, out=tmp_path / "run", quiet=True, **log)
    with Session.from_run(tmp_path / "run", tmp_path / "session", at="hand-over", **log) as session:
        control(session, 40)
        before = session.policy(OBS)
        assert session.learn() > 0 and session.due == 0
        control(session, 1)
        learned = session.policy(OBS)
    assert (learned != before).any()
    with Session.resume(tmp_path / "session", **log) as again:
        np.testing.assert_array_equal(again.policy(OBS), learned)
        control(again, 2, first=1)
    assert load_dataset(again.log).size == 43
