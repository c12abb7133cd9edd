"""A run on a live system: what touches it, what does not, and how to go on after a stop."""

import gymnasium as gym
import numpy as np
import pytest

from moore.cli import main
from moore.config import EvaluationConfig
from moore.envs.collector import Collector
from moore.errors import InputError
from moore.reports.html import read_metrics
from moore.runs.plan import given, how_to_resume, read_plan
from moore.runs.policy import load_policy
from moore.runs.run import resume, run
from moore.stages.gate import finished, given_up, new_record, replaced
from tiny import ENV, LinearGaussian, tiny_config, tiny_log

STEPS = 4 * 100  # of the online stage


class Plant(gym.Wrapper):
    """The task, which remembers what was done to it."""

    def __init__(self, log: list[str]):
        super().__init__(ENV())
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


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same run where acting and evaluation share one kind of environment."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    return run(tiny_config(), dataset=tiny_log(), env=ENV, out=folder, quiet=True)


class TestSystemAndSimulator:
    def test_only_the_acting_policy_touches_the_system(self, plain, tmp_path):
        touched = []
        run(
            tiny_config(), dataset=tiny_log(), env=ENV, system=lambda: Plant(touched),
            out=tmp_path / "run", quiet=True,
        )  # fmt: skip
        assert touched[:2] == ["made", "closed"], "to see that it fits"
        assert touched[2:4] == ["made", "reset"] and touched[-1] == "closed"
        assert [touched.count(what) for what in ("made", "closed", "step")] == [2, 2, STEPS]
        assert touched.count("reset") == STEPS // 20 + 1
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
        with pytest.raises(InputError, match=words):
            run(
                tiny_config(), dataset=tiny_log(), env=ENV, system=other,
                out=tmp_path / "run", quiet=True,
            )  # fmt: skip
        assert not (tmp_path / "run").exists()


class Narrow(LinearGaussian):
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory):
    """A run that evaluates nothing, and what was done to its only system."""
    touched = []
    config = tiny_config(evaluation=EvaluationConfig(episodes=0))
    folder = tmp_path_factory.mktemp("unwatched") / "run"
    arguments = {"dataset": tiny_log(), "env": lambda: Plant(touched), "quiet": True}
    return run(config, out=folder, **arguments), touched


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

    def test_the_report_and_the_policy_are_there(self, unwatched):
        result, _ = unwatched
        page = (result.folder / "report.html").read_text()
        assert "Nothing was evaluated" in page and "nothing is evaluated" in page
        assert "Return, before and after the hand-over" in page
        assert load_policy(result.folder)(np.zeros(1)).shape == (1,)


class TestGoingOn:
    def stopped(self, tmp_path, touched, **changes):
        arguments = {"env": ENV, "system": lambda: Plant(touched)} | changes
        with pytest.raises(Stopped):
            run(
                tiny_config(), dataset=tiny_log(), out=tmp_path / "run", until=after(2),
                quiet=True, **arguments,
            )  # fmt: skip
        return tmp_path / "run"

    def test_the_system_is_left_in_order_when_a_run_stops(self, tmp_path):
        touched = []
        self.stopped(tmp_path, touched)
        assert touched[-1] == "closed"

    def test_a_run_goes_on_with_a_new_episode_and_replays_nothing(self, tmp_path):
        touched = []
        folder = self.stopped(tmp_path, touched)
        done = [row["epoch"] for row in curve(folder) if row["stage"] == "online"][-1]
        touched.clear()
        resume(folder, dataset=tiny_log(), env=ENV, system=lambda: Plant(touched), quiet=True)
        assert touched.count("step") == STEPS - 100 * done
        assert touched[2:5] == ["made", "reset", "step"]

    @pytest.mark.parametrize(
        ("again", "words"),
        [
            ({}, "its env and its system in Python.*env=..., system=..."),
            ({"env": ENV}, "its system in Python"),
            ({"system": ENV}, "its env in Python"),
        ],
    )
    def test_it_never_goes_on_with_another_system_unasked(self, tmp_path, again, words):
        folder = self.stopped(tmp_path, [])
        with pytest.raises(InputError, match=words):
            resume(folder, dataset=tiny_log(), quiet=True, **again)

    def test_nor_from_the_command_line(self, tmp_path, capsys):
        folder = self.stopped(tmp_path, [])
        with pytest.raises(SystemExit):
            main(["run", "--resume", str(folder)])
        assert "moore.resume" in capsys.readouterr().err

    def test_a_run_by_ids_alone_needs_nothing_again(self, tmp_path):
        (tmp_path / "checkpoints").mkdir()
        plan = '{"stages": "both", "start_from": null, "split_seed": null}'
        (tmp_path / "checkpoints" / "plan.json").write_text(plan)
        assert given("Pendulum-v1", None) == given(None, None) == ()
        assert read_plan(tmp_path).given == (), "runs of earlier versions have no such entry"
        assert how_to_resume(tmp_path, read_plan(tmp_path)) == f"moore run --resume {tmp_path}"


def test_an_episode_that_was_given_up_is_not_charged_to_the_next_policy():
    record = replaced(finished(new_record(np.inf), [3.0]))
    assert finished(record, [100.0]).episodes == 0, "begun by the policy before"
    assert finished(given_up(record), [7.0]).bar == 7.0


def test_a_system_is_not_reset_before_it_is_used():
    touched = []
    collector = Collector(Plant(touched), 0)
    assert touched == ["made"]
    collector.step(np.zeros(1, np.float32))
    assert touched == ["made", "reset", "step"]
