"""A full disk while a session records: who acts, what is lost, and how recording goes on."""

import contextlib
import errno
import json
import os
import signal

import numpy as np
import pytest

import moore
from beside_old import OBS, control, old
from controlled import records
from moore.errors import InputError, TurnError, WriteError
from moore.reports.live_page import live_content, live_facts
from moore.reports.live_session import live_session
from moore.sessions.recording import NotRecorded
from served import Served

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")


class Disk:
    """Writes of the log go through here; one that is full takes the first bytes of a record."""

    full, stuck = False, False

    def __init__(self, monkeypatch):
        write, cut = os.write, os.ftruncate

        def writes(file, content):
            if self.full and len(content) > 30:
                return write(file, bytes(content[:30]))
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, content)

        def cuts(file, size):
            if self.stuck:
                raise OSError(errno.EIO, "Input/output error")
            cut(file, size)

        monkeypatch.setattr(os, "write", writes)
        monkeypatch.setattr(os, "ftruncate", cuts)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


class TestBesideAController:
    def test_the_old_controller_goes_on_acting_and_recording_resumes(self, begin, time, disk):
        session = begin(mode="on")
        control(session, time, 3)
        disk.full = True
        with pytest.warns(NotRecorded, match=r"disk is full.*The old controller acts until then"):
            sent = control(session, time, 4, first=3)
        np.testing.assert_array_equal(sent, np.repeat(old(OBS), 4))
        assert "disk is full" in session.status.unrecorded
        assert "disk is full" in session.standing[0].why
        session._operation.bulletin.tell(session._operation._told, closed=True)
        told = json.loads((session.folder / "status.json").read_text())
        facts = live_facts("a plant", [], "", finished=False, session=live_session(told))
        page = live_content(facts, [])
        assert "Recording:" in page and "disk is full" in page
        disk.full = False
        with pytest.warns(NotRecorded, match="again; 4 actions are missing"):
            control(session, time, 1)
        assert session.standing[0].actor == "new" and session.status.unrecorded == ""
        control(session, time, 3, first=1)
        session.close()
        assert moore.load_dataset(session.log).size == 7
        assert [record["step"] for record in records(session, "act")] == [*range(1, 8)]

    def test_no_transition_is_made_of_what_surrounds_it(self, begin, time, disk):
        session = begin()
        for obs, full in [(0.1, False), (0.2, True), (0.3, True), (0.4, False), (0.5, False)]:
            disk.full, time.now = full, time.now + 1.0
            session.act(np.float32([obs]))
            session.observe(reward=1.0)
        session.close()
        log = moore.load_dataset(session.log)
        np.testing.assert_allclose([log.obs[:, 0], log.next_obs[:, 0]], [[0.4], [0.5]], atol=1e-6)

    def test_the_old_controller_is_asked_once_a_step(self, begin, time, disk):
        asked = []
        session = begin(controller=lambda obs: asked.append(1) or old(obs), mode="on")
        disk.full = True
        control(session, time, 3)
        assert len(asked) == 3

    def test_the_action_moves_at_the_rate_from_one_to_the_other_and_back(self, begin, time, disk):
        session = begin(mode="on", transfer_rate=0.05)
        sent = [control(session, time, 3)]
        disk.full = True
        sent.append(control(session, time, 3, first=3))
        disk.full = False
        sent.append(control(session, time, 3, first=2))
        steps = np.abs(np.diff(np.concatenate(sent)))
        assert steps[2:].max() <= 0.05 + 1e-6

    def test_an_outcome_that_the_disk_refuses_stops_nothing(self, begin, time, disk):
        session = begin()
        session.act(OBS)
        disk.full = True
        assert session.observe(reward=1.0, next_obs=OBS) == 0
        disk.full = False
        assert session.observe(reward=1.0, next_obs=OBS) == 1

    def test_over_http_the_old_controller_acts_too(self, begin, time, disk):
        server = Served(begin(mode="on"))
        disk.full = True
        assert server.post("act", {"obs": OBS.tolist()}) == (200, {"action": old(OBS).tolist()})
        assert server.post("observe", {"reward": 1.0}) == (200, {"step": 0})
        assert "disk is full" in server.ask("GET", "/v1/status")[1]["unrecorded"]
        assert server.post("gap")[0] == 507
        server.loop.close()


@contextlib.contextmanager
def no_file_longer_than(size):
    """The system itself refuses what would make a file longer."""
    resource = pytest.importorskip("resource")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


class TestTheSystemRefuses:
    def test_a_record_is_there_whole_or_not_at_all(self, begin, time):
        session = begin()
        control(session, time, 2)
        (file,) = session.log.iterdir()
        with no_file_longer_than(file.stat().st_size + 50), pytest.warns(NotRecorded):
            control(session, time, 2, first=2)
        with pytest.warns(NotRecorded):
            control(session, time, 2)
        session.close()
        assert moore.load_dataset(session.log).size == 4

    def test_learning_goes_on_and_no_row_of_metrics_is_cut_or_lost(self, begin, time):
        session = begin()
        metrics = session.folder / "metrics.jsonl"
        epoch = session._operation._setup.config.online.steps_per_epoch
        for round in range(3):
            control(session, time, epoch)
            limit = metrics.stat().st_size + 20
            refusing = no_file_longer_than(limit) if round == 1 else contextlib.nullcontext()
            session._operation._journal.sync()
            with refusing:
                session.learn()
            assert session.learner.alive
        session.save()
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        assert [row["env_steps"] for row in rows] == [epoch, 2 * epoch, 3 * epoch]


class TestAlone:
    def test_it_says_so_and_what_comes_of_the_action_is_not_taken_for_another_s(self, begin, disk):
        session = begin(controller=None, clock=None)
        session.act(OBS)
        disk.full = True
        with pytest.raises(WriteError, match="disk is full"):
            session.observe(reward=1.0, next_obs=OBS)
        with pytest.raises(WriteError, match="disk is full"):
            session.act(np.float32([0.75]))
        disk.full = False
        with pytest.raises(TurnError, match="not recorded, because the disk refused"):
            session.observe(reward=5.0, next_obs=np.float32([1.0]))
        session.act(OBS)
        assert session.observe(reward=2.0, next_obs=OBS) == 2
        session.close()
        log = moore.load_dataset(session.log)
        assert log.reward.tolist() == [2.0]

    def test_a_record_that_could_not_be_taken_back_at_once_is_later(self, begin, disk):
        session = begin(controller=None, clock=None)
        disk.full = disk.stuck = True
        with pytest.raises(InputError, match="cannot be written"):
            session.act(OBS)
        disk.full = False
        with pytest.raises(InputError, match="cannot be written"):
            session.act(OBS)
        disk.stuck = False
        session.act(OBS)
        session.observe(reward=1.0, next_obs=OBS)
        session.close()
        assert moore.load_dataset(session.log).size == 1
