"""Environments before a run: which one it is, how long its episodes are, whether it is sound."""

import dataclasses
import functools

import gymnasium as gym
import numpy as np
import pytest

from made_plants import Shown, Tank, tank_log
from moore.config import Config, EvaluationConfig
from moore.data.dataset import Dataset, from_log, validate
from moore.data.log import Log
from moore.envs.identity import find_source, logged_arguments, name_of
from moore.envs.limits import StepLimit, limit_of, limit_of_log, step_limit
from moore.envs.make import Registered, make_env
from moore.errors import InputError
from moore.evaluation.scores import reference_scores
from moore.runs.world import find_world


def dataset(*, env_id: str | None = None, metadata: dict | None = None, **changed) -> Dataset:
    arrays = tank_log(**changed)
    log = Log(**arrays, name="tank log", env_id=env_id, metadata=metadata or {})
    made = from_log(log)
    validate(made)
    return made


def flags(ends: list[int], *, terminal: bool = False, rows: int = 200) -> dict[str, np.ndarray]:
    """Flags of episodes that end at these rows."""
    at = np.isin(np.arange(rows), ends)
    none = np.zeros(rows, bool)
    return {"terminated": at if terminal else none, "truncated": none if terminal else at}


def config(**changes) -> Config:
    return dataclasses.replace(Config(evaluation=EvaluationConfig(episodes=2)), **changes)


