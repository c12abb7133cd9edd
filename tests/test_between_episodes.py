"""A session that learns by itself when an episode has ended, and never within one."""

import shutil

import jax
import numpy as np
import pytest

from controlled import control, records, sessions
from moore import Session
from moore.errors import InputError, WriteError
from moore.serving.server import open_session
from moore.sessions import between


@pytest.fixture
def begin(quick_run, log_file, tmp_path):
    with sessions(quick_run, log_file, tmp_path) as begin:
        yield lambda name="session", **how: begin(name, **{"learner": "episodes", **how})


def weights(session):
    return jax.tree.leaves(session._operation.studying.learning.state.agent)


def test_it_learns_what_is_due_when_an_episode_ends_and_never_before(begin):
    session, updates = begin(), []
    for step in range(10):
        control(session, 1, first=step)
        updates.append(session.learner.updates)
    assert updates[:4] == [0] * 4 and updates[5:9] == [updates[4]] * 4
    assert 0 < updates[4] < updates[9] and session.due == 0


def test_it_learns_the_same_as_calls_of_learn_between_the_episodes(begin):
    by_itself, by_hand = begin("itself"), begin("hand", learner="call")
    for episode in range(3):
        control(by_itself, 5, first=5 * episode)
        control(by_hand, 5, first=5 * episode)
        by_hand.learn()
    for one, other in zip(weights(by_itself), weights(by_hand), strict=True):
        np.testing.assert_array_equal(one, other)
    assert records(by_itself, "act")[-1]["action"] == records(by_hand, "act")[-1]["action"]


def test_an_end_that_the_system_itself_makes_counts_too(begin):
    session = begin()
    session.act([0.5])
    session.observe(reward=0.0, next_obs=[0.4])
    session.act([0.4])
    session.observe(reward=0.0, next_obs=[0.0], terminated=True)
    assert session.learner.updates == 2


def test_a_block_of_steps_is_learned_from_when_it_is_brought(begin):
    session, obs = begin(), np.linspace(1.0, 0.0, 7, dtype=np.float32)[:, None]
    session.observe_episode(obs, np.zeros((6, 1)), np.zeros(6))
    assert session.learner.updates > 0 and session.due == 0


def test_nothing_more_is_begun_after_the_seconds(begin, monkeypatch):
    now = iter(range(1000))
    session = begin(learn_seconds=2.0)
    monkeypatch.setattr("moore.sessions.studying.time.monotonic", lambda: float(next(now)))
    control(session, 5)
    some, left = session.learner.updates, session.due
    assert some > 0 and left > 0, "the rest is for the next pause"


def test_beyond_what_is_due_it_learns_nothing_however_much_time_there_is(begin):
    session, other = begin(learn_seconds=1e6), begin("other")
    for one in (session, other):
        control(one, 5)
    assert session.learner.updates == other.learner.updates


def test_an_error_while_learning_is_told_and_stops_no_action(begin, monkeypatch):
    session = begin()

    def fail(*_):
        raise FloatingPointError("no number")

    monkeypatch.setattr(session._operation.studying.learning, "learn", fail)
    with pytest.warns(UserWarning, match=r"after the episode failed .*no number"):
        numbers = control(session, 5)
    assert numbers == [1, 2, 3, 4, 5], "the end of the episode is recorded"
    assert control(session, 5, first=5) == [6, 7, 8, 9, 10]
    assert "interrupted" in session.learner.trouble


class TestSaving:
    @pytest.fixture
    def begin(self, begin, monkeypatch):
        """A minute is over at once."""
        monkeypatch.setattr(between, "SAVE_EVERY", 0.0)
        return begin

    def test_it_saves_what_it_has_learned_so_that_a_kill_loses_none_of_it(
        self, begin, log_file, tmp_path
    ):
        session = begin()
        control(session, 8)
        killed = tmp_path / "killed"
        shutil.copytree(session.folder, killed)
        with Session.resume(killed, dataset=log_file) as again:
            assert again.learner.updates == session.learner.updates == 5
            for one, other in zip(weights(again), weights(session), strict=True):
                np.testing.assert_array_equal(one, other)

    def test_a_disk_that_refuses_is_told_and_stops_no_action(self, begin, monkeypatch):
        session = begin()

        def refuse(_):
            raise WriteError("no space left")

        monkeypatch.setattr(session._operation, "save", refuse)
        with pytest.warns(UserWarning, match=r"could not be saved \(no space left\)"):
            control(session, 5)
        assert session.learner.updates == 5 and not session.learner.trouble


def test_within_a_minute_it_saves_once(begin):
    session = begin()
    saved = sorted((session.folder / "checkpoints").iterdir())
    control(session, 10)
    assert session.learner.updates > 0
    assert sorted((session.folder / "checkpoints").iterdir()) == saved


def test_a_resumed_session_may_learn_so_as_well(begin, log_file):
    session = begin(learner="call")
    control(session, 5)
    session.save()
    session.close()
    with Session.resume(session.folder, dataset=log_file, learner="episodes") as again:
        assert again.learner.updates == 0
        control(again, 5)
        assert again.learner.updates == 10 and again.due == 0


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"learn_seconds": 0.0}, r"learn_seconds is 0\.0; expected a number above 0"),
        ({"learn_seconds": float("nan")}, "expected a number above 0"),
        ({"learner": "process", "learn_seconds": 5.0}, "give it with learner='episodes'"),
        ({"learner": "episode"}, "expected 'call', 'episodes' or 'process'"),
    ],
)
def test_what_makes_no_sense_is_refused(begin, how, words):
    with pytest.raises(InputError, match=words):
        begin(**how)


def test_a_server_does_not_make_a_request_wait_for_all_of_it(quick_run):
    with pytest.raises(InputError, match="--learn-between"):
        open_session(quick_run, learner="episodes")
