"""Tables with a column of time: gaps, windows, times that begin anew, and how a time is written."""

import datetime

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa

from made_tables import (
    MOMENTS,
    START,
    WRITERS,
    log_of,
    pairs,
    refuses,
    rows_of,
    told,
    write_csv,
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_gap_ends_the_episode_and_is_told(folder):
    times = [0, 10, 20, 30, 3600, 3610, 3620, 3622, 3632]
    write_csv("log.csv", rows_of(9, t=times))
    log = log_of("log.csv", time="t")
    assert np.flatnonzero(log.truncated).tolist() == [3, 6, 8]
    assert "a row every 10 s" in told(log)
    assert "1 gap" in told(log) and "59.5 min, before line 6" in told(log)
    assert "1 short interval" in told(log) and "2 s, before line 9" in told(log)
    wide = log_of("log.csv", time="t", gap_tolerance=1e9)
    assert np.flatnonzero(wide.truncated).tolist() == [8]


@pytest.mark.parametrize("times, line", [([0, 1, 3, 2, 4], 5), ([0, 1, 1, 2, 3], 4)])
def test_times_that_do_not_increase_are_refused_with_their_line(folder, times, line):
    write_csv("log.csv", rows_of(5, t=times))
    refuses(f"t in line {line} is .*increase", log_of, "log.csv", time="t")


def test_times_may_begin_anew_with_an_episode_only(folder):
    write_csv("log.csv", rows_of(6, t=[0, 1, 2, 0, 1, 2], e=list("aaabbb")))
    assert np.flatnonzero(log_of("log.csv", time="t", episode="e").truncated).tolist() == [2, 5]
    refuses("before that of the row before", log_of, "log.csv", time="t")


@pytest.mark.parametrize(
    "written, more",
    [
        ([t.isoformat() for t in MOMENTS], {}),
        ([t.isoformat(" ") for t in MOMENTS], {}),
        ([t.isoformat() + "Z" for t in MOMENTS], {}),
        ([t.isoformat() + "+02:00" for t in MOMENTS], {}),
        ([t.strftime("%d.%m.%Y %H:%M:%S") for t in MOMENTS], {"time_format": "%d.%m.%Y %H:%M:%S"}),
        ([(t - START).total_seconds() + 1.7e9 for t in MOMENTS], {}),
        ([(t - START).total_seconds() * 1000 for t in MOMENTS], {"time_unit": "ms"}),
        (pa.array(MOMENTS, pa.timestamp("s")), {}),
        (pa.array(MOMENTS, pa.timestamp("us", "Europe/Berlin")), {}),
        (pa.array([t - START for t in MOMENTS], pa.duration("ms")), {}),
        (pa.array([10**18 + int((t - START).total_seconds()) for t in MOMENTS]), {}),
        (pa.array([t.isoformat() for t in MOMENTS]).dictionary_encode(), {}),
    ],
)
def test_times_are_read_however_they_are_written(folder, written, more):
    kind = "parquet" if isinstance(written, pa.Array) else "csv"
    WRITERS[kind](f"log.{kind}", rows_of(5, t=written))
    log = log_of(f"log.{kind}", time="t", **more)
    assert np.flatnonzero(log.truncated).tolist() == [2, 4]
    assert "a row every 60 s" in told(log) and "3 min, before" in told(log)


def test_times_with_and_without_a_zone_are_not_mixed_across_files(folder):
    names = [folder / f"day{i}.csv" for i in (1, 2, 3)]
    for day, end in zip((1, 2, 3), ("Z", "", "Z"), strict=True):
        moments = [f"2026-01-0{day}T10:00:0{second}{end}" for second in range(4)]
        write_csv(names[day - 1], rows_of(4, t=moments))
    how = {"time": "t", "files": "parts"}
    refuses("day2.csv: t is written in another way.*time zone", log_of, str(folder), **how)
    write_csv(names[1], rows_of(4, t=[None] * 4))
    assert "a row every 1 s" in told(log_of(str(folder), **how)), "a file without times says naught"
    names[2].unlink()
    assert "a row every 1 s" in told(log_of(str(folder), **how))


def test_text_that_is_no_time_is_refused(folder):
    write_csv("log.csv", rows_of(2, t=["31.01.2026 10:00", "31.01.2026 10:01"]))
    refuses("column t holds '31.01.2026 10:00' in line 2.*time_format", log_of, "log.csv", time="t")
    write_csv("log.csv", rows_of(2, t=["2026-01-31T10:00", "2026-01-31T10:01Z"]))
    refuses("with and without a time zone", log_of, "log.csv", time="t")


def test_a_continuous_log_is_cut_into_windows(folder):
    hours = [datetime.datetime(2026, 1, 1, 6) + datetime.timedelta(hours=6 * h) for h in range(7)]
    write_csv("log.csv", rows_of(7, t=[h.isoformat() for h in hours]))
    assert np.flatnonzero(log_of("log.csv", episode_rows=3).truncated).tolist() == [2, 5]
    log = log_of("log.csv", time="t", window="1 day")
    assert np.flatnonzero(log.truncated).tolist() == [3, 5]
    assert not log.terminated.any()


def joined(**columns):
    """Which row follows which in log.csv."""
    return [(int(a[0]), int(a[4])) for a in pairs("log.csv", **columns) if a[4] == a[4]]


def test_the_last_row_of_a_window_keeps_its_successor_unless_a_gap_follows(folder):
    write_csv("log.csv", rows_of(9, t=[0, 1, 2, 3, 4, 5, 9, 10, 11]))
    assert joined(time="t", episode_rows=3) == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (6, 7),
        (7, 8),
    ]
    log = log_of("log.csv", time="t", episode_rows=3)
    assert np.flatnonzero(log.truncated).tolist() == [2, 4, 6]


CONTINUED = {"time": "t", "episode": "e"}


class TestContinues:
    """Episodes that a column names, of a process that goes on from one to the next."""

    @staticmethod
    def write(times, **more):
        write_csv("log.csv", rows_of(6, t=times, e=["a", "a", "b", "b", "c", "c"]) | more)

    def test_the_next_row_is_the_successor_if_the_time_says_so(self, folder):
        self.write([0, 1, 2, 3, 9, 10])
        assert joined(**CONTINUED) == [(0, 1), (2, 3), (4, 5)]
        assert joined(**CONTINUED, continues=True) == [(0, 1), (1, 2), (2, 3), (4, 5)]
        log = log_of("log.csv", **CONTINUED, continues=True)
        assert np.flatnonzero(log.truncated).tolist() == [1, 2, 3]

    @pytest.mark.parametrize("times", [[0, 1, 0, 1, 0, 1], [0, 1, 1, 2, 2, 3]])
    def test_times_that_begin_anew_join_nothing(self, folder, times):
        self.write(times)
        assert joined(**CONTINUED, continues=True) == [(0, 1), (2, 3), (4, 5)]

    def test_a_flagged_end_and_a_missing_value_join_nothing(self, folder):
        self.write(range(6), done=[0, 1, 0, 0, 0, 0], x=[0, 1, 2, 3, None, 5])
        how = CONTINUED | {"terminal": "done", "continues": True}
        assert joined(**how) == [(0, 1), (2, 3)]

    def test_it_must_be_true_or_false_and_needs_the_time(self, folder):
        self.write(range(6))
        refuses(
            "continues is 1; expected true or false", log_of, "log.csv", **CONTINUED, continues=1
        )
        refuses("continues is given without time", log_of, "log.csv", episode="e", continues=True)
