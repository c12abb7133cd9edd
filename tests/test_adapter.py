"""The adapter: what comes in is copied and checked, what goes out is finite and within bounds."""

from decimal import Decimal
from fractions import Fraction

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_plants import InPlace, Shown, Tank, bad_reading, bad_reward
from moore.envs.bounds import Bounds
from moore.envs.collector import Collector
from moore.envs.evaluation import evaluate_policy, run_episodes
from moore.envs.make import make_env
from moore.envs.recorder import record_episodes
from moore.errors import InputError

HALF = np.array([0.5], np.float32)


def adapted(env: gym.Env, **options):
    return make_env(lambda: env, **options)


def collected(env: gym.Env, steps: int, **options) -> list:
    """What a collector makes of some steps with one action."""
    collector = Collector(adapted(env, **options), 0)
    return [collector.step(HALF) for _ in range(steps)]


finite = st.floats(-1e6, 1e6, width=32)


class TestBounds:
    @given(finite, st.floats(0.0, 1e6, width=32), st.floats(-3.0, 3.0))
    def test_actions_go_there_and_back_and_never_leave_the_bounds(self, low, width, scaled):
        bounds = Bounds(*(np.array([x], np.float32) for x in (low, low + width)))
        own = bounds.own(np.array([scaled]))
        assert np.isfinite(own).all() and bounds.low <= own <= bounds.high
        back = bounds.scaled(own)
        assert np.isfinite(back).all() and np.abs(back) <= 1.0
        if bounds.high - bounds.low > 1e-3 * max(abs(low), 1.0):
            assert back == pytest.approx(np.clip(scaled, -1, 1), abs=1e-2)

    def test_a_locked_entry_is_zero_inside_and_its_value_outside(self):
        bounds = Bounds(np.float32([-1, 0.5]), np.float32([1, 0.5]))
        assert bounds.locked.tolist() == [1]
        assert bounds.scaled(np.array([0.2, 0.5]))[1] == 0.0
        assert bounds.own(np.array([0.2, -0.7]))[1] == 0.5


class TestWhichSpaceCounts:
    def test_that_of_the_environment_as_it_was_given(self):
        env = make_env(lambda: gym.wrappers.RescaleAction(gym.make("Pendulum-v1"), -1.0, 1.0))
        assert (env.bounds.low, env.bounds.high) == (-1.0, 1.0)
        assert env.action(HALF) == pytest.approx(0.5)

    def test_bounds_of_the_plant_itself_are_reached_through_a_wrapper(self):
        tank = Tank()
        wider = gym.spaces.Box(-4.0, 4.0, (1,), np.float32)
        env = make_env(lambda: gym.wrappers.TransformAction(tank, lambda a: a / 4, wider))
        env.reset(seed=0)
        env.step(np.ones(1))
        assert env.bounds.high == 4.0 and tank.sent[-1] == pytest.approx(1.0)

    @pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
    def test_what_is_sent_is_in_it_also_where_float32_rounds_its_bounds_outwards(self, kind):
        tank = Tank()
        tank.action_space = gym.spaces.Box(-0.1, 0.1, (1,), kind)
        env = adapted(tank)
        env.reset(seed=0)
        for action in (-1.0, 0.3, 1.0):
            env.step(np.array([action]))
        assert all(tank.action_space.contains(sent) for sent in tank.sent)
        assert {sent.dtype for sent in tank.sent} == {np.dtype(kind)}

    @pytest.mark.parametrize(
        ("space", "words"),
        [
            (gym.spaces.Box(-1.0, 1.0, (2, 3)), "shape"),
            (gym.spaces.Box(-1.0, 1.0, ()), "flat vector"),
            (gym.spaces.Box(-100, 100, (2,), np.int8), "whole numbers"),
            (gym.spaces.Box(-1.0, np.inf, (2,)), "finite"),
            (gym.spaces.Box(0.0, 0.0, (2,)), "nothing to choose"),
            (gym.spaces.Box(-3e38, 3e38, (2,)), "differences"),
            (gym.spaces.Box(-1e300, 1e300, (2,), np.float64), "differences"),
            (gym.spaces.Box(1e9, 1e9 + 1, (2,), np.float64), "subtract an offset"),
            (gym.spaces.Discrete(3), "continuous"),
            (gym.spaces.Dict({"a": gym.spaces.Box(-1.0, 1.0, (1,))}), "continuous"),
        ],
    )
    def test_others_are_refused_by_their_trait(self, space, words):
        tank = Tank()
        tank.action_space = space
        with pytest.raises(InputError, match=words):
            adapted(tank)

    @pytest.mark.parametrize("in_place", [False, True])
    def test_one_that_changes_is_refused_because_actions_are_scaled_by_one(self, in_place):
        class Settles(Tank):
            box = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

            @property
            def action_space(self):
                return self.box if in_place else gym.spaces.Box(self.box.low, self.box.high)

        tank = Settles()
        env = adapted(tank)
        env.reset(seed=0)
        for low, high, words in ((-1.0, 3.0, r"\[3.\]"), (-5.0, 1.0, r"\[-5.\]")):
            tank.box.low[:], tank.box.high[:] = low, high
            assert (env.bounds.low, env.bounds.high) == (-1.0, 1.0)
            with pytest.raises(InputError, match=words + ".* after a reset"):
                env.reset(seed=0)


