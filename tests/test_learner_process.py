"""A session whose learner runs in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest

from moore import Session, load_dataset
from moore.errors import InputError
from moore.files import wait_until_unlocked
from moore.guarding.guard import GuardAlarm
from moore.guarding.signals import Limit
from moore.guarding.supervision import GuardSettings
from moore.runs.checkpoint import newest_first, read_manifest
from moore.runs.run import run
from moore.sessions import learner_child
from moore.sessions.folder import saved_trusts
from moore.stages import budget_summary
from tiny import ENV, quick_config, tiny_log

OBS = np.asarray([0.5], np.float32)
HAND_OVER = {"at": "hand-over", "accept": ("hand-over",)}
# On a machine that is busy.
PATIENCE = 300.0

# What the tests kill: a program that acts, and says so when the learner has learned from all steps.
PROGRAM = """
import sys, time
import moore
from moore.runs.checkpoint import newest_first, read_manifest
from moore.runs.run import run
from moore.sessions import learner_child
from moore.sessions.folder import saved_trusts
from moore.stages import budget_summary

learner_child.NICE = 0
run, out, log = sys.argv[1:]
how = {"at": "hand-over", "accept": ("hand-over",), "dataset": log, "learner": "process"}
with moore.Session.from_run(run, out, **how) as session:
    for step in range(13):
        session.act([0.5])
        session.observe(reward=-1.0, next_obs=[0.5], truncated=step % 5 == 4)
    while session.due and session.learner.alive:
        time.sleep(0.1)
    print(session.learner.updates, flush=True)
    time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def no_courtesy(monkeypatch):
    """The learner gets its share of a machine that is busy with other tests."""
    monkeypatch.setattr(learner_child, "NICE", 0)


def control(session, steps):
    for step in range(steps):
        session.act(OBS)
        session.observe(reward=-1.0, next_obs=OBS, truncated=step % 5 == 4)


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def records(session):
    """Everything in its log."""
    return [json.loads(line) for file in sorted(session.log.iterdir()) for line in file.open()]


def policies(session):
    """Ids of the policies that have acted."""
    return [record["policy"] for record in records(session) if record["kind"] == "act"]


def test_another_process_learns_while_this_one_acts(quick_run, log_file, tmp_path, monkeypatch):
    how = {"dataset": log_file, "learner": "process", **HAND_OVER}
    with closing(Session.from_run(quick_run, tmp_path / "session", **how)) as session:
        control(session, 13)
        until(lambda: session.learner.published > 0 and session.due == 0)
        control(session, 2)
        first, *_, last = policies(session)
        assert first != last, "what was learned acts"
        until(lambda: session.due == 0)
        assert session.learn() == session.learner.updates == 15
        assert session.learn(updates=3) == 0, "it is ordered, and not waited for"
        until(lambda: session.learner.updates == 18)
        copy = session.save(tmp_path / "copy")

        monkeypatch.setattr(learner_child, "SILENCE", 4.0)
        with pytest.warns(UserWarning, match="no sign for 4 seconds.*policy .* acts on") as told:
            os.kill(session.learner.process, signal.SIGSTOP)
            until(lambda: not session.learner.alive and len(told))
        assert session.status.trouble == session.learner.trouble
        control(session, 2)
        with pytest.raises(InputError, match=r"no sign .* no step is lost"):
            session.save()
        os.kill(session.learner.process, signal.SIGCONT)
        until(lambda: session.learner.alive)
        assert session.status.trouble == ""

        # A thread hears of it, and may be faster than the next line.
        end = "has ended .*without memory left.*policy .* acts on"
        with pytest.warns(UserWarning, match=end) as told:
            os.kill(session.learner.process, signal.SIGKILL)
            until(lambda: not session.learner.alive and len(told))
        control(session, 3)
        assert len(set(policies(session)[-3:])) == 1
        with pytest.raises(InputError, match=r"no step is lost; session.restart_learner\(\)"):
            session.save()
    with Session.resume(copy, dataset=log_file) as again:
        assert (again.learner.process, again.learner.updates, again.due) == (None, 18, 0)
    with Session.resume(session.folder, dataset=log_file) as again:
        assert again.due == 5 and again.learn() == 5, "a session may change its mode"
    assert load_dataset(session.log).size == 20


def test_what_makes_no_sense_is_refused(quick_run, log_file, tmp_path):
    with pytest.raises(InputError, match="learner is 'thread'; expected 'call', 'episodes'"):
        Session.from_run(quick_run, tmp_path / "session", learner="thread")
    with pytest.raises(InputError, match="give the path of its file"):
        Session.from_run(quick_run, tmp_path / "s", learner="process", dataset=tiny_log())
    how = {"dataset": log_file, **HAND_OVER}
    session = Session.from_run(quick_run, tmp_path / "s", **how)
    with closing(session), pytest.raises(InputError, match="there is no process to be started"):
        session.restart_learner()


