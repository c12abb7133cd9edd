"""Signals, environments that fail or end the program, longer runs: how a run ends and goes on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore import cli
from moore.cli import main
from moore.config import EvaluationConfig, read_toml
from moore.errors import InputError
from moore.runs import execution, online_run
from moore.runs.folder import read_metrics
from moore.runs.run import resume, run
from moore.runs.setup import prepare
from moore.runs.signals import Stopped
from moore.stages import learner as learners
from moore.stages.lengthen import lengthened
from moore.sweeps.cell import Cell, as_json
from runs_alike import assert_same_run, rows
from tiny import ENV, LinearGaussian, quick_config, tiny_log

MAIN = threading.current_thread() is threading.main_thread()
pytestmark = pytest.mark.skipif(not MAIN, reason="signals are the main thread's")


@pytest.fixture
def whole(quick_run) -> Path:
    return quick_run


class Signals(LinearGaussian):
    """Sends a signal in one of its steps."""

    at, steps, number = 10**6, 0, signal.SIGINT

    def step(self, action):
        Signals.steps += 1
        if Signals.steps == Signals.at:
            os.kill(os.getpid(), Signals.number)
        return super().step(action)


def signalling(at: int, number: int):
    def make() -> gym.Env:
        Signals.at, Signals.steps, Signals.number = at, 0, number
        return gym.wrappers.TimeLimit(Signals(), 20)

    return make


@pytest.mark.parametrize(
    ("at", "newest", "number"),
    [
        (1, "online-epoch-000000-step-000001", signal.SIGTERM),
        (12, "online-epoch-000000-step-000012", signal.SIGINT),
        (17, "online-epoch-000001-step-000005", signal.SIGHUP),
    ],
)
def test_the_step_under_way_is_ended_and_every_transition_is_kept(
    at, newest, number, log_file, tmp_path, capsys
):
    """On a live system: what it did before the stop is not asked of it again."""
    folder, system = tmp_path / "run", signalling(at, number)
    arguments = {"dataset": log_file, "env": ENV}
    with pytest.raises(Stopped) as stop:
        run(quick_config(), out=folder, system=system, **arguments)
    assert stop.value.status == 128 + number
    assert (folder / "checkpoints" / newest).is_dir()
    assert f'go on with: moore.resume("{folder}", env=..., system=...)' in capsys.readouterr().err
    resume(folder, system=signalling(10**6, number), quiet=True, **arguments)
    assert Signals.steps == 3 * 12 - at
    assert [row["env_steps"] for row in rows(folder) if row["stage"] == "online"] == [0, 12, 24, 36]


def test_a_run_stopped_several_times_in_its_evaluation_environment_ends_bit_for_bit(
    whole, log_file, tmp_path, monkeypatch
):
    folder, calls = tmp_path / "run", []
    keep = online_run.OnlineRun._keep

    def stops(self, epoch, state):
        calls.append(epoch.observed)
        if len(calls) % 19 == 0:
            os.kill(os.getpid(), signal.SIGINT)
        keep(self, epoch, state)

    monkeypatch.setattr(online_run.OnlineRun, "_keep", stops)
    arguments, stopped = {"env": ENV, "quiet": True, "dataset": log_file}, 0
    while True:
        try:
            if folder.exists():
                resume(folder, **arguments)
            else:
                run(quick_config(checkpoint_every=2), out=folder, **arguments)
            break
        except Stopped:
            stopped += 1
    assert stopped >= 3
    assert_same_run(whole, folder)


def test_a_command_that_is_signalled_says_how_to_go_on(tmp_path):
    """A process of its own, from the shell's point of view."""
    toml = tmp_path / "quick.toml"
    toml.write_text(_pendulum())
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    line = [sys.executable, "-m", "moore", "run", str(toml), "--out", str(tmp_path / "run")]
    child = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 200
        while not (tmp_path / "run" / "checkpoints" / "hand-over").exists():
            assert child.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130
    assert f"go on with: moore run --resume {tmp_path / 'run'}" in said
    assert "Traceback" not in said and said.endswith("moore: interrupted.\n")
    assert list((tmp_path / "run" / "checkpoints").glob("online-epoch-*-step-*"))


def _pendulum() -> str:
    return """
dataset = "builtin:pendulum-medium"
algorithm = "awac"
awac = {hidden = [8], batch_size = 16}
offline = {epochs = 1, updates_per_epoch = 5}
online = {epochs = 2, steps_per_epoch = 100000, refit_every = 100000, updates_per_step = 1}
evaluation = {episodes = 1}
"""


