"""A run on a live system: what touches it, what does not, and how to go on after a stop."""

import shutil
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pages
from moore.agents.adaptive_bc_config import AdaptiveBCConfig
from moore.algorithms import AGENTS
from moore.cli import main
from moore.cli.verdict import verdict
from moore.config import Config, EvaluationConfig
from moore.envs.collector import Collector
from moore.envs.make import make_env
from moore.errors import InputError
from moore.runs.finished import read_runs
from moore.runs.folder import read_metrics
from moore.runs.plan import Plan, functions, how_to_resume, read_plan
from moore.runs.policy import load_policy
from moore.runs.report import write_report
from moore.runs.run import resume, run
from moore.stages.gate import (
    after_abandoned_episode,
    after_episodes,
    after_replacement,
    no_returns_yet,
)
from moore.sweeps import outcome
from tiny import ENV, LinearGaussian, quick_config, tiny_log

# What touches a system has little to do with what is learned: a run that takes a second will do.
EPOCH, EPOCHS = 40, 3
STEPS = EPOCHS * EPOCH  # of the online stage


def config(**changes) -> Config:
    online = replace(quick_config().online, epochs=EPOCHS, steps_per_epoch=EPOCH, refit_every=20)
    return quick_config(online=online, **changes)


class Plant(gym.Wrapper):
    """The task, which remembers what was done to it."""

    def __init__(self, log: list[str], task=ENV):
        super().__init__(task())
        self.log = log
        log.append("made")

    def reset(self, **options):
        self.log.append("reset")
        return super().reset(**options)

    def step(self, action):
        self.log.append("step")
        return super().step(action)

    def close(self):
        self.log.append("closed")
        super().close()


class Stopped(Exception):
    """In place of Ctrl-C."""


def after(epoch: int):
    def until(row, _):
        if row["epoch"] == epoch:
            raise Stopped
        return False

    return until


def curve(folder) -> list[dict]:
    rows = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def assert_no_gap_is_bridged(online):
    """Where no episode ends in D_on, the next row is the successor."""
    data = jax.tree.map(lambda column: np.asarray(column[: int(online.size)]), online.data)
    goes_on = ~(data.terminated | data.truncated)[:-1]
    assert goes_on.mean() > 0.5
    np.testing.assert_array_equal(data.next_obs[:-1][goes_on], data.obs[1:][goes_on])