class TestStepLimit:
    def test_the_lowest_of_its_wrappers_is_the_environment_s_own(self):
        env = gym.wrappers.TimeLimit(gym.wrappers.TimeLimit(Tank(), 30), 20)
        assert step_limit(env) == step_limit(make_env(lambda: env)) == 20
        assert step_limit(make_env("Pendulum-v1")) == 200
        assert step_limit(make_env(Tank)) is None

    def test_one_inside_a_wrapper_that_skips_frames_counts_other_steps(self):
        class Skips(gym.Wrapper):
            def step(self, action):
                for _ in range(4):
                    result = self.env.step(action)
                return result

        made = make_env(lambda: Skips(gym.wrappers.TimeLimit(Tank(), 40)))
        assert step_limit(made) is None
        assert limit_of(made, None, 0, may_move=True) == StepLimit(10, "measured")
        # A live system is not moved: the log tells the one kind of wrapper from the other.
        assert limit_of(made, None, 0, may_move=False) == StepLimit(40, "inner")
        assert limit_of(made, dataset(), 0, may_move=False) == StepLimit(20, "log")
        ends = flags([29, 59, 89, 199 - 80])
        assert limit_of(made, dataset(**ends), 0, may_move=False) == StepLimit(40, "inner")
        outside = make_env(lambda: gym.wrappers.TimeLimit(Skips(Tank()), 40))
        assert step_limit(outside) == 40

    def test_gymnasium_s_own_wrappers_that_repeat_an_action_count_other_steps_too(self):
        class Twice(gym.wrappers.MaxAndSkipObservation):
            """A user's own kind of it."""

        kinds = [Twice]
        if hasattr(gym.wrappers, "RepeatAction"):  # later versions of Gymnasium
            kinds.append(gym.wrappers.RepeatAction)
        for kind in kinds:
            made = make_env(lambda kind=kind: kind(gym.wrappers.TimeLimit(Tank(), 40), 4))
            assert limit_of(made, None, 0, may_move=True) == StepLimit(10, "measured")

    @pytest.mark.parametrize("logged", [None, "log"])
    def test_one_that_cuts_itself_is_measured(self, logged):
        log = dataset() if logged else None
        for steps in (7, 20, 35):
            env = make_env(lambda steps=steps: Tank(own_limit=steps))
            assert limit_of(env, log, 0, may_move=True) == StepLimit(steps, "measured")

    def test_one_that_cuts_itself_now_here_now_there_has_no_known_limit(self):
        class Varies(Tank):
            def reset(self, *, seed=None, options=None):
                shown = super().reset(seed=seed)
                self.own_limit = int(self.np_random.integers(5, 60))
                return shown

        found = find_world(config(), None, env=Varies, system=None)
        assert found.limit.source == "varying" and "not always" in found.notes[-1]
        assert found.make_env().limit is None, "it is not cut where a trial happened to end"
        days = dataset(**flags([99, 199]))
        assert limit_of(make_env(Varies), days, 0, may_move=True) == StepLimit(100, "varying")

    def test_cutting_an_episode_for_another_reason_is_no_limit(self):
        class Guards(Tank):
            """It cuts an episode that leaves what is safe, however long it has been."""

            def step(self, action):
                obs, reward, ended, _, info = super().step(action)
                return obs, reward, ended, bool(self.steps > 9 and abs(action[0]) > 0.5), info

        env = make_env(Guards)
        assert limit_of(env, None, 0, may_move=True) == StepLimit(1000, "assumed")

    def test_a_live_system_is_not_moved_to_measure_it(self):
        tank = Tank(own_limit=7)
        env = make_env(lambda: tank)
        assert limit_of(env, dataset(), 0, may_move=False) == StepLimit(20, "log")
        assert tank.sent == []

    def test_an_episode_that_terminates_by_itself_says_nothing_of_a_limit(self):
        env = make_env(lambda: Tank(own_limit=7, terminates=True))
        assert limit_of(env, None, 0, may_move=True) == StepLimit(1000, "assumed")

    def test_the_log_says_it_where_its_longest_episodes_were_cut(self):
        assert limit_of_log(dataset()) == StepLimit(20, "log")
        cut = flags([49, 99, 149, 199])
        ended = flags([19, 119], terminal=True)
        both = {"terminated": ended["terminated"], "truncated": cut["truncated"]}
        assert limit_of_log(dataset(**both)) == StepLimit(50, "log")

    def test_or_where_all_have_one_length(self):
        days = flags([99, 199], terminal=True)
        assert limit_of_log(dataset(**days)) == StepLimit(100, "log")

    def test_but_not_where_the_longest_failed_or_time_outs_were_not_recorded(self):
        ended = flags([59, 199], terminal=True)
        assert limit_of_log(dataset(**ended)) is None
        unknown = dataset(metadata={"timeouts_recorded": False})
        assert limit_of_log(unknown) is None

    def test_what_is_assumed_is_no_shorter_than_the_log(self):
        rows = 2600
        ended = flags([1199, 2599], terminal=True, rows=rows)
        log = dataset(rows=rows, **ended)
        env = make_env(Tank)
        assert limit_of(env, log, 0, may_move=True) == StepLimit(1400, "assumed")

    def test_an_environment_that_ends_its_own_long_episodes_is_not_cut_short(self):
        env = make_env(lambda: Tank(own_limit=1920, terminates=True))
        env.reset(seed=0)
        steps = 1
        while not any(env.step(np.zeros(1))[2:4]):
            steps += 1
        assert steps == 1920

    def test_what_was_guessed_is_said_and_what_was_given_prevails(self):
        log = dataset()
        found = find_world(config(), log, env=Tank, system=None)
        assert found.limit == StepLimit(20, "log") and "20 steps" in found.notes[0]
        assert found.make_env().limit == 20
        found = find_world(config(episode_steps=15), log, env=Tank, system=None)
        assert found.limit == StepLimit(15, "given") and found.notes == ()
        found = find_world(
            config(episode_steps=15), log, env=lambda: Tank(own_limit=9), system=None
        )
        assert found.make_env().limit == 15