class TestEnvironmentsThatFail:
    class Exits(LinearGaussian):
        def step(self, action):
            raise SystemExit(0)

    @pytest.mark.parametrize("where", ["env", "system"])
    def test_one_that_ends_the_program_is_an_error(self, where, log_file, tmp_path):
        broken = lambda: gym.wrappers.TimeLimit(self.Exits(), 20)  # noqa: E731
        sources = {"env": ENV} | {where: broken}
        with pytest.raises(InputError, match=r"SystemExit\(0\)"):
            run(quick_config(), dataset=log_file, out=tmp_path / "run", quiet=True, **sources)
        assert not (tmp_path / "run" / "summary.json").exists()

    def test_one_that_fails_loses_nothing_and_it_is_said_how_to_go_on(
        self, whole, log_file, tmp_path, capsys
    ):
        """A connection that is lost in the middle of an epoch, and back afterwards."""
        steps = []

        class Lost(LinearGaussian):
            def step(self, action):
                steps.append(action)
                if len(steps) == 17:
                    raise ConnectionError("the plant\nhas gone")
                return super().step(action)

        plant = lambda: gym.wrappers.TimeLimit(Lost(), 20)  # noqa: E731
        given = {"dataset": log_file, "env": ENV, "system": plant}
        with pytest.raises(ConnectionError):
            run(quick_config(), out=tmp_path / "run", **given)
        said = " ".join(capsys.readouterr().err.split())
        assert "stopped by ConnectionError: the plant has gone (test_stops.py, line" in said
        assert "moore.resume(" in said and "system=...)" in said
        resume(tmp_path / "run", **given, quiet=True)
        assert len(steps) == 1 + 3 * 12, "no step was lost"

    def test_from_the_command_line_too(self, monkeypatch, capsys):
        def ends(arguments):
            raise SystemExit(0)

        monkeypatch.setitem(cli.COMMANDS, "evaluate", ends)
        with pytest.raises(SystemExit) as stop:
            main(["evaluate", "run"])
        assert stop.value.code == 2 and "exit()" in capsys.readouterr().err
        with pytest.raises(SystemExit) as stop:
            main(["evaluate", "--help"])
        assert not stop.value.code

    def test_an_evaluation_that_fails_does_not_cost_the_epoch(
        self, whole, log_file, tmp_path, monkeypatch
    ):
        inner, calls = execution.Evaluator.deterministic, []

        def fails(evaluator, policy):
            calls.append(policy)
            if len(calls) == 5:  # two offline, the hand-over, the first online epoch
                raise RuntimeError("the simulator has no memory left")
            return inner(evaluator, policy)

        folder, arguments = tmp_path / "run", {"dataset": log_file, "env": ENV, "quiet": True}
        with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="no memory"):
            patched.setattr(execution.Evaluator, "deterministic", fails)
            run(quick_config(), out=folder, **arguments)
        assert (folder / "checkpoints" / "online-epoch-000001-step-000012").is_dir()
        resume(folder, **arguments)
        assert_same_run(whole, folder)

    def test_where_one_of_several_cannot_be_opened_the_others_are_closed(self, log_file, tmp_path):
        opened, closed = [], []

        class Counted(LinearGaussian):
            def __init__(self):
                opened.append(self)
                if len(opened) == 5:
                    raise RuntimeError("no more licences")

            def close(self):
                closed.append(self)

        config = quick_config(evaluation=EvaluationConfig(episodes=8))
        with pytest.raises(InputError, match=r"beside 4 .*no more licences"):
            run(
                config, dataset=log_file, out=tmp_path / "run", quiet=True,
                env=lambda: gym.wrappers.TimeLimit(Counted(), 20),
            )  # fmt: skip
        assert set(map(id, closed)) == set(map(id, opened[:4]))
        assert not (tmp_path / "run").exists()


