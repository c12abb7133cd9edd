"""Columns that a map passes over, labels that begin anew in each file, and files without rows."""

import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa

from made_tables import COLUMNS, log_of, refuses, rows_of, told, write_csv, write_parquet
from moore.errors import InputError
from moore.findings.defects import findings
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

ROWS, STEPS = 60, 12
LAST = [int(i % STEPS == STEPS - 1) for i in range(ROWS)]
EPISODE = [i // STEPS for i in range(ROWS)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ends_told(**columns) -> list[str]:
    """What is told of ends that are not flagged, of the log that was written."""
    log = log_of("log.csv", **columns)
    return [f.text for f in findings(summarize(log)) if f.name == "unflagged-ends"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("episode", EPISODE),
        ("Traj_ID", [f"run {e}" for e in EPISODE]),
        ("done", LAST),
        ("is_last", [bool(v) for v in LAST]),
    ],
)
def test_ends_that_only_a_column_beside_the_map_tells_stop_a_run(name, values):
    write_csv("log.csv", rows_of(ROWS, **{name: values}))
    assert f"not in the map: {name}" in told(log_of("log.csv"))
    (text,) = ends_told()
    assert "tells 4 ends inside episodes" in text
    data = load_dataset("log.csv", columns=COLUMNS)
    with pytest.raises(InputError, match="tells 4 ends inside episodes"):
        check_log_for_run(data, None)
    check_log_for_run(data, None, accept=["unflagged-ends"])
    named = {"timeout" if values[-1] in (1, True) else "episode": name}
    assert log_of("log.csv", **named).truncated.sum() == 5


def test_time_outs_are_missed_where_only_terminal_flags_are_named():
    fell = [int(i == STEPS - 1) for i in range(ROWS)]
    write_csv("log.csv", rows_of(ROWS, fell=fell, episode=EPISODE))
    assert "tells 3 ends inside episodes" in ends_told(terminal="fell")[0]
    write_csv("log.csv", rows_of(ROWS, fell=LAST, episode=EPISODE))
    assert ends_told(terminal="fell") == []


@pytest.mark.parametrize(
    "columns", [{"window": "10 s", "time": "t"}, {"episode_rows": 10}, {"next_obs": ["nx", "ny"]}]
)
def test_where_the_map_cuts_or_has_next_states_nothing_is_missed(columns):
    more = {"t": list(range(ROWS)), "nx": [0.5] * ROWS, "ny": [0.5] * ROWS}
    write_csv("log.csv", rows_of(ROWS, episode=EPISODE, **more))
    assert ends_told(**columns) == []


@pytest.mark.parametrize(
    "values",
    [[0] * ROWS, list(range(ROWS)), [1 - v for v in LAST], ["n/a"] * ROWS, [*[0] * (ROWS - 1), 1]],
)
def test_columns_that_tell_no_ends_inside_the_log_do_not_stop_a_run(values):
    write_csv("log.csv", rows_of(ROWS, done=values))
    assert ends_told() == []


def test_columns_that_may_be_times_or_next_states_are_named_once_nobody_names_them():
    write_csv("log.csv", rows_of(4, timestamp=[1, 2, 3, 4], next_x=[1, 2, 3, 4], pressure=[0] * 4))
    assert "not in the map: timestamp, next_x; if" in told(log_of("log.csv"))
    assert "not in the map: next_x; if" in told(log_of("log.csv", time="timestamp"))
    write_csv("log.csv", rows_of(4, pressure=[0] * 4, temperature=[0] * 4))
    assert "not in the map" not in told(log_of("log.csv"))


# --- several files ---


def write_files(label, write=write_csv, kind="csv", **more):
    """Three files of four rows; `label(file)` is their episode."""
    for i in range(3):
        write(f"run_{i}.{kind}", rows_of(4, e=[label(i)] * 4, **more))


@pytest.mark.parametrize(("write", "kind"), [(write_csv, "csv"), (write_parquet, "parquet")])
def test_one_label_in_all_files_is_refused_until_the_map_says_what_the_files_are(write, kind):
    write_files(lambda i: 0, write, kind)
    refuses("in all 3 files; expected another label", log_of, f"run_*.{kind}", episode="e")
    cut = log_of(f"run_*.{kind}", episode="e", files="episodes").truncated
    assert cut.sum() == 3
    assert log_of(f"run_*.{kind}", episode="e", files="parts").truncated.sum() == 1


def test_labels_that_begin_anew_in_each_file_are_refused_with_the_way_out():
    for i in range(2):
        write_csv(f"run_{i}.csv", rows_of(4, e=[0, 0, 1, 1]))
    refuses('run_1.csv: .*say files = "episodes"', log_of, "run_*.csv", episode="e")
    assert log_of("run_*.csv", episode="e", files="episodes").truncated.sum() == 4


def test_an_episode_that_goes_on_in_the_next_file_is_told():
    write_files(lambda i: i // 2)
    log = log_of("run_*.csv", episode="e")
    assert "1 of the files begin with the e that the file before ends with" in told(log)
    assert log.truncated.sum() == 2
    write_files(lambda i: i)
    assert "file before" not in told(log_of("run_*.csv", episode="e"))


def test_files_without_rows_are_told():
    write_files(lambda i: i)
    write_csv("run_1.csv", {key: [] for key in "xyur"})
    assert "1 of the files have no rows: run_1.csv" in told(log_of("run_*.csv"))


# --- columns of Parquet ---


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.list_(pa.int64(), 1)])
def test_lists_of_one_entry_are_flags_times_and_labels_like_single_numbers(kind):
    def one(values):
        return pa.array([[v] for v in values], kind)

    roles = {"timeout": "f", "time": "t", "episode": "e"}
    columns = {"f": [0, 1, 0, 1], "t": [1, 2, 3, 4], "e": [5, 5, 6, 6]}
    write_parquet("log.parquet", rows_of(4, **{k: one(v) for k, v in columns.items()}))
    assert log_of("log.parquet", **roles).truncated.tolist() == [False, True, False, True]


def test_dates_as_whole_numbers_follow_the_time_format():
    times = [20260131235900, 20260201000000, 20260201000100]
    write_parquet("log.parquet", rows_of(3, t=times))
    log = log_of("log.parquet", time="t", time_format="%Y%m%d%H%M%S")
    assert "a row every 60 s" in told(log) and "1 gap" not in told(log)