class TestInterface:
    def test_a_foreign_class_an_old_reset_and_old_steps_are_told(self):
        class Foreign:
            observation_space = action_space = None

            def close(self):
                pass

        class Older(Tank):
            def reset(self):
                return super().reset()

        class Old(Tank):
            def reset(self, *, seed=None, options=None):
                return super().reset(seed=seed)[0]

        class Bare(Tank):
            def reset(self, *, seed=None, options=None):
                return super().reset(seed=seed)[0], None

        class Four(Tank):
            def step(self, action):
                return super().step(action)[:4]

        with pytest.raises(InputError, match=r"no gymnasium\.Env"):
            make_env(Foreign)
        with pytest.raises(InputError, match="takes no seed"):
            make_env(lambda: gym.wrappers.ClipAction(Older()))
        with pytest.raises(InputError, match=r"reset\(\) returns"):
            adapted(Old()).reset(seed=0)
        with pytest.raises(InputError, match=r"info of reset.* a NoneType; expected a dict"):
            adapted(Bare()).reset(seed=0)
        for wrap in (lambda env: env, lambda env: gym.wrappers.TimeLimit(env, 5)):
            env = adapted(wrap(Four()))
            env.reset(seed=0)
            with pytest.raises(InputError, match=r"step"):
                env.step(HALF)

    @pytest.mark.parametrize(
        ("alter", "words"),
        [
            (lambda n, obs, *rest: (obs[:1], *rest), "shape"),
            (lambda n, obs, *rest: ("none", *rest), "holds text"),
            (lambda n, obs, *rest: (obs.view("M8[s]"), *rest), "holds dates"),
            (lambda n, obs, r, *rest: (obs, np.timedelta64(5, "s"), *rest), "holds durations"),
            (lambda n, obs, *rest: ([[1.0], [2.0, 3.0]], *rest), "array of numbers"),
            (lambda n, obs, r, *rest: (obs, np.zeros(3), *rest), "one number"),
            (lambda n, obs, r, *rest: (obs, "1.5", *rest), "holds text"),
            (lambda n, obs, r, end, cut, info: (obs, r, None, cut, info), "True or False"),
            (lambda n, obs, r, end, cut, info: (obs, r, end, np.nan, info), "True or False"),
            (lambda n, obs, r, end, cut, info: (obs, r, 0.5, cut, info), "True or False"),
            (lambda n, obs, r, end, cut, info: (obs, r, end, -1, info), "True or False"),
            (lambda n, obs, *rest: (obs + 1j, *rest), "complex"),
            (lambda n, *rest: list(rest), "a list of 5 values"),
        ],
    )
    def test_values_of_another_kind_are_told(self, alter, words):
        env = adapted(Shown(Tank(), alter))
        env.reset(seed=0)
        with pytest.raises(InputError, match=words):
            env.step(HALF)

    def test_several_environments_in_one_are_told_how_to_be_given(self):
        with pytest.raises(InputError, match="a function that makes a single one"):
            make_env(lambda: gym.make_vec("Pendulum-v1", 2))

    def test_a_failing_close_is_a_warning_because_all_is_done_by_then(self):
        class Stuck(Tank):
            def close(self):
                raise OSError("the port is busy")

        with pytest.warns(UserWarning, match=r"close\(\) fails with OSError: the port is busy"):
            adapted(Stuck()).close()

    def test_before_the_first_reset_nothing_was_seen_and_actions_are_scaled(self):
        env = make_env("Pendulum-v1")
        assert env.seen.tolist() == [0.0, 0.0, 0.0] and not env.blind and env.fault is None
        assert env.action_space == gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        assert env.env.action_space == gym.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def test_a_reset_that_takes_a_seed_alone_is_enough(self):
        class Seeded(Tank):
            def reset(self, *, seed=None):
                return super().reset(seed=seed)

        assert adapted(Seeded()).reset(seed=0)[0].shape == (2,)

    def test_a_reward_may_come_as_an_array_of_one_and_flags_as_numpy_bools(self):
        def alter(n, obs, reward, *rest):
            return obs, np.array([reward]), np.bool_(False), np.array([False]), {}

        (row,) = collected(Shown(Tank(), alter), 1)
        assert row.reward.shape == () and row.terminated.dtype == bool


