"""A session: a control system asks for actions, tells what came of them, and says when to learn."""

import json
import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from controlled import control, records, rows, sessions
from moore import Session, load_dataset, load_policy
from moore.agents.numpy_acting import Gaussian
from moore.envs.bounds import Bounds
from moore.errors import InputError
from moore.runs.budgeting import dip_budget
from moore.sessions.acting import Noise, log_densities
from moore.sessions.studying import check_time_or_updates
from moore.sessions.telling import budget_of
from moore.stages.earnings import earnings_of_log
from moore.stages.learner import Learner
from tiny import tiny_log

OBS = np.asarray([0.5], np.float32)


@pytest.fixture
def begin(quick_run, log_file, tmp_path):
    with sessions(quick_run, log_file, tmp_path) as begin:
        yield begin


class TestActing:
    def test_a_first_observation_in_other_units_is_not_acted_on(self, begin):
        session = begin()
        for _ in range(2):
            with pytest.raises(InputError, match=r"no action was sent.*first-observation"):
                session.act(1000 * OBS)
        assert records(session, "act") == []
        session.act(OBS)
        session.act(1000 * OBS)  # what comes later may be a disturbance
        other = begin("other", accept=("hand-over", "first-observation"))
        assert np.isfinite(other.act(1000 * OBS)).all()

    def test_actions_lie_within_the_bounds_and_vary(self, begin):
        session = begin()
        actions = np.stack([session.act(OBS) for _ in range(20)])
        assert actions.dtype == np.float32 and np.abs(actions).max() <= 2.0
        assert len(np.unique(actions)) > 10, "they are drawn"

    def test_several_units_are_asked_at_once(self, begin):
        session = begin()
        actions = session.act(np.ones((3, 1)), unit=["a", "b", "c"])
        assert actions.shape == (3, 1)
        numbers = session.observe(
            reward=[1, 2, 3], next_obs=np.zeros((3, 1)), unit=["a", "b", "c"], truncated=True
        )
        assert numbers == [1, 2, 3]
        assert rows(session).reward.tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("obs", "unit", "words"),
        [
            ([1.0, 2.0], None, r"obs has shape \(2,\); expected \(1,\)"),
            (3.0, None, r"obs has shape \(\); expected"),
            ("warm", None, "holds text"),
            ([[1.0], [2.0]], [1], "expected 2 different ids"),
            ([[1.0], [2.0]], [1, 1], "expected 2 different ids"),
        ],
    )
    def test_wrong_shapes_are_refused_and_leave_nothing(self, begin, obs, unit, words):
        session = begin()
        with pytest.raises(InputError, match=words):
            session.act(obs, unit=unit)
        assert not records(session, "act")

    def test_a_bad_reading_gets_the_last_good_action_and_teaches_nothing(self, begin):
        session = begin()
        assert session.act([np.nan]).tolist() == [0.0], "the middle, for there was no good one"
        session.observe(reward=1.0, next_obs=OBS)
        good = session.act(OBS)
        session.observe(reward=1.0, next_obs=[np.inf])
        assert session.act([np.inf]) == good
        session.observe(reward=np.nan, next_obs=OBS)
        control(session, 1)
        assert len(rows(session).reward) == 1
        assert session._operation.studying.learning.epoch.dropped == 3

    def test_a_unit_that_stays_blind_gets_no_action_until_it_sees_again(self, begin):
        session = begin()
        for _ in range(10):
            session.act([np.nan])
        with pytest.raises(InputError, match="unit 0 has given 11 readings in a row"):
            session.act([np.nan])
        assert session.act(OBS).shape == (1,)

    def test_its_policy_is_the_one_that_is_saved(self, begin):
        session = begin()
        control(session, 6)
        assert session.learn() > 0
        session.save()
        saved = load_policy(session.folder)
        assert session.policy(OBS) == saved(OBS)
        session.act(OBS)
        about = json.loads((session.folder / "policy" / "policy.json").read_text())
        assert records(session, "act")[-1]["policy"] == about["sha256"]


