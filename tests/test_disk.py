"""A disk that refuses at any write: one line, and exact once there is room. And whole files."""

import csv
import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore import files
from moore.cli import main
from moore.collecting import episode_chunks
from moore.errors import InputError
from moore.files import (
    locked,
    read_object,
    replace_folder,
    standing,
    wait_until_unlocked,
    write_table,
    write_whole,
)
from moore.formats.npz import write_npz
from moore.runs.checkpoint import newest_first
from moore.runs.policy import load_policy
from moore.runs.run import resume, run
from moore.sinks.console import Reporter
from moore.sinks.tensorboard import TensorBoard
from moore.sweeps.figure_page import _write_curves
from runs_alike import assert_same_run
from tiny import ENV, quick_config, tiny_log

REFUSALS = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EROFS: "read-only file system; allow writing there",
    errno.EIO: "Input/output error; see what the disk",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("runs")
    write_npz(place / "log.npz", tiny_log())
    config = quick_config(tensorboard=True)
    run(config, dataset=place / "log.npz", env=ENV, out=place / "whole", quiet=True)
    return place / "whole"


class Refuses:
    """`os.fsync`, with which every write of a run ends, that fails from its n-th call on."""

    def __init__(self, nth: int, number: int = errno.ENOSPC):
        self.left, self.number, self.inner = nth, number, os.fsync

    def __call__(self, handle):
        self.left -= 1
        if self.left < 0:
            raise OSError(self.number, os.strerror(self.number))
        self.inner(handle)


# Before anything is begun, at the first writes of the run, and late in it.
FEW = (0, 3, 4, 5, 9, 41)
ALL = (0, 1, 2, 3, 4, 5, 7, 9, 11, 14, 20, 29, 41, 60)