class TestCopies:
    def test_rows_of_a_plant_that_reuses_its_buffer_are_those_of_one_that_does_not(self):
        for made in (InPlace(), Tank()):
            rows = collected(made, 30, limit=20)
            kept = [(row.obs, row.next_obs) for row in rows]
            if isinstance(made, InPlace):
                reused = kept
        for (obs, after), (obs_too, after_too) in zip(reused, kept, strict=True):
            assert np.array_equal(obs, obs_too) and np.array_equal(after, after_too)
            assert not np.array_equal(obs, after)

    def test_so_are_recorded_ones_and_evaluations(self):
        def act(obs, row):
            return HALF

        first, second = (
            next(record_episodes(adapted(env, limit=5), act, run_seed=0, purpose="collect"))
            for env in (InPlace(), Tank())
        )
        assert all(np.array_equal(first[key], second[key]) for key in first)
        episodes = [
            run_episodes([adapted(env, limit=5)], lambda obs: obs[:, :1], [3]).returns
            for env in (InPlace(), Tank())
        ]
        assert episodes[0] == episodes[1]

    def test_a_plant_that_writes_into_the_action_does_not_change_what_is_stored_or_held(self):
        class Writes(Tank):
            def step(self, action):
                result = super().step(action)
                action[:] = 99.0
                return result

        tank = Writes()
        first, _, third = collected(Shown(tank, bad_reading(2)), 3)
        assert first.action == HALF and third is None
        assert np.concatenate(tank.sent).tolist() == [0.5, 0.5, 0.5]

    def test_who_writes_into_an_observation_does_not_change_the_last_good_one(self):
        env = adapted(Tank())
        for look in (lambda: env.reset(seed=0)[0], lambda: env.step(HALF)[0], lambda: env.seen):
            look()[:] = 99.0
            assert (env.seen < 2.0).all()


