"""A session's folder: it begins from a run, is killed, and goes on where it stood."""

import shutil

import jax
import numpy as np
import pytest

from controlled import control, rows, sessions
from moore import Session, load_dataset, load_policy
from moore.envs.plant_spec import PlantSpec
from moore.errors import InputError
from moore.formats.npz import write_npz
from moore.runs.hand_over import HandOverFindings
from moore.runs.run import run
from moore.sessions import folder as session_folder
from moore.sessions import start
from moore.sessions.beside import check_kinds
from moore.sessions.studying import check_time_or_updates
from tiny import quick_config, tiny_log

OBS = np.asarray([0.5], np.float32)


@pytest.fixture
def begin(quick_run, log_file, tmp_path):
    with sessions(quick_run, log_file, tmp_path) as begin:
        yield begin


class TestSavingAndResuming:
    def test_it_goes_on_where_it_was_saved(self, begin, log_file, tmp_path):
        session = begin()
        control(session, 13)
        session.learn()
        copy = session.save(tmp_path / "copy")
        control(session, 7, first=13)
        made = session.learn(updates=4)
        with Session.resume(copy, dataset=log_file) as again:
            again.gap()
            control(again, 7, first=13)
            assert again.learn(updates=4) == made
            for one, other in zip(*map(jax.tree.leaves, map(rows, (session, again))), strict=True):
                assert len(one) == len(other)
            assert again._operation.studying.learning.epoch.number == 2

    def test_killed_without_warning_it_loses_no_step(self, begin, log_file, tmp_path):
        session = begin()
        control(session, 13)
        session.learn()
        session.save()
        control(session, 5, first=13)
        shutil.copytree(session.folder, tmp_path / "killed")
        with Session.resume(tmp_path / "killed", dataset=log_file) as again:
            for one, other in zip(*map(jax.tree.leaves, map(rows, (session, again))), strict=True):
                np.testing.assert_array_equal(one, other)
            assert again.due == 5
            assert (
                again._operation.studying.feeder.finished
                == session._operation.studying.feeder.finished
            )
            assert again.act(OBS).shape == (1,)
            assert again.observe(reward=0.0, next_obs=OBS) == 19
        assert load_dataset(tmp_path / "killed" / "log").size == 19

    def test_a_policy_that_is_not_the_stored_one_does_not_act(
        self, begin, log_file, tmp_path, monkeypatch
    ):
        copy = begin().save(tmp_path / "copy")
        honest = session_folder.load_checkpoint

        def with_another_actor(path, template):
            found = honest(path, template)
            actor = jax.tree.map(lambda x: x + 0.1, found.state.agent.actor)
            object.__setattr__(found.state.agent, "actor", actor)
            return found

        monkeypatch.setattr(session_folder, "load_checkpoint", with_another_actor)
        with pytest.raises(InputError, match=r"not the one that was saved.*It does not act"):
            Session.resume(copy, dataset=log_file)

    @pytest.mark.parametrize("left", [0.5, 0.0])
    def test_a_log_that_lacks_what_was_learned_from_is_refused(
        self, begin, log_file, tmp_path, left
    ):
        session = begin()
        control(session, 13)
        file = next((session.save(tmp_path / "copy") / "log").iterdir())
        file.write_bytes(file.read_bytes()[: int(left * file.stat().st_size)])
        with pytest.raises(
            InputError, match=r"complete steps, the saved state has learned from 13"
        ):
            Session.resume(tmp_path / "copy", dataset=log_file)
        assert len(list(file.parent.iterdir())) == 1, "nothing is left"

    def test_a_record_that_was_cut_is_told(self, begin, log_file, tmp_path):
        session = begin()
        copy = session.save(tmp_path / "copy")
        control(session, 2)
        content = next(session.log.iterdir()).read_bytes()
        next((copy / "log").iterdir()).write_bytes(content[:-5])
        with (
            pytest.warns(UserWarning, match=r"not written completely; it is left out"),
            Session.resume(copy, dataset=log_file) as again,
        ):
            assert again.status.steps == 2 and len(rows(again).reward) == 1

    @pytest.mark.parametrize("file", ["manifest.json", "state.safetensors"])
    def test_a_damaged_state_is_told_and_the_one_before_is_taken(
        self, begin, log_file, tmp_path, file
    ):
        session = begin()
        control(session, 5)
        session.learn()
        copy = session.save(tmp_path / "copy")
        newest = max((copy / "checkpoints").iterdir()) / file
        newest.write_bytes(newest.read_bytes()[:-9])
        with (
            pytest.warns(UserWarning, match="its newest saved state is damaged"),
            Session.resume(copy, dataset=log_file) as again,
        ):
            assert again.status.steps == 5 and again.due == 5

    def test_only_one_process_has_it_open(self, begin, log_file):
        session = begin()
        with pytest.raises(InputError, match="another process is writing"):
            Session.resume(session.folder, dataset=log_file)

    def test_nothing_is_overwritten(self, begin, tmp_path):
        session = begin()
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "file").write_text("mine")
        with pytest.raises(InputError, match="is no copy of this session"):
            session.save(tmp_path / "other")
        with pytest.raises(InputError, match="a session is never overwritten"):
            begin()

    @pytest.mark.parametrize("is_open", [False, True])
    def test_a_copy_that_has_gone_on_is_not_overwritten(self, begin, log_file, tmp_path, is_open):
        session = begin()
        control(session, 2)
        copy = session.save(tmp_path / "copy")
        control(session, 2)
        session.save(copy)
        elsewhere = Session.resume(copy, dataset=log_file)
        control(elsewhere, 3)
        if not is_open:
            elsewhere.close()
        with pytest.raises(InputError, match="has gone on by itself"):
            session.save(copy)
        elsewhere.close()
        assert load_dataset(copy / "log").size == 7

    def test_rows_that_it_has_are_not_taken_again(self, begin, log_file, tmp_path):
        session = begin()
        control(session, 10)
        week = tmp_path / "week.npz"
        write_npz(week, tiny_log(seed=1))
        assert session.add_log(week) == 300
        session.save()
        session.close()
        again = Session.resume(session.folder, dataset=log_file)
        for source in (week, str(log_file), again.log):
            with pytest.raises(InputError, match="has these rows already"):
                again.add_log(source)
        again.close()

    def test_once_closed_it_says_how_to_go_on(self, begin):
        session = begin()
        session.close()
        with pytest.raises(InputError, match=r"closed; go on with moore.Session.resume"):
            session.act(OBS)

    def test_where_there_is_none_it_says_so(self, tmp_path):
        with pytest.raises(InputError, match="is no session"):
            Session.resume(tmp_path)