class TestIdentity:
    def test_a_function_s_environment_has_the_id_of_what_it_makes(self):
        def make():
            return gym.make("InvertedPendulum-v5")

        assert name_of(make, make(), "Hopper-v5") == "InvertedPendulum-v5"
        rescaled = gym.wrappers.RescaleAction(make(), -1.0, 1.0)
        assert name_of(make, make_env(lambda: rescaled), "") == "InvertedPendulum-v5"

    def test_but_none_where_a_wrapper_changes_what_it_shows_or_pays(self):
        made = gym.make("InvertedPendulum-v5")
        for wrapped in (
            gym.wrappers.TransformObservation(made, lambda obs: 57.3 * obs, None),
            gym.wrappers.TransformReward(made, lambda reward: 2 * reward),
            Shown(made, lambda n, *rest: rest),
        ):
            assert name_of(lambda: None, wrapped, "InvertedPendulum-v5") == "custom"

    def test_nor_does_it_inherit_another_s_from_a_preset(self):
        assert name_of(Tank, Tank(), "Hopper-v5") == "custom"
        assert name_of(Tank, Tank(), "") == "custom"
        assert name_of(Tank, Tank(), "Boiler 3") == "Boiler 3"

    def test_an_id_from_the_log_alone_never_imports_a_module(self, tmp_path, monkeypatch):
        (tmp_path / "imported_by_a_log.py").write_text("raise SystemExit('imported')")
        monkeypatch.syspath_prepend(tmp_path)
        log = dataset(env_id="imported_by_a_log:Plant-v0")
        with pytest.raises(InputError, match="--env-id imported_by_a_log:Plant-v0"):
            find_world(config(), log, env=None, system=None)
        assert find_source(None, "Pendulum-v1", "", log) == Registered("Pendulum-v1")

    def test_arguments_that_the_log_was_recorded_with_are_used_for_its_own_id_alone(self):
        recorded = {"env_args": '{"g": 5.0}'}
        log = dataset(env_id="Pendulum-v1", metadata=recorded)
        assert find_source(None, "", "", log).arguments == '{"g": 5.0}'
        assert find_source(None, "Pendulum-v1", "", log)().unwrapped.g == 5.0
        assert find_source(None, "Pendulum-v1", '{"g": 1.0}', log)().unwrapped.g == 1.0
        assert find_source(None, "MountainCarContinuous-v0", "", log).arguments == ""
        joined = dataset(metadata={"parts": [recorded, {"env_args": '{"g": 9.0}'}]})
        with pytest.raises(InputError, match="different arguments"):
            logged_arguments(joined)

    @pytest.mark.parametrize("text", ["{", "[1]", '{"unknown": 1}'])
    def test_arguments_that_do_not_fit_are_told(self, text):
        with pytest.raises(InputError, match="env"):
            make_env(Registered("Pendulum-v1", text))

    def test_scores_are_those_of_the_environment_of_the_run(self):
        from moore.runs.setup import _reference

        def world(env_id, steps=1000):
            return dataclasses.replace(
                find_world(config(episode_steps=steps), None, env=Tank, system=None), env_id=env_id
            )

        known = reference_scores("Hopper-v5")
        hopper = dataclasses.replace(dataset(env_id="Hopper-v5"), reference=None)
        borrowed = dataclasses.replace(hopper, reference=known)
        for log in (None, hopper, borrowed):
            assert _reference(log, world("Hopper-v5"), "") == known
            assert _reference(log, world("custom"), "") is None
            # Of another task with the same name.
            assert _reference(log, world("Hopper-v5", steps=100), "") is None
            assert _reference(log, world("Hopper-v5"), '{"forward_reward_weight": 2}') is None
        own = dataclasses.replace(known, source="the plant's book")
        assert _reference(dataclasses.replace(hopper, reference=own), world("custom"), "") == own