@pytest.mark.parametrize(
    "nth", [pytest.param(n, marks=() if n in FEW else pytest.mark.slow) for n in ALL]
)
def test_a_disk_that_refuses_is_told_at_any_write_and_the_run_ends_exact(
    nth, whole, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    arguments = {"dataset": whole.parent / "log.npz", "env": ENV, "quiet": True}
    config = quick_config(tensorboard=True)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", Refuses(nth))
        with pytest.raises(InputError, match=r"the disk is full; make room") as refused:
            run(config, out=folder, **arguments)
    assert "\n" not in str(refused.value) and str(folder) in str(refused.value)
    if (folder / "checkpoints" / "plan.json").exists():
        resume(folder, **arguments)
    else:
        run(config, out=folder, **arguments)
    assert_same_run(whole, folder)


@pytest.mark.parametrize("number", REFUSALS)
def test_why_it_refuses_is_said_with_what_to_do(number, tmp_path, monkeypatch):
    write_whole(tmp_path / "note.txt", "old")
    monkeypatch.setattr(os, "fsync", Refuses(0, number))
    with pytest.raises(InputError, match=f"note.txt cannot be written: {REFUSALS[number]}"):
        write_whole(tmp_path / "note.txt", "new")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    assert (tmp_path / "note.txt").read_text() == "old"


@pytest.mark.parametrize("name", ["summary.json", "report.html"])
def test_a_finished_run_on_a_full_disk_is_told(name, whole, tmp_path):
    """The file is made beside its place first; there, everything is refused."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / f".{name}.partial").symlink_to("/dev/full")
    with pytest.raises(InputError, match=rf"{name} cannot be written: the disk is full"):
        resume(folder, dataset=whole.parent / "log.npz", env=ENV, quiet=True)


def test_a_folder_that_cannot_be_locked_is_told(tmp_path, monkeypatch):
    (tmp_path / ".lock").symlink_to("/nowhere/at/all")
    with pytest.raises(InputError, match=f"{tmp_path} cannot be written"), locked(tmp_path):
        pass


def test_a_folder_is_waited_for_only_so_long(tmp_path):
    assert wait_until_unlocked(tmp_path, seconds=0.0) and wait_until_unlocked(
        tmp_path / "nowhere", seconds=0.0
    )
    with locked(tmp_path):
        assert not wait_until_unlocked(tmp_path, seconds=0.2)


def test_two_runs_never_share_a_folder(whole, tmp_path, monkeypatch):
    """The folder was free when it was first looked at; then another process began there."""
    folder = tmp_path / "run"
    shutil.copytree(whole, tmp_path / "other")
    from moore.runs import beginning as module

    inner = module.prepare

    def slow(*arguments, **options):
        (tmp_path / "other").rename(folder)
        return inner(*arguments, **options)

    before = (whole / "config.toml").read_text()
    monkeypatch.setattr(module, "prepare", slow)
    with pytest.raises(InputError, match="never overwritten"):
        run(quick_config(seed=5), dataset=whole.parent / "log.npz", env=ENV, out=folder, quiet=True)
    assert (folder / "config.toml").read_text() == before


class TestPolicyFolder:
    def test_is_there_at_every_moment_while_it_is_replaced(self, whole, tmp_path, monkeypatch):
        for exchange in (True, False):
            folder = tmp_path / str(exchange)
            shutil.copytree(whole / "policy", folder / "policy")
            shutil.copytree(whole / "policy", folder / "new")
            looks, rename, remove = [], os.replace, shutil.rmtree

            def look(change, folder=folder, looks=looks):
                def looked(*arguments, **options):
                    looks.append(load_policy(folder))
                    change(*arguments, **options)
                    looks.append(load_policy(folder))

                return looked

            with monkeypatch.context() as patched:
                patched.setattr(os, "replace", look(rename))
                patched.setattr(shutil, "rmtree", look(remove))
                if not exchange:
                    patched.setattr(files, "_exchanged", lambda one, other: False)
                replace_folder(folder / "new", folder / "policy")
            assert looks and [path.name for path in folder.iterdir()] == ["policy"]

    def test_put_aside_by_a_kill_is_found(self, whole, tmp_path):
        shutil.copytree(whole / "policy", tmp_path / ".policy.old")
        assert standing(tmp_path / "policy") == tmp_path / ".policy.old"
        load_policy(tmp_path)


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Names, steps and values of the scalars in a folder's event files."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            size = int.from_bytes(content[at : at + 8], "little")
            event = Event.FromString(content[at + 12 : at + 12 + size])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            at += 16 + size
    return found


class TestTensorBoard:
    def test_no_epoch_is_there_twice_after_a_resume_and_none_is_lost(self, whole, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(whole, folder)
        for path in newest_first(folder / "checkpoints"):
            if path.name > "online-epoch-000002":
                shutil.rmtree(path)
        # A kill after the rows of an epoch, some of its scalars not on the disk.
        resume(folder, dataset=whole.parent / "log.npz", env=ENV, quiet=True)
        lasting = [row for row in events(whole) if "/time/" not in row[0] and "SPS" not in row[0]]
        again = [row for row in events(folder) if "/time/" not in row[0] and "SPS" not in row[0]]
        assert sorted(again) == sorted(lasting) and len(set(again)) == len(again) > 10

    def test_every_row_is_on_disk_as_soon_as_it_is_written(self, tmp_path):
        board = TensorBoard(tmp_path)
        board.write({"stage": "offline", "epoch": 1, "updates": 7, "losses/q": 2.5, "n/a": None})
        assert events(tmp_path) == [("offline/losses/q", 7, 2.5)]
        board.close()


class TestTables:
    @given(st.text(min_size=1).filter(lambda text: "\0" not in text))
    def test_no_cell_is_a_formula(self, text):
        cell = files._harmless(text)
        if cell[0] in "=+-@\t\r":
            float(cell)
        assert cell.removeprefix("'") == text.removeprefix("'")

    def test_numbers_stay_numbers(self, tmp_path):
        write_table(tmp_path / "a.csv", [["=1+1", "-2.5", -3, None, "@a", "+x", "a,b"]])
        with open(tmp_path / "a.csv", newline="") as file:
            assert list(csv.reader(file)) == [["'=1+1", "-2.5", "-3", "", "'@a", "'+x", "a,b"]]

    def test_names_of_logs_reach_the_curves_harmless(self, tmp_path):
        from moore.reports.compare import Finished

        row = {"stage": "online", "epoch": 0, "eval/return": -1.0}
        done = Finished(tmp_path, "=HYPERLINK(1)", "-x", 0, {}, [row], None)
        _write_curves(tmp_path / "curves.csv", [done])
        line = (tmp_path / "curves.csv").read_text().splitlines()[1]
        assert line.startswith("'=HYPERLINK(1),'-x,0,0,,-1")


class TestConsole:
    HOSTILE = "a\x1b[2Jb\x07\x9b31m\u202ec\udcff\r"

    def test_what_a_name_holds_does_not_reach_the_terminal(self, capsys, monkeypatch):
        Reporter().say(self.HOSTILE)
        with pytest.raises(SystemExit):
            main(["inspect", f"/nowhere/{self.HOSTILE}.npz"])
        said = capsys.readouterr()
        for text in (said.out, said.err):
            assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(text)
        assert "a?[2Jb??31m?c?" in said.err

    def test_line_breaks_and_signs_of_all_languages_are_printed(self, capsys):
        Reporter().say("eins\tzwei\n三")
        assert capsys.readouterr().err == "eins\tzwei\n三\n".expandtabs()


class TestRecording:
    ROWS = dict.fromkeys(episode_chunks._COLUMNS, None)

    def chunks(self, tmp_path):
        import numpy as np

        (tmp_path / "recipe.json").write_text(json.dumps({"a": 1}, sort_keys=True))
        for i in range(3):
            rows = {name: np.full(4, i) for name in episode_chunks._COLUMNS}
            episode_chunks._save(tmp_path / f"{i:06d}.npz", rows)

    def begin(self, tmp_path):
        return episode_chunks._begin(tmp_path, {"a": 1}, Reporter(quiet=True))

    @given(place=st.floats(0.0, 1.0), bit=st.integers(0, 7))
    def test_from_a_damaged_chunk_on_it_is_recorded_anew(self, tmp_path_factory, place, bit):
        folder = tmp_path_factory.mktemp("rows")
        self.chunks(folder)
        path = folder / "000001.npz"
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1 << bit
        path.write_bytes(content)
        found = self.begin(folder)
        values = [{name: array.tolist() for name, array in chunk.items()} for chunk in found]
        right = [{name: [i] * 4 for name in episode_chunks._COLUMNS} for i in range(3)]
        assert values in (right, right[:1])
        assert len(list(folder.glob("*.npz"))) == len(found)
        shutil.rmtree(folder)

    def test_whole_chunks_are_gone_on_with(self, tmp_path):
        self.chunks(tmp_path)
        assert len(self.begin(tmp_path)) == 3
        assert episode_chunks.begun_with(tmp_path, {"a": 1})
        assert not episode_chunks.begun_with(tmp_path, {"a": 2})
        (tmp_path / "recipe.json").write_bytes(b"\xff{")
        assert self.begin(tmp_path) == [] and not episode_chunks.begun_with(
            tmp_path / "x", {"a": 1}
        )


def test_a_json_file_of_any_other_content_is_told(tmp_path):
    for text in ("[1]", "{", "null", '"x"'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match=r"a\.json"):
            read_object(tmp_path / "a.json")
