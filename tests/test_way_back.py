"""Beside the controller that ran before: the way back after an alarm, and the record of a log."""

import numpy as np
import pytest

from beside_old import EPISODE, control, run_with_budget, who
from moore.errors import InputError
from moore.guarding.guard import GuardAlarm
from moore.guarding.signals import Limit
from moore.guarding.supervision import GuardSettings


class TestWayBack:
    LIMITS = GuardSettings(returns=None, limits=[Limit("heat", high=90.0)])

    def test_no_user_can_hand_over_while_the_signal_is_out(self, begin, time):
        session = begin(mode="on", guard=self.LIMITS)
        with pytest.warns(GuardAlarm):
            control(session, time, 1, signals={"heat": 95.0})
        with pytest.raises(InputError, match="before its cause is gone: heat is out of its limits"):
            session.trust_again()
        control(session, time, 1, signals={"heat": 80.0})
        session.trust_again()
        assert session.standing[0].trusted

    def test_no_gate_can_hand_over_while_the_signal_is_out_nor_soon_after(
        self, begin, budget_run, time
    ):
        guard = GuardSettings(returns=None, limits=[Limit("heat", high=90.0)], recovery=6)
        session = begin(run=budget_run, mode="on", guard=guard)
        learning = session._operation.studying.learning

        def goes(heat):
            control(session, time, EPISODE, signals={"heat": heat})
            session.learn(updates=8)

        with pytest.warns(GuardAlarm):
            goes(95.0)
        for _ in range(3):
            goes(95.0)
        before = learning.accepted
        assert before > 0, "the gate accepts, for it knows nothing of the sensor"
        assert not session.standing[0].trusted
        goes(80.0)
        assert learning.accepted > before
        assert "heat has kept its limits for 4 readings" in session.standing[0].awaits
        goes(80.0)
        assert session.standing[0].trusted and not session.standing[0].awaits
        goes(80.0)
        assert who(session)[-EPISODE:] == ["new"] * EPISODE
        assert "new" not in who(session)[EPISODE:-EPISODE]


@pytest.fixture(scope="module")
def run_of_20(log_file, tmp_path_factory):
    """A run whose episodes are as long as those of the log."""
    return run_with_budget(log_file, tmp_path_factory.mktemp("log") / "run", episode_steps=20)


class TestReferenceLog:
    """The old controller itself has written the run's log."""

    def earns(self, session):
        """What the account knows of the controller: an episode's mean, and how many there are."""
        earnings = session._operation.studying.account.earnings
        return earnings.level + earnings.floor * earnings.length, earnings.episodes

    def test_its_episodes_count_so_trials_begin_after_one_live_episode(
        self, begin, run_of_20, time, log_file
    ):
        with np.load(log_file) as log:
            mean = float(log["reward"].sum() / 15)
        session = begin(run=run_of_20, reference_log=True, mode="canary")
        assert self.earns(session) == (pytest.approx(mean, rel=1e-5), 15)
        for _ in range(20):
            time.now += 1.0
            session.act([0.5])
            session.observe(reward=mean / 20, next_obs=[0.5])
        assert "new" not in who(session) and self.earns(session)[1] == 16
        for _ in range(200):
            time.now += 1.0
            session.act([0.5])
            session.observe(reward=mean / 20, next_obs=[0.5])
        assert "new" in who(session), "as soon as the account bears it"

    def test_without_the_word_of_the_user_nothing_is_taken_from_the_log(self, begin, run_of_20):
        assert self.earns(begin(run=run_of_20))[1] == 0

    @pytest.mark.parametrize("learner", ["call", "process"])
    def test_live_episodes_that_earn_something_else_count_alone(
        self, begin, run_of_20, time, learner
    ):
        session = begin(run=run_of_20, reference_log=True, learner=learner)
        with pytest.warns(UserWarning, match="does not count as its record any more"):
            for _ in range(20):
                time.now += 1.0
                session.act([0.5])
                session.observe(reward=50.0, next_obs=[0.5])
        assert self.earns(session) == (pytest.approx(1000.0), 1)
        session.save()
        again = begin(resumes=session.save(session.folder.parent / "copy"))
        assert self.earns(again) == (pytest.approx(1000.0), 1)

    def test_what_cannot_be_is_refused(self, begin, budget_run, quick_run):
        for run, how, words in (
            (budget_run, {}, "no episode has 4 steps"),
            (quick_run, {}, "the run has none"),
            (budget_run, {"controller": None, "clock": None}, "reference_log is for a session"),
        ):
            with pytest.raises(InputError, match=words):
                begin(run=run, reference_log=True, **how)