class TestGoingOnLonger:
    def test_a_finished_run_learns_on(self, whole, log_file, tmp_path):
        import shutil

        folder = tmp_path / "run"
        shutil.copytree(whole, folder)
        result = resume(folder, dataset=log_file, env=ENV, epochs=5, quiet=True)
        online = [row for row in rows(folder) if row["stage"] == "online"]
        assert [row["epoch"] for row in online] == [0, 1, 2, 3, 4, 5]
        assert online[:4] == [row for row in rows(whole) if row["stage"] == "online"]
        assert result.summary["env_steps"] == 60
        assert read_toml(folder / "config.toml").online.epochs == 5
        resume(folder, dataset=log_file, env=ENV, quiet=True)  # and is a run like any other

    def test_one_that_was_stopped_in_an_epoch_too(self, log_file, tmp_path):
        folder, arguments = tmp_path / "run", {"dataset": log_file, "env": ENV, "quiet": True}
        with pytest.raises(Stopped):
            run(quick_config(), out=folder, system=signalling(17, signal.SIGINT), **arguments)
        resume(folder, system=signalling(10**6, 2), epochs=4, **arguments)
        assert [row["epoch"] for row in rows(folder) if row["stage"] == "online"] == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("algorithm", ["moore", "balanced_replay", "adaptive_bc", "cal_ql"])
    def test_everything_that_was_learned_fits_into_more_room(self, algorithm):
        schedule = (1, 30, 1, 4)
        short = quick_config(algorithm=algorithm)
        short = replace(short, online=replace(short.online, rollout_schedule=schedule))
        long = replace(short, online=replace(short.online, epochs=20))
        one, other = (prepare(c, dataset=tiny_log(), env=ENV).learner for c in (short, long))
        state = one.summarise_data(one.hand_over(one.init(jax.random.key(0))))
        for _ in range(7):
            transition = jax.tree.map(lambda column: np.ones_like(column[0]), one.offline.data)
            state = one.observe(state, transition)
        online = jax.tree.map(jnp.copy, state.online)
        longer = lengthened(other, state)
        assert longer.online.capacity == 20 * 12
        assert int(longer.online.size) == 7
        np.testing.assert_array_equal(longer.online.data.obs[:36], online.data.obs)
        fresh = other.hand_over(other.init(jax.random.key(0)))
        assert jax.tree.structure(longer) == jax.tree.structure(fresh)
        if algorithm == "balanced_replay":
            trees = state.experience.tree, longer.experience.tree
            totals = [float(tree.nodes[1]) for tree in trees]
            assert totals[0] == totals[1] > 0

    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            ("--seed 3", "--seed"), ("--sac.discount 0.9", "--sac.discount"), ("--out x", "--out"),
            ("--scheme uniform", "--scheme"), ("--alpha=2", "--alpha"),
            ("--no-diagnostics", "--no-diagnostics"), ("--algorithm naive", "--algorithm"),
        ],
    )  # fmt: skip
    def test_flags_that_would_be_ignored_are_refused(self, flags, named, whole, capsys):
        before = (whole / "config.toml").read_bytes()
        with pytest.raises(SystemExit) as stop:
            main(["run", "--resume", str(whole), *flags.split()])
        said = capsys.readouterr().err
        assert stop.value.code == 2 and said.startswith(f"moore: {named}: ")
        assert "goes on with its own settings" in said
        assert (whole / "config.toml").read_bytes() == before

    def test_a_preset_is_refused_too(self, whole, capsys):
        with pytest.raises(SystemExit):
            main(["run", "quickstart", "--resume", str(whole)])
        assert "'quickstart': " in capsys.readouterr().err

    def test_a_run_is_not_made_shorter(self, whole):
        with pytest.raises(InputError, match="can only be made longer"):
            resume(whole, env=ENV, epochs=2)


class TestUpdatesThatAreSkipped:
    @pytest.fixture
    def some_skipped(self, monkeypatch):
        """The compiled update, some of whose calls report that they were undone."""

        def skipping(which):
            inner, calls = learners.gradient_steps, []

            def update(*arguments, **options):
                calls.append(1)
                state, notes, metrics = inner(*arguments, **options)
                count = float(arguments[6].shape[0]) if which(len(calls)) else 0.0
                return state, notes, metrics | {"losses/skipped_updates": jnp.asarray(count)}

            monkeypatch.setattr(learners, "gradient_steps", update)

        return skipping

    def test_are_said_and_counted(self, some_skipped, log_file, tmp_path, capsys):
        some_skipped(lambda call: call in (2, 4, 5))
        result = run(quick_config(), dataset=log_file, env=ENV, out=tmp_path / "run")
        said = capsys.readouterr().err
        assert "5 updates of offline epoch 2 were skipped" in said
        assert "2 updates of online epoch 1 were skipped" in said
        assert result.summary["skipped_updates"] == 7

    def test_all_of_them_are_no_success(self, some_skipped, log_file, tmp_path):
        some_skipped(lambda call: True)
        folder, arguments = tmp_path / "run", {"dataset": log_file, "env": ENV, "quiet": True}
        with pytest.raises(InputError, match=r"all 46 updates of .* were skipped"):
            run(quick_config(), out=folder, **arguments)
        with pytest.raises(InputError, match="were skipped"):
            resume(folder, **arguments)


def test_a_curve_with_an_evaluation_that_is_no_number_is_summed_up(whole, log_file, tmp_path):
    import shutil

    from moore.runs.summary import summarise

    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    setup = prepare(read_toml(folder / "config.toml"), dataset=log_file, env=ENV)
    found = read_metrics(folder / "metrics.jsonl")
    found[-1] |= {"eval/return": None, "eval/returns": [None], "online/episode_returns": [None]}
    summary = summarise(setup, found, seconds={}, random_return=-5.0)
    assert summary["not_finite"] == [3] and "transfer" not in summary
    assert json.dumps(summary["acting"])


def test_a_cell_ends_with_its_sweep(log_file, tmp_path):
    """kill -9 of the sweep closes the pipe that its cells read."""
    cell = Cell(str(tmp_path / "run"), {"dataset": str(log_file), "env_id": "Pendulum-v1"})
    code = (
        "import sys, time\n"
        "import moore.sweeps.cell as cell\n"
        "cell.run_cell = lambda cell: (print('running', flush=True), time.sleep(100))\n"
        "cell.main()"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    child = subprocess.Popen(
        [sys.executable, "-c", code, as_json(cell), "[]", "watched"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "running\n"
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(10) == 1
    finally:
        child.kill()
        child.stdout.close()