@pytest.mark.parametrize("numbers", [1, 20, 1000])
def test_every_step_has_noise_of_its_own_however_much_it_takes(numbers):
    """As for wide actions, or for many units at once."""
    noise = Noise(7)
    steps = [noise.of(step).standard_normal(numbers) for step in (1, 2, 3)]
    assert len(np.unique(steps)) == 3 * numbers
    np.testing.assert_array_equal(noise.of(2).standard_normal(numbers), steps[1])


class TestDensities:
    """Of a = tanh(u) in [-2, 2], u ~ N(0, 1): p(a) = N(u) / ((1 - a'^2) 2), a' = a / 2."""

    bounds = Bounds(np.asarray([-2.0], np.float32), np.asarray([2.0], np.float32))

    def of(self, value, *, std=1.0, squashed=True, bounds=None):
        drawn_from = Gaussian(np.zeros((1, len(value))), np.full(len(value), std), squashed)
        return log_densities(drawn_from, np.asarray([value]), bounds or self.bounds)[0]

    def test_a_squashed_action(self):
        expected = math.exp(-0.125) / math.sqrt(2 * math.pi) / (1 - math.tanh(0.5) ** 2) / 2
        assert self.of([0.5]) == pytest.approx(math.log(expected))

    def test_a_clipped_one_has_none_where_it_is_at_a_bound(self):
        expected = math.exp(-0.125) / math.sqrt(2 * math.pi) / 2
        assert self.of([0.5], squashed=False) == pytest.approx(math.log(expected))
        assert self.of([1.5], squashed=False) is None

    def test_a_deterministic_policy_has_none(self):
        assert self.of([0.5], std=0.0, squashed=False) is None

    def test_locked_entries_do_not_count(self):
        locked = Bounds(np.asarray([-2.0, 1.0], np.float32), np.asarray([2.0, 1.0], np.float32))
        assert self.of([0.5, 7.0], bounds=locked) == self.of([0.5])

    def test_it_stands_in_the_log(self, begin):
        session = begin()
        control(session, 2)
        assert all(math.isfinite(record["log_density"]) for record in records(session, "act"))


class TestObserving:
    def test_there_must_be_an_action_to_observe(self, begin):
        session = begin()
        with pytest.raises(InputError, match="no action whose outcome is open"):
            session.observe(reward=1.0, next_obs=OBS)
        control(session, 1)
        with pytest.raises(InputError, match="no action whose outcome is open"):
            session.observe(reward=1.0, next_obs=OBS)

    @pytest.mark.parametrize(
        ("what", "words"),
        [
            ({"terminated": 1.0}, "terminated is 1.0; expected True or False"),
            ({"reward": "much"}, "reward is 'much'"),
            ({"reward": np.True_}, "reward is np.True_; expected one number"),
            ({"next_obs": [1.0, 2.0]}, "next_obs has shape"),
            ({"next_obs": None, "truncated": True}, "next_obs is missing where the episode ends"),
        ],
    )
    def test_what_makes_no_sense_is_refused_and_may_be_told_again(self, begin, what, words):
        session = begin()
        session.act(OBS)
        with pytest.raises(InputError, match=words):
            session.observe(**{"reward": 1.0, "next_obs": OBS, **what})
        assert session.observe(reward=1.0, next_obs=OBS) == 1

    def test_a_reward_may_come_late(self, begin):
        session = begin()
        session.act(OBS)
        step = session.observe(next_obs=OBS)
        control(session, 1)
        assert len(rows(session).reward) == 0
        session.reward(step, 7.0)
        assert rows(session).reward.tolist() == [7.0, -1.0]
        with pytest.raises(InputError, match="step 1 waits for no reward"):
            session.reward(step, 7.0)

    def test_a_gap_is_not_bridged(self, begin):
        session = begin()
        control(session, 2, episode=100)
        session.gap()
        control(session, 1, episode=100)
        session.act(OBS)  # whose outcome is never told
        control(session, 1, episode=100)
        assert rows(session).truncated.tolist() == [False, True, True, False]

    def test_units_are_not_mixed(self, begin):
        session = begin()
        for step in range(3):
            session.act([[1.0], [2.0]])
            session.observe(reward=[1, 2], next_obs=[[1.0], [2.0]], truncated=step == 2)
        found = rows(session)
        assert found.obs.ravel().tolist() == [1, 1, 1, 2, 2, 2]
        assert found.truncated.tolist() == [False, False, True] * 2

    def test_there_is_room_for_more_steps_than_the_run_planned(self, begin):
        session = begin()
        control(session, 40)  # the quick run has 36
        assert len(rows(session).reward) == 40