class TestTrial:
    def test_one_object_in_the_place_of_several_is_refused(self):
        tank = Tank(own_limit=20)
        with pytest.raises(InputError, match=r"--evaluation\.episodes 0"):
            find_world(config(), None, env=lambda: tank, system=None)
        with pytest.raises(InputError, match="the same one"):
            wrapped = lambda: gym.wrappers.TimeLimit(tank, 20)  # noqa: E731
            find_world(config(), None, env=wrapped, system=None)

    def test_where_only_one_can_be_open_it_is_said_and_none_is_left_open(self):
        class Licence(Tank):
            held = 0

            def __init__(self):
                if Licence.held:
                    raise OSError("Address already in use")
                super().__init__(own_limit=20)
                Licence.held += 1

            def close(self):
                Licence.held -= 1

        with pytest.raises(InputError, match=r"evaluation\.episodes 0"):
            find_world(config(), None, env=Licence, system=None)
        assert Licence.held == 0
        none = config(evaluation=EvaluationConfig(episodes=0))
        find_world(none, None, env=Licence, system=None)
        one = config(evaluation=EvaluationConfig(episodes=1))
        find_world(one, None, env=Licence, system=None, acts=False)
        assert Licence.held == 0

    def test_running_statistics_are_refused_and_frozen_ones_are_not(self):
        def learning():
            return gym.wrappers.NormalizeObservation(gym.wrappers.TimeLimit(Tank(), 20))

        def frozen():
            env = learning()
            env.update_running_mean = False
            return env

        for episodes in (0, 2):
            some = config(evaluation=EvaluationConfig(episodes=episodes))
            with pytest.raises(InputError, match="NormalizeObservation"):
                find_world(some, dataset(), env=learning, system=None)
        find_world(config(), dataset(), env=frozen, system=None)

    def test_what_is_carried_over_between_episodes_is_noted_whatever_it_is_called(self):
        class Drifts(gym.Wrapper):
            """A running mean of its own making."""

            mean = 0.0

            def reset(self, **options):
                obs, info = self.env.reset(**options)
                return obs - self.mean, info

            def step(self, action):
                obs, *rest = self.env.step(action)
                self.mean = 0.9 * self.mean + 0.1 * obs
                return obs - self.mean, *rest

        found = find_world(config(), None, env=lambda: Drifts(Tank(own_limit=20)), system=None)
        assert any("carried over" in note for note in found.notes)
        found = find_world(config(), None, env=lambda: Tank(own_limit=20), system=None)
        assert not any("carried over" in note for note in found.notes)

    def test_values_that_the_log_never_has_are_noted(self):
        def pascal():
            tank = Tank(own_limit=20)
            space = tank.observation_space
            return gym.wrappers.TransformObservation(tank, lambda obs: 1e5 * obs, space)

        notes = find_world(config(), dataset(), env=pascal, system=None).notes
        assert any("units" in note and "0 (" in note and "1 (" in note for note in notes)

    @pytest.mark.parametrize(("offset", "is_lost"), [(1.7e9, True), (10.0, False)])
    def test_readings_whose_steps_float32_loses_are_noted(self, offset, is_lost):
        class Clock(gym.ObservationWrapper):
            def observation(self, obs):
                return np.append(obs[:1], offset + self.unwrapped.steps)  # float64

        notes = find_world(config(), None, env=lambda: Clock(Tank(own_limit=20)), system=None).notes
        assert any("float32" in note and "[1]" in note for note in notes) == is_lost

    def test_a_live_system_is_made_and_closed_and_never_moved(self):
        done = []

        class Live(Tank):
            def reset(self, **options):
                done.append("reset")
                return super().reset(**options)

            def close(self):
                done.append("closed")

        none = config(evaluation=EvaluationConfig(episodes=0))
        find_world(none, dataset(), env=Live, system=None)
        assert done == ["closed"]

    @pytest.mark.parametrize("how", ["a lambda", "a partial", "a method", "wrapped"])
    def test_the_only_one_there_is_is_not_closed_before_it_is_used(self, how):
        class Connection(Tank):
            is_open = True

            def close(self):
                self.is_open = False

            def itself(self):
                return self

        plant = Connection()
        give = {
            "a lambda": lambda: plant,
            "a partial": functools.partial(Connection.itself, plant),
            "a method": plant.itself,
            "wrapped": lambda: gym.wrappers.TimeLimit(plant, 20),
        }[how]
        none = config(evaluation=EvaluationConfig(episodes=0))
        find_world(none, dataset(), env=give, system=None)
        find_world(none, dataset(), env=Connection, system=give)
        assert plant.is_open