NONE = EvaluationConfig(episodes=0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same run where acting and evaluation share one kind of environment."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    return run(config(), dataset=tiny_log(), env=ENV, out=folder, quiet=True)


class TestSystemAndSimulator:
    def test_only_the_acting_policy_touches_the_system(self, plain, tmp_path):
        touched = []
        run(
            config(), dataset=tiny_log(), env=ENV, system=lambda: Plant(touched),
            out=tmp_path / "run", quiet=True,
        )  # fmt: skip
        assert touched[:2] == ["made", "closed"], "to see that it fits"
        assert touched[2:4] == ["made", "reset"] and touched[-1] == "closed"
        assert [touched.count(what) for what in ("made", "closed", "step")] == [2, 2, STEPS]
        assert touched.count("reset") == STEPS // 20
        assert curve(tmp_path / "run") == curve(plain.folder)

    @pytest.mark.parametrize(
        ("other", "words"),
        [
            (lambda: gym.wrappers.FlattenObservation(gym.make("Pendulum-v1")), "observations"),
            (lambda: gym.wrappers.TimeLimit(Narrow(), 20), "actions within"),
            (lambda: gym.wrappers.TimeLimit(LinearGaussian(), 30), "a step limit of 30"),
        ],
    )
    def test_a_system_of_another_kind_is_refused_before_anything_is_written(
        self, tmp_path, other, words
    ):
        touched = []
        with pytest.raises(InputError, match=words):
            run(
                config(), dataset=tiny_log(), env=ENV, system=lambda: Plant(touched, other),
                out=tmp_path / "run", quiet=True,
            )  # fmt: skip
        assert not (tmp_path / "run").exists() and touched == ["made", "closed"]

    @pytest.mark.parametrize("how", ["resume", "start from"])
    def test_a_run_goes_on_only_with_the_actions_that_it_was_learned_for(
        self, plain, tmp_path, how
    ):
        def wide():
            made = ENV()
            made.unwrapped.action_space = gym.spaces.Box(-2.5, 2.5, (1,), np.float32)
            return made

        given = {"dataset": tiny_log(), "env": wide, "quiet": True}
        with pytest.raises(InputError, match=r"learned with actions within .* but the environment"):
            if how == "resume":
                resume(plain.folder, epochs=EPOCHS + 1, **given)
            else:
                start = {"stages": "online", "start_from": plain.folder}
                run(config(), out=tmp_path / "run", **given, **start)

    def test_a_system_without_a_limit_is_cut_at_that_of_the_evaluation(self, tmp_path):
        """A simulator from gymnasium.make has a limit, a plant has none."""
        found = run(
            config(), dataset=tiny_log(), env=ENV, system=LinearGaussian,
            out=tmp_path / "run", quiet=True,
        )  # fmt: skip
        assert found.summary["acting"]["episodes"] == STEPS // 20

    def test_it_is_not_even_made_for_a_run_that_cannot_be(self, plain):
        touched = []
        with pytest.raises(InputError, match="never overwritten"):
            run(
                config(), dataset=tiny_log(), env=ENV, system=lambda: Plant(touched),
                out=plain.folder, quiet=True,
            )  # fmt: skip
        assert touched == []


class Narrow(LinearGaussian):
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory):
    """A run that evaluates nothing, and what was done to its only system."""
    touched = []
    folder = tmp_path_factory.mktemp("unwatched") / "run"
    arguments = {"dataset": tiny_log(), "env": lambda: Plant(touched), "quiet": True}
    with pages.drawn():
        return run(config(evaluation=NONE), out=folder, **arguments), touched


class TestWithoutSimulator:
    def test_nothing_but_the_acting_policy_touches_the_system(self, unwatched):
        _, touched = unwatched
        assert [touched.count(what) for what in ("made", "closed", "step")] == [2, 2, STEPS]

    def test_it_learns_the_same(self, unwatched, plain):
        """Evaluations change nothing: the acting policy of either run earns the same."""
        acted = [
            [row.get("online/episode_returns") for row in curve(result.folder) if row["epoch"] > 0]
            for result in (unwatched[0], plain)
        ]
        assert acted[0] == acted[1]

    def test_the_summary_says_what_was_earned_and_claims_no_more(self, unwatched):
        result, _ = unwatched
        assert "transfer" not in result.summary and result.summary["random_return"] is None
        assert not any(key.startswith("eval/") for row in curve(result.folder) for key in row)
        epochs = [
            row["online/episode_returns"]
            for row in curve(result.folder)
            if row["stage"] == "online" and row["epoch"] > 0
        ]
        means = [np.mean(returns) for returns in epochs]
        assert result.summary["acting"] == {
            "episodes": STEPS // 20,
            "first": means[0],
            "lowest": min(means),
            "last": means[-1],
        }

    def test_the_report_shows_it_and_the_policy_is_there(self, unwatched):
        result, _ = unwatched
        page = (result.folder / "report.html").read_text()
        assert "Nothing was evaluated" in page and "nothing is evaluated" in page
        assert "Acting, lowest epoch" in page and "Offline, at the hand-over" not in page
        assert "Returns, before and after the hand-over" in page
        assert load_policy(result.folder)(np.zeros(1)).shape == (1,)

    def test_so_does_the_report_of_a_run_that_is_still_going_on(self, unwatched, tmp_path):
        shutil.copytree(unwatched[0].folder, tmp_path / "run")
        (tmp_path / "run" / "summary.json").unlink()
        page = write_report(tmp_path / "run").read_text()
        assert "Nothing was evaluated" in page and "nothing is evaluated" in page
        assert "Acting, lowest epoch" in page

    def test_an_offline_stage_that_was_evaluated_makes_no_evaluation_online(self, plain, tmp_path):
        start = {"stages": "online", "start_from": plain.folder}
        again = run(
            config(evaluation=NONE), dataset=tiny_log(), env=ENV, out=tmp_path / "run",
            quiet=True, **start,
        )  # fmt: skip
        assert "return" in again.summary["offline"] and "transfer" not in again.summary
        assert "Nothing was evaluated" in (again.folder / "report.html").read_text()

    def test_it_is_named_where_runs_are_compared(self, unwatched):
        with pytest.raises(InputError, match="was not evaluated"):
            read_runs([unwatched[0].folder])
        with pytest.raises(InputError, match="with an online stage that was evaluated"):
            read_runs([unwatched[0].folder.parent])

    def test_one_line_says_what_was_earned(self, unwatched):
        result, _ = unwatched
        acting = result.summary["acting"]
        levels = [f"{name} {acting[name]:.1f}" for name in ("first", "lowest", "last")]
        line = f"acting policy, mean of an epoch: {', '.join(levels)} (6 episodes)"
        assert verdict(result.summary) == line
        line = f": acting {acting['first']:.1f} -> {acting['last']:.1f}"
        assert outcome._news(str(result.folder)) == line


