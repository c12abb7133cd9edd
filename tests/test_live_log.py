"""The log of a live session: what is on the disk is whole or told, and reads as a log."""

import errno
import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.assessing.importance import logged_densities
from moore.envs.bounds import Bounds
from moore.errors import InputError
from moore.formats.live_records import Records, decode, encode, name_of
from moore.formats.live_steps import UNMEASURED, Steps, plain_reward
from moore.formats.load import load_dataset, read_log
from moore.sessions.journal import Journal

FACTS = {"session": "s", "env_id": "tank", "patience": 5}


def act(step, obs=0.5, unit=0, **more):
    record = {"kind": "act", "step": step, "unit": unit, "obs": [obs], "action": [0.25]}
    return record | {"log_density": -1.5, "policy": "p", "gate": None} | more


def observe(step, next_obs=0.75, reward=1.0, terminated=False, truncated=False):
    record = {"kind": "observe", "step": step, "reward": reward, "terminated": terminated}
    return record | {"next_obs": next_obs and [next_obs], "truncated": truncated}


def steps(count, first=1, unit=0):
    """So many complete steps in a row."""
    rows = range(first, first + count)
    return [
        record for n in rows for record in (act(n, n / 8, unit), observe(n, (n + 1) / 8, float(n)))
    ]


def written(folder, *files):
    """A log of these files, each a list of records."""
    folder.mkdir(exist_ok=True)
    for records in files:
        before = Records(folder)
        list(before)
        journal = Journal(folder, FACTS, before)
        journal.write(records)
        journal.close()
    return folder


def come_out(records, patience=1000):
    """Numbers of the steps that come out, in their order."""
    found = Steps(patience)
    return [step.number for record in records for step in found.take(record)]


class TestRecords:
    def test_a_line_is_its_record_and_a_checksum_that_covers_the_lines_before(self):
        line, crc = encode({"kind": "gap", "unit": 0}, 0)
        assert line == b'{"kind": "gap", "unit": 0, "crc": "%08x"}\n' % crc
        assert decode(line[:-1], 0) == ({"kind": "gap", "unit": 0}, crc)
        assert decode(line[:-1], 1) is None, "after another line it is not the same line"

    def test_what_was_written_is_read_file_after_file(self, tmp_path):
        log = written(tmp_path / "log", steps(2), [], steps(1, first=3))
        assert list(Records(log)) == steps(3)
        assert [path.name for path in Records(log).files()] == [name_of(i) for i in (1, 2, 3)]

    def test_cut_anywhere_at_its_end_it_loses_the_cut_record_and_no_other(self, tmp_path):
        log = written(tmp_path / "log", steps(3))
        content = (log / name_of(1)).read_bytes()
        lines = content.splitlines(keepends=True)
        for size in range(len(content) - len(lines[-1]) - len(lines[-2]), len(content)):
            (log / name_of(1)).write_bytes(content[:size])
            records = Records(log)
            whole = sum(np.cumsum([len(line) for line in lines]) <= size + 1) - 1
            cut = size not in np.cumsum([len(line) for line in lines])
            # A line that lacks nothing but its end is whole.
            assert len(list(records)) == whole
            nothing_but_the_end = size + 1 in np.cumsum([len(line) for line in lines])
            assert bool(records.notes) == (cut and not nothing_but_the_end)

    def test_after_a_cut_the_session_goes_on_in_a_new_file(self, tmp_path):
        log = written(tmp_path / "log", steps(2))
        content = (log / name_of(1)).read_bytes()
        (log / name_of(1)).write_bytes(content[:-7])
        written(log, [act(3)])
        assert list(Records(log)) == [*steps(2)[:-1], act(3)]

    @given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
    def test_no_damaged_byte_goes_unnoticed(self, tmp_path_factory, place, bit):
        log = written(tmp_path_factory.mktemp("log"), steps(2), [act(3)])
        content = bytearray((log / name_of(1)).read_bytes())
        content[place % len(content)] ^= 1 << bit
        (log / name_of(1)).write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            list(Records(log))

    def test_nor_one_in_the_newest_file(self, tmp_path):
        log = written(tmp_path / "log", steps(2))
        content = (log / name_of(1)).read_bytes()
        for place in range(content.index(b"\n") - 3, len(content)):
            altered = bytearray(content)
            altered[place] ^= 1
            (log / name_of(1)).write_bytes(altered)
            records = Records(log)
            try:
                found = list(records)
            except InputError as error:
                assert "damaged" in str(error)
            else:  # the end of the last line: it may have been cut there
                assert place == len(content) - 1 and records.notes and found == steps(2)[:-1]

    def test_a_missing_file_is_told(self, tmp_path):
        log = written(tmp_path / "log", steps(1), steps(1, first=2))
        (log / name_of(1)).unlink()
        with pytest.raises(InputError, match=r"steps-000001.jsonl is missing"):
            list(Records(log))

    def test_so_is_one_that_was_cut_after_the_next_was_begun(self, tmp_path):
        log = written(tmp_path / "log", steps(2), steps(1, first=3))
        content = (log / name_of(1)).read_bytes()
        (log / name_of(1)).write_bytes(content[: content[:-1].rindex(b"\n") + 1])
        with pytest.raises(InputError, match="follows a file that ended at"):
            list(Records(log))

    def test_on_a_full_disk_nothing_is_half_written(self, tmp_path, monkeypatch):
        log = tmp_path / "log"
        log.mkdir()
        journal = Journal(log, FACTS, Records(log))
        journal.write(steps(1))
        real = os.write

        def full(file, content):
            if len(content) > 20:
                return real(file, content[:20])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", lambda file, content: full(file, bytes(content[:40])))
        with pytest.raises(InputError, match=r"disk is full.*may be repeated"):
            journal.write([act(2)])
        monkeypatch.setattr(os, "write", real)
        journal.write([act(2)])
        journal.close()
        assert list(Records(log)) == [*steps(1), act(2)]


