"""Nothing acts on a live system that nothing speaks for."""

import dataclasses
import json

import numpy as np
import pytest

from moore.config import EvaluationConfig, GateConfig
from moore.envs.bounds import Bounds
from moore.envs.limits import StepLimit
from moore.envs.make import Registered
from moore.errors import InputError
from moore.runs.hand_over import HandOverFindings, check_hand_over, hand_over
from moore.runs.run import run
from moore.runs.world import World
from moore.stages.gatekeeping import pass_gate
from steps import fit
from tiny import ENV, quick_config, tiny_config, tiny_log


def row(returns=(), *, accepted=None, epoch=1) -> dict:
    return {
        "stage": "offline",
        "epoch": epoch,
        "eval/returns": list(returns),
        "gate/accepted": accepted,
    }


def log_with(returns):
    return dataclasses.replace(tiny_log(), episode_returns=np.asarray(returns, float))


def world(source) -> World:
    bounds = Bounds(-np.ones(1, np.float32), np.ones(1, np.float32))
    return World(source, None, "x", bounds, 1, StepLimit(20, "own"), 10)


BAD = HandOverFindings(-50.0, -10.0, below_log=True, passed_gate=None)


class TestWhatIsSaid:
    @pytest.mark.parametrize(
        ("returns", "logged", "below"),
        [
            ([-50.0, -52.0, -48.0], [-10.0, -12.0, -8.0], True),
            ([-9.0, -8.0, -10.0], [-10.0, -12.0, -8.0], False),
            ([-11.0, -9.0, -13.0], [-10.0, -12.0, -8.0], False),  # by chance
            ([-50.0], [-10.0, -12.0, -8.0], True),
            ([-14.0], [-10.0, -16.0, -4.0], False),  # one episode of a log that varies as much
            ([-50.0, -50.0], [-10.0, -10.0], True),
        ],
    )
    def test_below_the_log_means_by_more_than_chance(self, returns, logged, below):
        found = hand_over([row(returns)], log_with(logged))
        assert found.below_log == below and (len(found.objections) == 1) == below
        assert f"{np.mean(returns):.1f}" in found.line and f"{np.mean(logged):.1f}" in found.line

    def test_the_last_evaluation_counts_and_any_epoch_of_the_gate(self):
        log = log_with([-10.0, -12.0])
        rows = [row([-90.0, -91.0], accepted=1.0), row([-9.0, -9.5], accepted=0.0, epoch=2)]
        found = hand_over(rows, log)
        assert (found.below_log, found.passed_gate) == (False, True) and not found.objections
        found = hand_over([row([-9.0], accepted=0.0)], log)
        assert found.passed_gate is False and "untrained" in found.objections[0]

    def test_where_nothing_was_learned_or_evaluated_or_logged_nothing_is_said(self):
        log = log_with([-10.0, -12.0])
        for rows, known in (([], log), ([row([-99.0], epoch=0)], log), ([row([-99.0])], None)):
            found = hand_over(rows, known)
            assert found.line is None and not found.objections
        unevaluated = hand_over([row()], log)
        assert unevaluated.line is None and not unevaluated.objections


class TestWhoMayGoOnline:
    def test_a_function_s_environment_needs_a_word_and_a_gymnasium_id_does_not(self):
        with pytest.raises(InputError, match="--accept hand-over"):
            check_hand_over(BAD, world(ENV), accepted=False, is_live=False)
        check_hand_over(BAD, world(ENV), accepted=True, is_live=False)
        check_hand_over(BAD, world(Registered("Pendulum-v1")), accepted=False, is_live=False)
        with pytest.raises(InputError):
            check_hand_over(BAD, world(Registered("Pendulum-v1")), accepted=False, is_live=True)

    def test_nothing_is_asked_of_a_good_one(self):
        good = HandOverFindings(-9.0, -10.0, below_log=False, passed_gate=True)
        check_hand_over(good, world(ENV), accepted=False, is_live=True)


class TestRun:
    def test_it_stops_before_the_live_system_and_keeps_the_offline_stage(self, tmp_path, capsys):
        touched = []

        def live():
            env = ENV()
            reset = env.reset
            env.reset = lambda **options: touched.append("reset") or reset(**options)
            return env

        log = log_with([50.0, 51.0])  # of a controller that no policy here comes near
        config = quick_config(evaluation=EvaluationConfig(episodes=3))
        arguments = {"dataset": log, "env": ENV, "system": live}
        with pytest.raises(InputError, match="does not go online"):
            run(config, out=tmp_path / "run", **arguments)
        assert touched == []
        said = capsys.readouterr().err
        assert "hand-over: the policy earns" in said and "clearly below" in said
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert summary["hand_over"]["below_log"] and (tmp_path / "run" / "report.html").exists()

        accepting = dataclasses.replace(config, accept=("hand-over",))
        run(
            accepting, out=tmp_path / "online", stages="online", start_from=tmp_path / "run",
            quiet=True, **arguments,
        )  # fmt: skip
        assert "reset" in touched

    def test_a_gate_passes_none_whose_imagined_episodes_mostly_break(self, tmp_path):
        config = tiny_config(
            imagined_bound=1e-3,  # every imagined episode exceeds the bound at once
            gate=GateConfig(enabled=True, rollouts=10, penalised=False),
            evaluation=EvaluationConfig(episodes=1),
        )
        from moore.runs.setup import prepare

        setup = prepare(config, dataset=tiny_log(), env=ENV)
        state, _ = fit(setup.learner, setup.learner.init(setup.key))
        _, decision = pass_gate(setup.learner, state, 1)
        assert decision["gate/broken"] == 1.0 and decision["gate/accepted"] == 0.0