class TestLearning:
    def test_the_schedule_of_the_run_is_kept(self, begin):
        """An update after every step, an epoch every 12 steps."""
        session = begin()
        control(session, 15)
        assert session.due == 15 and session.learn(updates=2) == 2 and session.due == 13
        assert session.learn() == 13 and session.due == 0 and session.learn() == 0
        lines = (session.folder / "metrics.jsonl").read_text().splitlines()
        (row,) = map(json.loads, lines)
        assert (row["epoch"], row["env_steps"], row["updates"]) == (1, 12, 12)
        returns = [-sum((1 - i / 8) ** 2 for i in range(5))] * 3
        assert row["online/episode_returns"] == pytest.approx(returns)

    def test_there_may_be_more_at_night(self, begin):
        session = begin()
        control(session, 1)
        before = session.policy(OBS)
        assert session.learn(updates=3) == 3
        assert session.policy(OBS) != before
        assert session.learn(seconds=0.0) == 0

    def test_an_error_while_learning_loses_no_step_and_stops_no_action(
        self, begin, log_file, monkeypatch
    ):
        session = begin()
        control(session, 2)
        monkeypatch.setattr(Learner, "update", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.learn()
        monkeypatch.undo()
        control(session, 2, first=2)
        with pytest.raises(InputError, match="learning was interrupted by an error"):
            session.save()
        session.close()
        with Session.resume(session.folder, dataset=log_file) as again:
            assert len(rows(again).reward) == again.due == 4

    @pytest.mark.parametrize(
        "budget",
        [{"updates": -1}, {"updates": 1, "seconds": 1.0}],
    )
    def test_a_budget_that_makes_no_sense_is_refused(self, begin, budget):
        with pytest.raises(InputError, match=r"expected a number|not both"):
            begin().learn(**budget)

    @pytest.mark.parametrize("updates", [1.5, math.inf])
    def test_updates_that_are_no_whole_number_are_refused(self, updates):
        with pytest.raises(InputError, match="expected a whole number"):
            check_time_or_updates(updates, None)

    def test_rounds_work_with_files_alone(self, begin):
        live = begin("live")
        control(live, 10)
        live.close()
        rounds = begin("rounds")
        assert rounds.add_log(live.log) == 10
        for one, other in zip(*map(jax.tree.leaves, map(rows, (live, rounds))), strict=True):
            np.testing.assert_array_equal(one, other)
        assert rounds.learn() == 10
        assert not rounds._operation.studying.feeder.finished, "nobody's returns: others have acted"

    def test_a_round_deploys_a_policy_and_learns_from_the_log_that_comes_back(
        self, begin, log_file, tmp_path
    ):
        session = begin()
        session.close()
        deployed = []
        for week in ("one", "two"):
            policy = load_policy(session.folder)
            deployed.append(float(policy(OBS)[0]))
            obs = np.linspace(1.0, 0.5, 11, dtype=np.float32)[:, None]
            np.savez(
                tmp_path / f"{week}.npz", obs=obs[:-1], next_obs=obs[1:], action=policy(obs[:-1]),
                reward=-(obs[:-1, 0] ** 2), terminated=np.zeros(10, bool),
                truncated=np.arange(10) == 9,
            )  # fmt: skip
            with Session.resume(session.folder, dataset=log_file) as again:
                assert again.add_log(tmp_path / f"{week}.npz") == 10
                assert again.learn() == 10
        assert len({*deployed, float(load_policy(session.folder)(OBS)[0])}) == 3
        assert load_dataset(session.log).size == 20

    def test_a_log_that_a_run_would_refuse_is_refused_until_it_is_accepted(self, begin):
        session, log = begin(), tiny_log(seed=1)
        masks = replace(log, truncated=~log.truncated)
        with pytest.raises(InputError, match="ends-in-most-rows"):
            session.add_log(masks)
        assert not records(session, "act")
        assert session.add_log(masks, accept=("ends-in-most-rows",)) == log.size

    def test_a_log_whose_columns_are_in_other_units_is_refused(self, begin, log_file):
        named = {"obs_names": ["pressure"], "obs_units": ["bar"]}
        session = begin(dataset=replace(load_dataset(log_file), metadata=named))
        later = replace(tiny_log(seed=1), metadata=named | {"obs_units": ["Pa"]})
        with pytest.raises(InputError, match=r"obs columns are in .*Pa.*those of the session"):
            session.add_log(later)
        assert not records(session, "act")
        assert session.add_log(replace(later, metadata=named)) == later.size

    def test_whole_episodes_are_taken_as_blocks(self, begin):
        session = begin()
        obs, action = np.arange(4.0)[:, None], np.zeros((3, 1))
        steps = session.observe_episode(obs, action, [1.0, np.nan, 3.0], terminated=True)
        assert steps == [1, 2, 3]
        found = rows(session)
        assert found.reward.tolist() == [1, 3] and found.terminated.tolist() == [False, True]
        assert found.truncated.tolist() == [True, False], "the step between was not measured"
        control(session, 2, episode=9)
        assert len(rows(session).reward) == 4, "a block holds up no step of its own"
        with pytest.raises(InputError, match=r"obs \(4, 1\), action \(2, 1\)"):
            session.observe_episode(obs, action[:2], [1.0, 2.0, 3.0])
        with pytest.raises(InputError, match="entry 0 of action 2 is 9, outside its bounds"):
            session.observe_episode(obs, [[0], [0], [9]], [1.0, 2.0, 3.0])
        with pytest.raises(InputError, match="obs holds text"):
            session.observe_episode([["0"], ["1"]], [[0]], [1.0])
        with pytest.raises(InputError, match="no finite number; None is unknown"):
            session.observe_episode(obs[:2], action[:1], [1.0], log_density=[np.nan])


class TestStatus:
    def test_it_tells_which_steps_are_open_and_what_is_due(self, begin):
        session = begin()
        assert (session.status.steps, session.status.open, session.status.awaited) == (0, {}, {})
        session.act(OBS, unit="north")
        session.observe(next_obs=OBS, unit="north")  # its reward comes later
        session.act(OBS, unit="north")
        told = session.status
        assert (told.steps, told.open, told.awaited) == (2, {"north": 2}, {"north": 2})
        session.reward(1, 1.0)
        session.gap(unit="north")
        assert (session.status.open, session.status.awaited) == ({"north": 0}, {})
        assert session.learn(updates=1) == session.status.updates == 1
        assert session.status.due == 1, "the lost step has its share of the schedule"
        assert session.status.gate is session.status.budget is None
        about = json.loads((session.save() / "policy" / "policy.json").read_text())
        assert session.status.policy == about["sha256"]

    def test_a_budget_is_told_by_the_names_of_its_metrics(self):
        log = [np.full(20, -1.0), np.full(20, -1.1), np.full(20, -0.9)]
        account = dip_budget(0.05, earnings_of_log(log, length=20, floor=-5.0, ends=False))
        told = budget_of(account)
        assert (told["share"], told["trials"]) == (0.05, 0)
        assert told["reference"] == pytest.approx(-20.0) and "margin" in told
        assert budget_of(None) is None