@pytest.mark.slow
def test_after_either_process_is_killed_no_step_is_lost(quick_run, log_file, tmp_path):
    folder = tmp_path / "session"
    program = [sys.executable, "-c", PROGRAM, str(quick_run), str(folder), str(log_file)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as acting:
        assert acting.stdout.readline() == "13\n"
        acting.kill()
    assert wait_until_unlocked(folder / "learner", seconds=30.0), "the learner ends by itself"
    with Session.resume(folder, dataset=log_file, learner="process") as session:
        assert session.learner.updates == 13, "the learner has saved its state before"
        control(session, 5)
        os.kill(session.learner.process, signal.SIGKILL)
        with pytest.warns(UserWarning, match="has ended"):
            until(lambda: not session.learner.alive)
        session.restart_learner()
        control(session, 5)
        until(lambda: session.due == 0)
        assert session.learner.updates == 23
    assert load_dataset(session.log).size == 23


@pytest.mark.slow
def test_within_a_dip_budget_both_processes_keep_one_account(log_file, tmp_path):
    config = quick_config(dip_budget=0.5)
    run(config, dataset=log_file, env=ENV, out=tmp_path / "run", stages="offline", quiet=True)
    how = {"dataset": log_file, "learner": "process", **HAND_OVER}
    with Session.from_run(tmp_path / "run", tmp_path / "session", **how) as session:
        for _ in range(6):
            for step in range(20):
                session.act(OBS)
                session.observe(reward=-0.2, next_obs=OBS, truncated=step == 19)
            until(lambda: session.due == 0 or not session.learner.alive)
        here = budget_summary.pack(session._operation.studying._turns.budget)
        session.save()
    assert here["trials"] > 0 and len(set(policies(session))) > 1, "a policy was tried"
    newest = newest_first(session.folder / "checkpoints")[0]
    there = read_manifest(newest)["info"]["choice"]
    assert there["budget"] == json.loads(json.dumps(here))
    with Session.resume(session.folder, dataset=log_file) as again:
        assert again._operation.studying.learning.chooser.offered == there["offered"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_beside_a_controller_the_learner_hears_the_guard(log_file, tmp_path):
    """After an alarm only a policy that was accepted later acts; what is lost is not trusted."""
    config = quick_config(dip_budget=0.5, episode_steps=4)
    run(config, dataset=log_file, env=ENV, out=tmp_path / "run", stages="offline", quiet=True)
    heat = GuardSettings(returns=None, limits=[Limit("heat", high=90.0)])
    how = {"dataset": log_file, "learner": "process", "controller": lambda obs: -0.25 * obs}
    made = Session.from_run(
        tmp_path / "run", tmp_path / "session", guard=heat, mode="on", **how, **HAND_OVER
    )

    def episode(session, signal=80.0):
        for step in range(4):
            session.act(OBS)
            told = {"reward": -1.0, "next_obs": OBS, "truncated": step == 3}
            session.observe(**told, signals={"heat": signal})
        return session.standing[0].actor

    def trusted_again(session):
        while not session.standing[0].trusted:
            due = session.learner.published + 1
            session.learn(updates=8)
            until(lambda due=due: session.learner.published >= due)
            episode(session)
            episode(session)

    with made as session:
        supervisor = session._operation.supervisor
        assert episode(session) == "new"
        until(lambda: session.due == 0)
        with pytest.warns(GuardAlarm, match="above 90"):
            episode(session, 95.0)
        trusted_again(session)
        assert episode(session) == "new"
        session.save()
        newest = newest_first(session.folder / "checkpoints")[0]
        there, here = read_manifest(newest)["info"], session._operation.studying.account
        assert there["choice"]["budget"] == json.loads(json.dumps(budget_summary.pack(here)))
        assert there["trusts"] == supervisor.trusts == 1

        episode(session, 95.0)
        trusted_again(session)
        os.kill(session.learner.process, signal.SIGKILL)
        until(lambda: not session.learner.alive)
        assert episode(session) == "new", "it acts on with what was published"
        lost = saved_trusts(session.folder) < supervisor.trusts
        session.restart_learner()
        assert session.standing[0].trusted != lost, "what is lost is not trusted"
        trusted_again(session)
    acts = [record for record in records(session) if record["kind"] == "act"]
    after = [act for act, before in zip(acts[1:], acts, strict=False) if before["step"] in (5, 6)]
    assert [act["decision"]["actor"] for act in after] == ["old", "old"]
    blamed = {acts[4]["policy"]}
    assert blamed.isdisjoint(x["policy"] for x in records(session) if x["kind"] == "trust")
    with Session.resume(session.folder, **how | {"learner": "call"}) as again:
        assert again.standing[0].trusted, "it is saved"
