"""A session beside the controller that ran before: modes, canary trials, the guard, time-outs."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from beside_old import (
    EPISODE,
    OBS,
    control,
    decisions,
    old,
    who,
)
from moore.data.episodes import episode_statistics
from moore.errors import InputError
from moore.formats.load import read_log
from moore.guarding.comparison import Range
from moore.guarding.guard import GuardAlarm
from moore.guarding.interlocks import DeadMan, Interlocks
from moore.guarding.signals import Limit
from moore.guarding.supervision import GuardSettings
from moore.runs.run import run
from tiny import ENV, quick_config, tiny_log


class TestModes:
    def test_off_asks_the_old_controller_alone(self, begin, time):
        session = begin(mode="off")
        assert control(session, time, 2) == pytest.approx(old(0.5))
        assert [decision["new"] for decision in decisions(session)] == [None, None]
        assert session.mode == "off" and session.standing[0].why == "The mode is off."

    def test_shadow_sends_the_old_action_and_logs_both(self, begin, time):
        session = begin()
        control(session, time, 3)
        for decision in decisions(session):
            assert decision["mode"] == "shadow" and decision["actor"] == "old"
            assert decision["sent"] == decision["old"] == pytest.approx([old(0.5)])
            assert decision["new"] != decision["old"] and decision["proposer"]
        log = read_log(session.log, infos=True)
        assert log.action.tolist() == [decision["sent"] for decision in decisions(session)]
        assert log.infos["actor"].tolist() == [0, 0, 0]
        assert log.infos["new_action"].tolist() == [x["new"] for x in decisions(session)]

    def test_what_is_learned_from_is_what_was_sent(self, begin, time):
        session = begin(mode="on", interlocks=Interlocks(np.array([-0.01]), np.array([0.01])))
        sent = control(session, time, 6)
        assert np.abs(sent).max() <= np.float32(0.01)
        online = session._operation.studying.learning.state.online
        scaled = session._operation.world.bounds.scaled(sent)
        assert np.asarray(online.data.action[:6]).ravel() == pytest.approx(scaled)
        assert any(decision["interlocks"] for decision in decisions(session))
        assert np.isnan(read_log(session.log, infos=True).infos["log_density"]).any(), (
            "the density is that of another action"
        )

    def test_the_mode_changes_between_two_steps_and_the_action_moves_slowly(self, begin, time):
        session = begin(transfer_rate=0.01)
        before = control(session, time, 1)
        session.set_mode("on")
        after = control(session, time, 4, first=1)
        assert who(session) == ["old", "new", "new", "new", "new"]
        assert np.abs(np.diff(np.concatenate([before, after]))).max() <= 0.01 + 1e-6
        assert decisions(session)[1]["switched"] and decisions(session)[1]["moving"] == [True]
        assert session.mode == "on"

    def test_a_controller_that_fails_is_told_and_its_last_action_held(self, begin, time):
        answers = iter([0.3, np.nan])
        session = begin(controller=lambda obs: next(answers))
        assert control(session, time, 2).tolist() == pytest.approx([0.3, 0.3])
        assert "not a finite number" in decisions(session)[1]["fault"]

    def test_a_bad_reading_gets_the_last_action_that_was_sent(self, begin, time):
        session = begin()
        control(session, time, 1)
        assert control(session, time, 1, obs=[np.nan], first=1) == pytest.approx(old(0.5))

    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ({"mode": "canary"}, "dip_budget"),
            ({"mode": "half"}, "expected one of off, shadow, canary, on"),
            ({"controller": None, "mode": "on"}, "mode is for a session beside the controller"),
            ({"controller": "clone"}, "has no clone of its log"),
            ({"controller": "old.txt"}, "no known kind"),
            (
                {"interlocks": Interlocks(np.array([-9.0]), np.array([9.0]))},
                "within those of the actions",
            ),
            ({"transfer_rate": -1.0}, "transfer_rate is -1"),
            (
                {"guard": GuardSettings(returns=[1.0])},
                "1 returns of whole episodes.*or test no returns",
            ),
        ],
    )
    def test_what_makes_no_sense_is_refused_and_leaves_nothing(self, begin, tmp_path, how, words):
        with pytest.raises(InputError, match=words):
            begin(**{"clock": None} | how)
        assert not (tmp_path / "session").exists()


class Summing:
    """A controller with a memory: a step of its own, on from what was sent last."""

    def __init__(self):
        self.sent = 0.0

    def act(self, obs):
        return self.sent - 0.01 * obs

    def track(self, obs, sent):
        self.sent = float(sent[0])


class TestMemory:
    STEP = -0.005

    def test_in_shadow_it_is_as_if_the_controller_were_alone(self, begin, time):
        sent = control(begin(controller=Summing()), time, 4)
        assert sent == pytest.approx(np.arange(1, 5) * self.STEP, abs=1e-6)

    def test_after_an_alarm_it_goes_on_from_the_policys_last_action(self, begin, time):
        guard = GuardSettings(returns=None, limits=[Limit("heat", high=90.0)])
        session = begin(controller=Summing(), mode="on", guard=guard)
        before = control(session, time, 3, signals={"heat": 80.0})
        with pytest.warns(GuardAlarm):
            last = control(session, time, 1, first=3, signals={"heat": 95.0})
        after = control(session, time, 3, first=4, signals={"heat": 80.0})
        assert who(session) == ["new"] * 4 + ["old"] * 3
        assert np.abs(before).max() > 10 * abs(self.STEP), "the policy has been elsewhere"
        assert after == pytest.approx(last + np.arange(1, 4) * self.STEP, abs=1e-6)

    @pytest.mark.parametrize("mode", ["shadow", "on"])
    def test_one_that_is_given_again_goes_on_from_the_last_action(self, begin, time, mode):
        session = begin(controller=Summing(), mode=mode)
        last = control(session, time, 3)[-1]
        session.save()
        session.close()
        session = begin(resumes=session.folder, controller=Summing())
        session.set_mode("shadow")
        assert control(session, time, 1, first=3) == pytest.approx(last + self.STEP, abs=1e-6)

    def test_limits_on_what_is_sent_reach_it(self, begin, time):
        locks = Interlocks(np.array([2.5 * self.STEP]), np.array([1.0]))
        controller = Summing()
        control(begin(controller=controller, interlocks=locks), time, 4)
        assert controller.sent == pytest.approx(2.5 * self.STEP)


class TestGuard:
    LIMITS = GuardSettings(returns=None, limits=[Limit("heat", high=90.0)])

    def test_an_alarm_lets_the_old_controller_act_at_once(self, begin, time):
        session = begin(mode="on", guard=self.LIMITS)
        control(session, time, 2, signals={"heat": 80.0})
        with pytest.warns(GuardAlarm, match=r"unit 0, step 3: heat is 95, above 90"):
            control(session, time, 1, signals={"heat": 95.0})
        control(session, time, 1, signals={"heat": 80.0})
        assert who(session) == ["new"] * 3 + ["old"]
        standing = session.standing[0]
        assert not standing.trusted and "above 90" in standing.alarm
        assert standing.why == "The guard does not trust the new policy."
        assert standing.since is not None and standing.since <= time.now
        assert "above 90" in decisions(session)[3]["alarm"]
        session.trust_again()  # the run has no gate that could agree
        control(session, time, 1, signals={"heat": 80.0})
        assert who(session)[-1] == "new" and session.standing[0].trusted
        assert session.standing[0].since is None

    def test_a_signal_that_is_not_told_is_missed(self, begin, time):
        session = begin(guard=self.LIMITS)
        session.act(OBS)
        with pytest.raises(InputError, match="the guard watches heat"):
            session.observe(reward=1.0, next_obs=OBS)

    def test_more_units_than_it_is_made_for_are_refused(self, begin):
        with pytest.raises(InputError, match="the guard is made for 1 unit,"):
            begin(guard=self.LIMITS).act([[0.5], [0.5]])

    def test_an_episode_that_a_gap_in_the_log_cut_short_is_not_what_the_old_one_earns(
        self, begin, tmp_path
    ):
        log = tiny_log()
        log.truncated[[46, 107, 291]] = True  # and 291 is in the last episode
        returns, lengths = episode_statistics(log.reward, log.truncated)
        log = replace(log, episode_returns=returns, episode_lengths=lengths, sha256="gaps")
        how = {"stages": "offline", "quiet": True, "out": tmp_path / "run"}
        run(quick_config(), dataset=log, env=ENV, **how)
        session = begin(run=tmp_path / "run", dataset=log, guard=GuardSettings())
        guard = json.loads((session.folder / "session.json").read_text())["beside"]["guard"]
        assert guard["returns"] == pytest.approx(returns[lengths == 20])

    def test_each_unit_has_a_guard_of_its_own(self, begin, time):
        limits = GuardSettings(returns=None, limits=[Limit("heat", high=90.0)], units=2)
        session = begin(mode="on", guard=limits)
        both = np.full((2, 1), 0.5)
        session.act(both)
        with pytest.warns(GuardAlarm, match="unit 1"):
            session.observe(
                reward=[1, 1], next_obs=both, signals=[{"heat": 1.0}, {"heat": 99.0}], unit=[0, 1]
            )
        session.act(both)
        assert [session.standing[unit].actor for unit in (0, 1)] == ["new", "old"]


class TestTimeOuts:
    def test_the_old_controller_acts_after_a_call_that_came_late(self, begin, time):
        session = begin(mode="on", dead_man=DeadMan(between_calls=2.0))
        control(session, time, 2)
        assert not session.overdue
        time.now += 5.0
        assert "No action was asked for in 5 s" in session.overdue
        control(session, time, 2)
        assert who(session) == ["new", "new", "old", "new"]

    def test_the_old_controller_acts_on_an_old_observation(self, begin, time):
        session = begin(mode="on", dead_man=DeadMan(observation_age=1.0))
        time.now = 10.0
        session.act(OBS, observed_at=9.5)
        session.act(OBS, observed_at=8.0)
        assert who(session) == ["new", "old"]
        with pytest.raises(InputError, match="observed_at"):
            session.act(OBS)


class TestCanary:
    @pytest.fixture
    def session(self, begin, budget_run, time):
        """After ten episodes of the old controller in shadow, of which the account learns."""
        rng = np.random.default_rng(0)
        guard = GuardSettings(returns=rng.normal(4.0, 0.2, 40), range=Range(-8.0, 6.0))
        session = begin(run=budget_run, guard=guard)
        control(session, time, 10 * EPISODE, lambda actor: 1.0 + rng.normal(0.0, 0.01))
        return session

    @pytest.mark.parametrize("lags", [False, True])
    def test_trials_keep_the_promise_and_the_better_policy_is_promoted(self, session, time, lags):
        assert set(who(session)) == {"old"}
        budget = session._operation.studying.account
        assert budget.earnings.episodes == 10 and budget.trials == 0 and session.budget > 0.0
        session.set_mode("canary")
        paid = lambda actor: 1.5 if actor == "new" else 1.0  # noqa: E731
        control(session, time, 12 * EPISODE, paid, lags=lags)
        assert "new" in who(session)[40:]
        assert budget.trials and budget.promoted and budget.incumbent == 1
        assert budget.ledger.least_margin(budget.earnings.level) >= 0.0

    def test_a_policy_that_earns_less_costs_no_more_than_the_budget(self, session, time):
        session.set_mode("canary")
        budget = session._operation.studying.account
        floor = budget.earnings.floor
        control(session, time, 12 * EPISODE, lambda actor: floor if actor == "new" else 1.0)
        assert "new" in who(session)[40:], "it was tried"
        assert budget.lost and budget.incumbent == 0
        assert budget.ledger.least_margin(budget.earnings.level) >= 0.0
        assert who(session)[-EPISODE:] == ["old"] * EPISODE

    def test_the_account_is_right_whoever_acts(self, session, time):
        """The user lets the new policy act whatever it costs; then the budget has to be kept."""
        budget = session._operation.studying.account
        session.set_mode("on")
        control(session, time, 3 * EPISODE, lambda actor: -5.0)
        assert who(session)[-1] == "new" and session.budget == 0.0
        assert budget.earnings.episodes == 10, "these were not the reference's"
        control(session, time, 1, lambda actor: -5.0)
        session.set_mode("canary")
        control(session, time, EPISODE - 1, first=1)
        assert who(session)[-EPISODE:] == ["new", "old", "old", "old"]
        control(session, time, EPISODE)
        assert who(session)[-EPISODE:] == ["old"] * EPISODE
        assert decisions(session)[-1]["why"] == "The loss budget does not allow a trial."

    def test_after_a_fault_it_returns_only_with_a_newer_policy_that_the_gate_accepts(
        self, session, begin, time, log_file, tmp_path
    ):
        session.set_mode("canary")
        control(session, time, 12 * EPISODE, lambda actor: 1.5 if actor == "new" else 1.0)
        budget = session._operation.studying.account
        assert budget.promoted
        session.set_mode("on")
        with pytest.warns(GuardAlarm, match="earns less than the controller that ran before"):
            control(session, time, 12 * EPISODE, lambda actor: -2.0 if actor == "new" else 1.0)
        assert who(session)[-1] == "old" and budget.incumbents == [0], "the promotion is taken back"
        session.set_mode("canary")
        session.set_mode("on")
        control(session, time, EPISODE)
        assert who(session)[-EPISODE:] == ["old"] * EPISODE, "the user's mode is not enough"
        with pytest.raises(InputError, match="as soon as a newer one is accepted"):
            session.trust_again()
        assert session.learn(updates=8) > 0
        control(session, time, EPISODE)
        assert who(session)[-EPISODE:] == ["new"] * EPISODE, "learning went on, and was accepted"
        assert session.standing[0].trusted

        killed = tmp_path / "killed"
        shutil.copytree(session.folder, killed)
        again = begin(resumes=killed)
        assert not again.standing[0].trusted, "what was learned is lost, and the trust in it"


class TestGoingOn:
    def test_mode_guard_and_transfer_are_as_they_were(self, begin, time, tmp_path):
        guard = GuardSettings(
            returns=None, limits=[Limit("heat", high=90.0, allowed=0.2), Limit("p", rate=5.0)]
        )
        session = begin(guard=guard, transfer_rate=0.001)
        rng = np.random.default_rng(0)
        for step in range(18):
            signals = {"heat": float(rng.normal(88.0, 2.0)), "p": float(rng.uniform(0, 4))}
            session.set_mode("on" if step % 6 > 2 else "shadow")
            control(session, time, 1, signals=signals, first=step)
        copy = session.save(tmp_path / "copy")
        now = time.now
        again = begin(resumes=copy)
        one, other = (x._operation.supervisor._units[0] for x in (session, again))
        assert again.mode == session.mode and again.standing == session.standing
        assert other.board.transfer.moving.tolist() == one.board.transfer.moving.tolist() == [True]
        assert other.board.policy == one.board.policy is not None
        for x, y in zip(one.guard.signals, other.guard.signals, strict=True):
            assert (x.last, x.at, x.evidence()) == (y.last, y.at, y.evidence())
        sent = control(session, time, 5, signals=signals)
        time.now = now
        again.gap()
        assert control(again, time, 5, signals=signals).tolist() == sent.tolist()

    def test_a_function_must_be_given_again(self, begin, tmp_path):
        locks = Interlocks(np.array([-1.0]), np.array([1.0]), project=lambda obs, action: action)
        copy = begin(interlocks=locks).save(tmp_path / "copy")
        with pytest.raises(InputError, match=r"give it again: .*controller="):
            begin(resumes=copy, controller=None)
        with pytest.raises(InputError, match=r"give it again: .*project="):
            begin(resumes=copy)
        begin(resumes=copy, project=lambda obs, action: action)