class TestSteps:
    def test_a_step_comes_out_when_all_of_it_is_known(self):
        assert come_out([act(1)]) == []
        assert come_out([act(1), observe(1)]) == [1]

    def test_a_late_reward_holds_up_the_steps_after_it(self):
        late = [act(1), observe(1, reward=None), act(2), observe(2)]
        assert come_out(late) == []
        assert come_out([*late, {"kind": "reward", "step": 1, "reward": 3.0}]) == [1, 2]

    def test_but_not_those_of_other_units(self):
        late = [act(1), act(2, unit="b"), observe(1, reward=None), observe(2)]
        assert come_out(late) == [2]

    def test_the_next_observation_may_be_that_of_the_next_action(self):
        found = Steps()
        for record in (act(1), observe(1, next_obs=None)):
            assert not list(found.take(record))
        (step,) = found.take(act(2, obs=0.875))
        assert step.whole and step.next_obs.tolist() == [0.875]

    def test_an_action_without_an_outcome_is_lost_at_the_next_one(self):
        found = Steps()
        assert not list(found.take(act(1)))
        (step,) = found.take(act(2))
        assert step.lost and not step.whole

    def test_a_step_whose_reward_never_comes_is_given_up(self):
        late = [act(1), observe(1, reward=None)]
        assert come_out([*late, *steps(4, first=2)], patience=5) == []
        assert come_out([*late, *steps(5, first=2)], patience=5) == [1, 2, 3, 4, 5, 6]

    def test_who_acted_is_read_where_a_controller_stood_by(self, tmp_path):
        told = {"actor": "old", "mode": "shadow", "alarm": "", "clock": 1.0}
        first = act(1, policy=None, decision=told | {"old": [0.25], "new": None})
        second = act(2, decision=told | {"actor": "new", "old": [0.5], "new": [0.25]})
        mode = {"kind": "mode", "mode": "on"}
        log = written(tmp_path / "log", [first, observe(1), mode, second, observe(2)])
        infos = read_log(log, infos=True).infos
        assert infos["actor"].tolist() == [0, 1] and infos["policy"].tolist() == [-1, 0]
        assert infos["old_action"].tolist() == [[0.25], [0.5]]
        assert np.isnan(infos["new_action"][0]) and infos["new_action"][1] == 0.25

    @pytest.mark.parametrize(
        "records",
        [
            [observe(1)],
            [act(2)],
            [act(1), observe(1), observe(1)],
            [{"kind": "other"}],
            [{}],
            [act(1, decision={"actor": "nobody"})],
        ],
    )
    def test_records_that_no_session_writes_are_refused(self, records):
        with pytest.raises(InputError, match="does not fit those before it"):
            come_out(records)