def LONGER() -> gym.Env:
    """An episode of it is under way at the end of an epoch."""
    return gym.wrappers.TimeLimit(LinearGaussian(), 30)


class TestGoingOn:
    def stopped(self, folder, touched, **changes):
        """A run that fails in its second online epoch; its last checkpoint is that of the first."""
        arguments = {"env": LONGER, "system": lambda: Plant(touched, LONGER)} | changes
        settings = arguments.pop("settings", config())
        with pytest.raises(Stopped):
            run(
                settings, dataset=tiny_log(), out=folder, until=after(2), quiet=True, **arguments
            )  # fmt: skip
        return folder

    def test_the_system_is_left_in_order_when_a_run_fails(self, tmp_path):
        touched = []
        self.stopped(tmp_path / "run", touched)
        assert touched[-1] == "closed"

    @pytest.mark.parametrize("evaluated", [True, False])
    def test_a_run_goes_on_with_a_new_episode_and_replays_nothing(self, tmp_path, evaluated):
        touched = []
        plant = lambda: Plant(touched, LONGER)  # noqa: E731
        where = {"env": LONGER, "system": plant} if evaluated else {"env": plant, "system": None}
        settings = config(evaluation=EvaluationConfig(episodes=2 * evaluated))
        folder = self.stopped(tmp_path / "run", touched, settings=settings, **where)
        touched.clear()
        states = []
        until = lambda row, state: bool(states.append(state))  # noqa: E731
        resume(folder, dataset=tiny_log(), quiet=True, until=until, **where)
        assert_no_gap_is_bridged(states[-1].online)
        assert touched[:5] == ["made", "closed", "made", "reset", "step"]
        assert touched.count("step") == STEPS - EPOCH
        # 80 steps from a beginning on, without the rest of the episode that was given up.
        assert touched.count("reset") == 1 + 80 // 30

    def test_in_the_environment_of_evaluation_it_is_replayed(self, tmp_path):
        touched = []
        where = {"env": lambda: Plant(touched, LONGER), "system": None}
        folder = self.stopped(tmp_path / "run", touched, **where)
        touched.clear()
        resume(folder, dataset=tiny_log(), quiet=True, **where)
        evaluations = 2 * 30  # of one episode after each epoch that was left
        assert touched.count("step") == STEPS - EPOCH + EPOCH % 30 + evaluations + 30

    def test_a_run_that_is_over_leaves_the_system_alone(self, tmp_path):
        touched = []
        where = {"env": ENV, "system": lambda: Plant(touched)}
        run(config(), dataset=tiny_log(), out=tmp_path / "run", quiet=True, **where)
        touched.clear()
        resume(tmp_path / "run", dataset=tiny_log(), quiet=True, **where)
        assert touched == ["made", "closed"], "to see that it fits"

    @pytest.mark.parametrize(
        ("again", "words"),
        [
            ({}, "its env and its system in Python.*env=..., system=..."),
            ({"env": ENV}, "its system in Python"),
            ({"system": ENV}, "its env in Python"),
        ],
    )
    def test_it_never_goes_on_with_another_system_unasked(self, tmp_path, again, words):
        folder = self.stopped(tmp_path / "run", [])
        with pytest.raises(InputError, match=words):
            resume(folder, dataset=tiny_log(), quiet=True, **again)

    def test_nor_from_the_command_line(self, tmp_path, capsys):
        folder = self.stopped(tmp_path / "run", [])
        with pytest.raises(SystemExit):
            main(["run", "--resume", str(folder)])
        assert "moore.resume" in capsys.readouterr().err

    def test_a_system_that_is_given_late_is_asked_for_from_then_on(self, tmp_path):
        folder = self.stopped(tmp_path / "run", [], system=None)
        assert read_plan(folder).given == ("env",)
        resume(folder, dataset=tiny_log(), env=LONGER, system=LONGER, quiet=True)
        assert read_plan(folder).given == ("env", "system")