class TestBadReadings:
    @given(st.sets(st.integers(1, 12), max_size=5), st.sampled_from([np.nan, np.inf, -np.inf]))
    def test_what_is_sent_is_finite_and_what_is_kept_was_measured(self, steps, value):
        tank = Tank()
        rows = collected(Shown(tank, bad_reading(*steps, value=value)), 14, limit=7)
        assert np.isfinite(tank.sent).all()
        for row in filter(None, rows):
            for column in (row.obs, row.next_obs, row.reward):
                assert np.isfinite(column).all()
        # A bad reading ends one transition and, within an episode, begins another.
        bad = {n for n in steps} | {n + 1 for n in steps if n % 7}
        assert [n for n, row in enumerate(rows, 1) if row is None] == sorted(bad)

    @pytest.mark.parametrize("number", [Decimal("1.5"), Fraction(3, 2), np.array([[1.5]]), [1.5]])
    def test_numbers_of_any_kind_are_taken(self, number):
        (row,) = collected(Shown(Tank(), lambda n, obs, r, *rest: (obs, number, *rest)), 1)
        assert row.reward == 1.5

    @pytest.mark.parametrize(
        "unmeasured", [np.ma.array([3.0, 1.0], mask=[True, False]), [None, 1.0], [10**400, 1]]
    )
    def test_what_is_masked_missing_or_beyond_any_float_was_not_measured(self, unmeasured):
        def alter(n, obs, *rest):
            return (unmeasured if n == 2 else obs), *rest

        rows = collected(Shown(Tank(), alter), 4)
        assert [row is None for row in rows] == [False, True, True, False]
        for reward in (np.ma.masked, np.ma.array(3.0, mask=True), 10**400, -(10**400)):
            rewarded = Shown(Tank(), lambda n, obs, r, *rest, w=reward: (obs, w, *rest))
            assert collected(rewarded, 1) == [None]

    def test_while_the_observation_is_bad_the_last_good_action_is_sent(self):
        tank = Tank()
        collector = Collector(adapted(Shown(tank, bad_reading(2, 3))), 0)
        for action in (0.1, 0.2, 0.3, 0.4, 0.5):
            collector.step(np.array([action], np.float32))
        assert np.concatenate(tank.sent) == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.5])

    def test_before_there_was_one_the_middle_of_the_bounds(self):
        class Blind(Tank):
            action_space = gym.spaces.Box(2.0, 6.0, (1,), np.float32)

            def reset(self, *, seed=None, options=None):
                super().reset(seed=seed)
                return np.full(2, np.nan, np.float32), {}

        tank = Blind()
        assert collected(tank, 1) == [None] and tank.sent[0] == 4.0

    def test_the_last_action_of_an_episode_is_not_held_in_the_next(self):
        class BlindLater(Tank):
            episodes = 0

            def reset(self, *, seed=None, options=None):
                obs, info = super().reset(seed=seed)
                self.episodes += 1
                return obs / (self.episodes == 1), info

        tank = BlindLater(own_limit=3)
        with np.errstate(divide="ignore"):
            collected(tank, 4)
        assert np.concatenate(tank.sent).tolist() == [0.5, 0.5, 0.5, 0.0]

    def test_a_policy_that_is_not_finite_never_reaches_the_plant(self):
        tank = Tank()
        collector = Collector(adapted(tank), 0)
        assert collector.step(HALF) is not None
        assert collector.step(np.array([np.nan], np.float32)) is None
        assert np.concatenate(tank.sent) == pytest.approx([0.5, 0.5])

    def test_a_missing_reward_counts_as_the_mean_of_the_others_of_its_episode(self):
        env = Shown(Tank(), lambda n, obs, r, *rest: (obs, None if n == 3 else 2.0, *rest))
        collector = Collector(adapted(env, limit=5), 0)
        rows = [collector.step(HALF) for _ in range(5)]
        assert [row is None for row in rows] == [False, False, True, False, False]
        assert collector.take_episode_returns() == [10.0]
        evaluated = run_episodes(
            [adapted(Shown(Tank(), bad_reward(2)), limit=4)], lambda obs: obs[:, :1], [0]
        )
        assert np.isfinite(evaluated.returns).all()

    @pytest.mark.parametrize("value", [1e39, -1e300, np.inf])
    def test_so_does_one_that_a_learner_could_not_hold(self, value):
        collector = Collector(adapted(Shown(Tank(), bad_reward(2, value=value)), limit=4), 0)
        rows = [collector.step(HALF) for _ in range(4)]
        assert [row is None for row in rows] == [False, True, False, False]
        assert np.isfinite(collector.take_episode_returns()).all()

    def test_the_first_of_several_in_a_row_is_told(self):
        told = []
        env = adapted(Shown(Tank(), bad_reading(2, 3, 6)))
        collector = Collector(env, 0, on_fault=told.append)
        for _ in range(8):
            collector.step(HALF)
        assert told == ["observation entry 0 is nan"] * 2

    def test_too_many_in_a_row_end_it_with_a_word_and_one_less_does_not(self):
        env = adapted(Shown(Tank(), bad_reading(*range(1, 4))), max_bad_readings=3)
        env.reset(seed=0)
        for _ in range(5):
            env.step(HALF)
        env = adapted(Shown(Tank(), bad_reading(*range(1, 5))), max_bad_readings=3)
        env.reset(seed=0)
        with pytest.raises(InputError, match=r"4 readings in a row .* --online.max-bad-readings"):
            for _ in range(5):
                env.step(HALF)

    def test_what_counts_is_how_many_there_are_in_a_row(self):
        shown = Shown(Tank(), bad_reading(*range(1, 40, 2)))
        assert len(collected(shown, 40, max_bad_readings=3)) == 40

    def test_a_log_is_not_recorded_from_bad_readings(self):
        episodes = record_episodes(
            adapted(Shown(Tank(), bad_reading(2)), limit=5),
            lambda obs, row: HALF,
            run_seed=0,
            purpose="collect",
        )
        with pytest.raises(InputError, match="row 1 cannot be recorded"):
            next(episodes)


def test_a_policy_is_cut_at_weaker_actuators_and_it_is_said():
    sent = []

    class Weak(Tank):
        def step(self, action):
            sent.append(float(action[0]))
            return super().step(action)

    class Wide:
        low, high = np.float32([-2.0]), np.float32([2.0])

        def __call__(self, obs, *, deterministic):
            return 2.0 * np.sign(obs[:, :1])

    with pytest.warns(UserWarning, match="cut at the environment's bounds"):
        evaluate_policy(Wide(), lambda: gym.wrappers.TimeLimit(Weak(), 5), episodes=1, seed=0)
    assert {abs(action) for action in sent} == {1.0}