class TestReading:
    def test_every_complete_step_is_a_row(self, tmp_path):
        log = load_dataset(written(tmp_path / "log", steps(3)))
        assert log.obs.ravel().tolist() == [0.125, 0.25, 0.375]
        assert log.next_obs.ravel().tolist() == [0.25, 0.375, 0.5]
        assert log.action.ravel().tolist() == [0.25] * 3 and log.reward.tolist() == [1, 2, 3]
        assert log.truncated.tolist() == [False, False, True] and not log.terminated.any()
        assert log.env_id == "tank"

    def test_units_stand_one_after_the_other(self, tmp_path):
        mixed = [act(1, unit="a"), act(2, unit="b"), observe(2), observe(1), *steps(1, 3, "a")]
        log = read_log(written(tmp_path / "log", mixed), infos=True)
        assert log.infos["step"].tolist() == [1, 3, 2]
        assert log.truncated.tolist() == [False, True, True]

    def test_a_reward_beyond_float32_was_not_measured(self, tmp_path):
        records = [*steps(1), act(2), observe(2, reward=1e39), *steps(1, first=3)]
        log = load_dataset(written(tmp_path / "log", records))
        assert log.reward.tolist() == [1, 3] and plain_reward(1e39) == UNMEASURED

    def test_what_was_lost_is_not_bridged(self, tmp_path):
        records = [*steps(2), act(3), *steps(1, first=4), {"kind": "gap", "unit": 0}]
        records += [*steps(1, first=5), act(6), observe(6, reward=UNMEASURED), *steps(1, first=7)]
        log = load_dataset(written(tmp_path / "log", records))
        assert log.reward.tolist() == [1, 2, 4, 5, 7]
        assert log.truncated.tolist() == [False, True, True, True, True]
        assert "2 steps were lost or not measured" in log.metadata["notes"][0]

    def test_a_reward_that_has_not_come_is_told(self, tmp_path):
        records = [*steps(1), act(2), observe(2, reward=None)]
        log = load_dataset(written(tmp_path / "log", records))
        assert log.size == 1 and "1 steps wait for their reward" in log.metadata["notes"][0]

    def test_returns_are_those_of_complete_episodes(self, tmp_path):
        end = [act(3), observe(3, truncated=True)]
        log = load_dataset(written(tmp_path / "log", [*steps(2), *end, *steps(1, first=4)]))
        assert log.episode_returns.tolist() == [1 + 2 + 1] and log.episode_lengths.tolist() == [3]

    def test_a_part_of_it_has_the_returns_and_facts_of_that_part(self, tmp_path):
        records = [r for n in (1, 3, 5) for r in (*steps(1, n), act(n + 1), observe(
            n + 1, reward=10.0 * n, truncated=True))]  # fmt: skip
        folder = written(tmp_path / "log", records)
        whole, part = (read_log(folder, infos=True, max_rows=rows) for rows in (None, 2))
        assert whole.episode_returns.tolist() == [11, 33, 55]
        assert part.episode_returns.tolist() == [part.reward.sum()]
        assert part.infos["step"].tolist() == [part.reward[0], part.reward[0] + 1]

    def test_densities_and_policies_are_there_for_whoever_wants_them(self, tmp_path):
        records = [*steps(1), act(2, log_density=None, policy="q", gate=True), observe(2)]
        log = read_log(written(tmp_path / "log", records), infos=True)
        np.testing.assert_array_equal(log.infos["log_density"], [-1.5, np.nan])
        assert log.infos["policy"].tolist() == [0, 1] and log.infos["gate"].tolist() == [-1, 1]
        assert log.metadata["session"]["policies"] == ["p", "q"]

    def test_an_assessment_finds_the_densities_in_its_own_units(self, tmp_path):
        log = written(tmp_path / "log", [*steps(2), act(3, log_density=None), observe(3)])
        bounds = Bounds(np.asarray([0.0, 1.0]), np.asarray([8.0, 1.0]))  # one entry is locked
        found = logged_densities(str(log), load_dataset(log), bounds)
        np.testing.assert_allclose(found, [-1.5 + np.log(4.0)] * 2 + [np.nan])

    def test_without_a_complete_step_it_says_so(self, tmp_path):
        with pytest.raises(InputError, match="none of its 1 steps was measured completely"):
            load_dataset(written(tmp_path / "log", [act(1)]))

    def test_a_column_map_is_refused(self, tmp_path):
        log = written(tmp_path / "log", steps(1))
        with pytest.raises(InputError, match="fixed names"):
            load_dataset(log, columns={"obs": ["x"], "action": ["y"]})

    def test_it_is_the_same_log_wherever_it_lies(self, tmp_path):
        log = written(tmp_path / "log", steps(2))
        shutil.copytree(log, tmp_path / "copy")
        assert load_dataset(log).sha256 == load_dataset(tmp_path / "copy").sha256