class TestBeginning:
    def test_it_goes_on_from_the_newest_state_of_a_run(self, begin, quick_run):
        session = begin(at="newest")
        assert session._operation.studying.learning.epoch.number == 4
        assert len(rows(session).reward) == 36
        assert session.policy(OBS) == load_policy(quick_run)(OBS)
        control(session, 1)
        assert rows(session).truncated[35], "the run's last episode goes on nowhere"

    def test_what_speaks_against_a_policy_is_asked_first(
        self, quick_run, log_file, tmp_path, monkeypatch
    ):
        worse = HandOverFindings(-9.0, 1.0, below_log=True, passed_gate=None)
        monkeypatch.setattr(start, "hand_over", lambda rows, log: worse)
        how = {"dataset": log_file, "at": "hand-over"}
        with pytest.raises(InputError, match=r"accept=\('hand-over',\)"):
            Session.from_run(quick_run, tmp_path / "session", **how)
        assert not (tmp_path / "session").exists()

    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ({"seed": -1}, "seed is -1"),
            ({"accept": ("hand-over", "all")}, "knows hand-over, first-observation"),
        ],
    )
    def test_what_makes_no_sense_is_refused_and_leaves_nothing(self, begin, tmp_path, how, words):
        with pytest.raises(InputError, match=words):
            begin(**how)
        assert not (tmp_path / "session").exists()

    @pytest.mark.parametrize(
        ("check", "words"),
        [
            (lambda: start.check_seed("1"), "seed is '1'"),
            (lambda: start.check_seed(1.5), "seed is 1.5"),
            (lambda: start.check_accepted("hand-over"), "accept is 'hand-over'; expected a tuple"),
            (lambda: start.check_accepted(3), "accept is 3"),
            (lambda: check_kinds(guard=True), "guard is True; expected a moore.guarding"),
            (lambda: check_kinds(interlocks=3), "interlocks is 3"),
            (lambda: check_kinds(dead_man=3.0), "dead_man is 3.0"),
            (lambda: check_kinds(clock=3.0), "clock is 3.0; expected a function"),
            (lambda: check_time_or_updates("1", None), "updates is '1'"),
            (lambda: check_time_or_updates(None, "1"), "seconds is '1'"),
        ],
    )
    def test_another_kind_of_thing_is_refused(self, check, words):
        with pytest.raises(InputError, match=words):
            check()

    def test_a_plant_needs_no_environment(self, log_file, tmp_path):
        plant = PlantSpec(1, action_low=[-2.0], action_high=[2.0], episode_steps=20)
        config = quick_config()
        config = config.__class__(**vars(config) | {"evaluation": config.evaluation.__class__(0)})
        run(config, dataset=log_file, env=plant, out=tmp_path / "run", stages="offline", quiet=True)
        with Session.from_run(tmp_path / "run", tmp_path / "session") as session:
            control(session, 1)
        with pytest.raises(InputError, match="cannot be stepped"):
            plant().reset()

    def test_a_specification_that_is_none_is_refused(self):
        with pytest.raises(InputError, match="describes no plant"):
            PlantSpec(1, action_low=[1.0], action_high=[-1.0])()