class TestWhatToDoAfterAStop:
    def how(self, given=(), until=None):
        return how_to_resume(Path("runs/a"), Plan("both", given=given), until=until)

    def test_ids_alone_are_in_the_configuration(self):
        assert functions("Pendulum-v1", None) == functions(None, None) == ()
        assert self.how() == "moore run --resume runs/a"

    def test_functions_are_given_again_and_the_rule_that_stops_is_not_forgotten(self):
        assert functions(ENV, "Pendulum-v1") == ("env", "system")
        expected = 'moore.resume("runs/a", env=..., system=..., until=...)'
        assert self.how(("env", "system"), until=print) == expected

    def test_who_gave_a_rule_alone_may_be_a_command_of_moore(self):
        expected = 'the same command, or moore.resume("runs/a", until=...)'
        assert self.how(until=print) == expected

    def test_runs_of_earlier_versions_were_given_nothing(self, tmp_path):
        (tmp_path / "checkpoints").mkdir()
        plan = '{"stages": "both", "start_from": null, "split_seed": null}'
        (tmp_path / "checkpoints" / "plan.json").write_text(plan)
        assert read_plan(tmp_path).given == ()


def test_an_episode_that_was_given_up_is_not_charged_to_the_next_policy():
    acting_returns = after_replacement(after_episodes(no_returns_yet(np.inf), [3.0]))
    assert after_episodes(acting_returns, [100.0]).episodes == 0, "begun by the policy before"
    assert after_episodes(after_abandoned_episode(acting_returns), [7.0]).bar == 7.0


def test_a_system_is_not_moved_before_it_is_used():
    touched = []
    collector = Collector(make_env(lambda: Plant(touched)), 0)
    for _ in range(20):
        collector.step(np.zeros(1, np.float32))
    snapshot = collector.running_episode()
    assert touched == ["made", "reset", *["step"] * 20], "the second episode has not begun"
    again = Collector(make_env(lambda: Plant(touched)), 0)
    assert again.restore(snapshot, replay=False), "there is nothing to replay"
    np.testing.assert_array_equal(again.observation(), collector.observation())


def test_adaptive_bc_does_not_charge_it_to_the_next_episode_either():
    agent = AGENTS["adaptive_bc"]
    config = AdaptiveBCConfig(return_low=-10.0, return_high=0.0)
    state = agent.init(jax.random.key(0), 1, 1, config)
    running = eqx.tree_at(
        lambda s: (s.adaptation.steps, s.adaptation.episode_return),
        state,
        (jnp.asarray(7), jnp.asarray(-3.0)),
    )
    assert not eqx.tree_equal(running, state)
    assert eqx.tree_equal(agent.new_episode(running), state)
