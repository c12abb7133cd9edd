"""Cells of CSV and Parquet files, and the map of their columns: what is read, what is refused."""

import sys

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from made_tables import (
    COLUMNS,
    MOMENTS,
    log_of,
    refuses,
    rows_of,
    text,
    told,
    write_csv,
    write_parquet,
)
from moore.data.dataset import concatenate
from moore.errors import InputError
from moore.formats.load import load_dataset, read_log

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- how cells are written ---


def test_a_german_file_with_units_and_empty_lines(folder):
    lines = ["Zeit;Druck [bar];Höhe;Ventil;Lohn", "s;bar;m;%;", "0;1,5;-2;10;0,25", "1;1,75;3;20;1",
             "2;2;4;30;2", ";;;;", ""]  # fmt: skip
    named = {"obs": ["Druck [bar]", "Höhe"], "action": "Ventil", "reward": "Lohn", "time": "Zeit"}
    for encoding in ("utf-8-sig", "latin-1", "utf-16"):
        name = text(folder / "log.csv", *lines, encoding=encoding)
        log = read_log(name, columns=named)
        assert log.obs.tolist() == [[1.5, -2], [1.75, 3], [2, 4]]
        assert log.reward.tolist() == [0.25, 1, 2]
        assert log.metadata["obs_names"] == ["Druck [bar]", "Höhe"]
        assert log.metadata["obs_units"] == ["bar", "m"] and log.metadata["action_units"] == ["%"]
        assert "decimal comma" in told(log) and "units" in told(log)


@pytest.mark.parametrize(
    "lines, message",
    [
        (["x,y,u,r", "1,2,3,4", "1,oops,3,4"], "column y holds 'oops' in line 3"),
        (["x,y,u,r", "1,2,3,4", "", "", "1,2,3,oops"], "column r holds 'oops' in line 5"),
        (["x,y,u,r", "1,2,3,4", "1,2,3"], "line 3 has 3 cells, the header 4"),
        (["x,y,u,r", "1,2,3,4", "1,2,3,4,5"], "line 3 has 5 cells, the header 4"),
        (["x,y,u,r,x", "1,2,3,4,5"], "2 columns are named 'x'"),
        (["x,y,u", "1,2,3"], "no column 'r'; the file has 'x', 'y', 'u'"),
        (["1,2,3,4", "1,2,3,4"], "first line holds numbers"),
        (['x,y,u,r,c', '1,2,3,4,"a', 'b"', '1,2,3,4,c'], "a cell goes over several lines"),
        (['x,y,u,r,c', '1,2,3,4,"a', '1,2,3,4,c'], "a quotation mark is not closed"),
        (["x;y;u;r", "1.234,5;2;3;4"], "without signs between its thousands"),
        (['x,y,u,r', '"1,5",2,3,4'], 'decimal = ","'),
        (["x,y,u,r", "9007199254740993,2,3,4"], "below 2\\*\\*53"),
        (["x,y,u,r"], "no rows"),
        ([], "no header"),
    ],
)  # fmt: skip
def test_cells_that_cannot_be_meant_are_refused_with_their_place(folder, lines, message):
    refuses(message, log_of, text(folder / "log.csv", *lines))


def test_files_in_different_units_are_no_log(folder):
    for name, unit in (("a.csv", "bar"), ("b.csv", "psi")):
        text(folder / name, "x,y,u,r", f"{unit},m,-,-", *(f"{k},{k},0.5,1" for k in range(3)))
    refuses("b.csv: x is in psi, in a file before in bar", log_of, str(folder))
    text(folder / "b.csv", "x,y,u,r", *(f"{k},{k},0.5,1" for k in range(3)))
    assert log_of(str(folder)).size == 6


def test_logs_with_other_columns_or_units_are_not_joined(folder):
    text(folder / "a.csv", "x,y,u,r", "bar,m,-,-", *(f"{k},{k},0.5,1" for k in range(3)))
    text(folder / "b.csv", "x,y,u,r", "psi,m,-,-", *(f"{k},{k},0.5,1" for k in range(3)))
    a, b = (load_dataset(f"{name}.csv", columns=COLUMNS) for name in "ab")
    refuses("its obs units are .*psi.*same units", concatenate, [a, b])
    swapped = load_dataset("a.csv", columns=COLUMNS | {"obs": ["y", "x"]})
    refuses("its obs names are .*y.*one order", concatenate, [a, swapped])
    assert concatenate([a, a]).size == 2 * a.size


def test_a_decimal_comma_may_be_named(folder):
    name = text(folder / "log.csv", "x,y,u,r", '"1,5",2,3,4', '2,"2,5",3,4')
    assert log_of(name, decimal=",").obs.tolist() == [[1.5, 2], [2, 2.5]]


def test_a_column_that_nobody_names_may_hold_anything(folder):
    name = text(folder / "log.csv", "x,y,u,r,c,c", "1,2,3,4,text,", '5,6,7,8,"a, b",\xff')
    assert log_of(name).obs.tolist() == [[1, 2], [5, 6]]


def test_parquet_columns_of_every_kind_of_number(folder):
    kinds = [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(21, 2), pa.bool_()]
    for kind in kinds:
        values = pa.array([0, 1, 1, 0, 1]).cast(pa.bool_() if kind == pa.bool_() else pa.int64())
        write_parquet("log.parquet", rows_of(5, k=values.cast(kind)))
        assert log_of("log.parquet", obs=["k", "x"]).obs[:, 0].tolist() == [0, 1, 1, 0, 1]
    vectors = pa.array([[i, 2.0 * i] for i in range(5)], pa.list_(pa.float32(), 2))
    write_parquet("log.parquet", rows_of(5, k=vectors))
    log = log_of("log.parquet", obs="k")
    assert log.obs[4].tolist() == [4, 8] and log.metadata["obs_names"] == ["k[0]", "k[1]"]
    write_parquet("log.parquet", rows_of(2, k=pa.array([2**53 + 1, 0])))
    refuses("column k holds 9007199254740993 in row 1", log_of, "log.parquet", obs="k")
    write_parquet("log.parquet", rows_of(2, k=pa.array([[1.0], [1.0, 2.0]])))
    refuses("column k holds 'a list of 1' in row 1", log_of, "log.parquet", obs="k")
    write_parquet("log.parquet", rows_of(2, k=pa.array(MOMENTS[:2])))
    refuses("column k has the type timestamp", log_of, "log.parquet", obs="k")


def test_list_columns_of_other_lengths_in_a_later_file_are_refused(folder):
    """Also where they have as many numbers together: they would be shifted into one another."""
    (folder / "parts").mkdir()
    for file, widths in (("1", (1, 2)), ("2", (2, 1))):
        lists = {
            name: pa.array([[float(i)] * width for i in range(4)])
            for name, width in zip("kl", widths, strict=True)
        }
        write_parquet(f"parts/{file}.parquet", rows_of(4, **lists))
    refuses(
        r"2.parquet: obs is k\[0\], k\[1\], l\[0\], before k\[0\], l\[0\], l\[1\]",
        log_of, "parts", obs=["k", "l"],
    )  # fmt: skip


def test_a_damaged_parquet_file_is_one_error(folder):
    write_parquet("log.parquet", rows_of(50))
    whole = (folder / "log.parquet").read_bytes()
    for part in (b"", whole[:40], whole[:-9], b"PAR1" + bytes(60) + b"PAR1"):
        (folder / "log.parquet").write_bytes(part)
        refuses("cannot be read as Parquet", log_of, "log.parquet")


PIECES = ["x,y,u,r\n", "1,2,3,4\n", *';,\r\n"\t\0-', "\ufeff", "\xff", "1e5", "9" * 30, "nan"]
PIECES += ["true", "2026-01-01T00:00Z", "0x1", "1_0", "é", "1.2.3"]


@settings(SAME_FOLDER, max_examples=80)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.binary(max_size=12), st.booleans())
def test_hostile_files_end_in_a_log_or_in_one_error(folder, pieces, noise, headed):
    head = PIECES[0] + PIECES[1] if headed else ""
    (folder / "log.csv").write_bytes((head + "".join(pieces)).encode() + noise)
    for how in ({}, {"time": "x"}, {"terminal": "u", "episode": "y"}):
        try:
            data = load_dataset("log.csv", columns=COLUMNS | how)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert np.isfinite(data.obs).all() and data.size > 0


# --- the map ---


def test_the_map_beside_the_log_is_found_and_flags_prevail(folder):
    write_csv("log.csv", rows_of(4, s=[9, 8, 7, 6]))
    (folder / "log.toml").write_text(
        'obs = ["x", "y"]\naction = "u"\nreward = "r"\n[units]\nx = "bar"'
    )
    log = read_log("log.csv")
    assert log.obs.shape == (4, 2) and log.metadata["obs_units"] == ["bar", ""]
    (folder / "columns.toml").write_text(
        'obs = ["s"]\naction = "u"\nreward = "r"\nenv_id = "My-v0"'
    )
    other = read_log("log.csv", columns="columns.toml")
    assert other.obs[:, 0].tolist() == [9, 8, 7, 6] and other.env_id == "My-v0"
    assert log.sha256 != other.sha256
    write_csv("log.csv", rows_of(4, s=[9, 8, 7, 5]))
    assert read_log("log.csv").sha256 != log.sha256


@pytest.mark.parametrize(
    "content, message",
    [
        ('obs = ["x"', "cannot be read as a column map"),
        ("obs = 3", "obs is 3; expected a list of texts"),
        ('observation = "x"', "nothing is known of observation; the known keys are obs"),
        ('reward_of = "before"', "reward_of is 'before'; expected one of 'row', 'next'"),
        ('obs = "x"\nwindow = "1 day"', "window is given without time"),
        ('obs = "x"\ntime = "t"\nwindow = "1 fortnight"', "window is '1 fortnight'"),
        ('obs = ["x", "x"]', "obs names x twice"),
        ("episode_rows = 1", "episode_rows is 1; expected a whole number from 2"),
        ("gap_tolerance = -1", "gap_tolerance is -1; expected a number above 0"),
        ("gap_tolerance = inf", "gap_tolerance is inf; expected a number above 0"),
        ("skip_lines = 1" + 400 * "0", "skip_lines is 1000"),
        ('terminal = "d"\ntimeout = "d"', "d is given as terminal and as timeout"),
        ('reward = "d"\nterminal = "d"', "d is given as terminal and as reward"),
        ('obs = ["x", "e"]\nepisode = "e"', "e is given as episode and as obs"),
        ('action = "d"\ntimeout = "d"', "d is given as timeout and as action"),
        ('obs = ["x", "u"]\naction = "u"', "u is given as obs and as action; expected what is"),
        ('action = "u"\nreward = "u"', "u is given as action and as reward"),
        ('action = "t"\ntime = "t"', "t is given as action and as time"),
        ('reward = "t"\ntime = "t"', "t is given as reward and as time"),
        ('obs = "x"', "no column is named for action, reward; the file has 'x', 'y', 'u', 'r'"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(folder, content, message):
    write_csv("log.csv", rows_of(2))
    (folder / "log.toml").write_text(content)
    refuses(message, read_log, "log.csv")


def test_other_kinds_of_logs_take_no_map(folder):
    refuses(
        "a column map is given", read_log, "builtin:pendulum-medium-replay", columns={"obs": "x"}
    )


def test_a_map_beside_data_cannot_name_code(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    (folder / "evil_reward.py").write_text("raise SystemExit('this ran')")
    write_csv("log.csv", rows_of(3))
    (folder / "log.toml").write_text(
        'obs = ["x"]\naction = "u"\nreward_function = "evil_reward:reward"'
    )
    refuses("must not name code", read_log, "log.csv")
    (folder / "log.toml").write_text('obs = ["x"]\naction = "u"\nreward = "evil_reward:reward"')
    refuses("no column 'evil_reward:reward'", read_log, "log.csv")
    assert "evil_reward" not in sys.modules


@pytest.mark.parametrize(
    "source", ["none.csv", "~nobody/none.csv", "a\0.csv", "x" * 5000 + ".csv", "*.csv", "none.mat"]
)
def test_what_is_not_there_is_one_error(folder, source):
    refuses("no such file", read_log, source, columns=COLUMNS)


@pytest.mark.parametrize("source", ["x" * 5000, "~nobody/x", "a\0b", "none/"])
def test_what_has_no_known_kind_is_one_error(folder, source):
    refuses("unknown kind", read_log, source)


def test_a_file_is_the_same_in_small_blocks_and_errors_name_their_lines(folder, monkeypatch):
    from moore.formats import csv_file, parquet_file

    columns = rows_of(
        40, e=[f"run {i // 7}" for i in range(40)], t=[i + 5 * (i > 17) for i in range(40)]
    )
    write_parquet("log.parquet", columns)
    write_csv("log.csv", columns)
    lines = (folder / "log.csv").read_text().split("\n")
    for at in (3, 17, 17, 30):  # blank lines
        lines.insert(at, "")
    spoilt = [*lines[:35], lines[35].replace(lines[35].split(",")[0], "oops"), *lines[36:], "", ""]
    (folder / "log.csv").write_text("\r\n".join([*lines, ",,,,,", ",,,,,"]))
    (folder / "spoilt.csv").write_text("\r\n".join(spoilt))
    named = {"episode": "e", "time": "t"}
    whole = [log_of(f"log.{kind}", **named) for kind in ("csv", "parquet")]
    for size in (64, 100, 333):
        monkeypatch.setattr(csv_file, "_BLOCK_BYTES", size)
        monkeypatch.setattr(parquet_file, "_BLOCK_ROWS", size // 30)
        for kind, expected in zip(("csv", "parquet"), whole, strict=True):
            found = log_of(f"log.{kind}", **named)
            np.testing.assert_array_equal(found.obs, expected.obs)
            np.testing.assert_array_equal(found.truncated, expected.truncated)
            assert found.truncated.sum() == 7 and told(found) == told(expected)
        refuses("column x holds 'oops' in line 36", log_of, "spoilt.csv", **named)


def test_csv_beside_parquet_is_refused(folder):
    write_csv("log.csv", rows_of(3))
    write_parquet("log.parquet", rows_of(3))
    refuses("CSV and Parquet files", read_log, str(folder), columns=COLUMNS)


def test_without_pyarrow_the_extra_is_named(folder, monkeypatch):
    write_csv("log.csv", rows_of(3))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refuses(r'pip install "moore-rl\[tables\]"', log_of, "log.csv")


# --- what is read by another unit than it was written in ---


@pytest.mark.parametrize("sign", [".", ","])
def test_signs_between_thousands_are_refused_where_only_they_explain_the_numbers(folder, sign):
    parted = ["950", "980", f"1{sign}010", f"1{sign}040", f"1{sign}075", f"12{sign}000"]

    def read(cells, **columns):
        lines = [f"{cell};1;2;{row}" for row, cell in enumerate(cells)]
        return log_of(text(folder / "log.csv", "x;y;u;r", *lines), **columns)

    with pytest.raises(InputError, match=rf"x holds 950 and 1\{sign}010.*decimal = \"\{sign}\""):
        read(parted)
    assert read(parted, decimal=sign).obs[2, 0] == 1.01
    with_units = ["950", f"1{sign}5", f"1{sign}010", f"1{sign}040", f"1{sign}075"]
    for honest in (parted[2:], with_units, [f"{cell}{sign}000" for cell in ("950", "980", "990")]):
        assert read(honest).size == len(honest)


@pytest.mark.parametrize(
    "first, step, told_of",
    [
        (1.7e12, 1000, 'time_unit = "ms"'),
        (1.7e15, 10**6, 'time_unit = "us"'),
        (1.7e18, 10**9, 'time_unit = "ns"'),
        (45000, 1 / 1440, 'time_unit = "day"'),
        (738000, 1 / 1440, 'time_unit = "day"'),
        (20260131120000, 1, 'time_format = "%Y%m%d%H%M%S"'),
        (202601311200, 1, 'time_format = "%Y%m%d%H%M"'),
        (2026013112, 1, 'time_format = "%Y%m%d%H"'),
        (20260111, 1, 'time_format = "%Y%m%d"'),
        (20260195, 1, ""),
        (2026013175, 1, ""),
        (1.7e9, 60, ""),
        (45000, 1, ""),
        (0, 0.01, ""),
    ],
)
def test_times_that_look_like_another_unit_are_told(folder, first, step, told_of):
    t = [int(first) + k * step for k in range(9)]
    name = text(folder / "log.csv", "x,y,u,r,t", *(f"{k},1,2,3,{x}" for k, x in enumerate(t)))
    notes = told(log_of(name, time="t"))
    assert told_of in notes and (
        "look like" in notes or "counts" in notes or "spreadsheets" in notes
    ) == bool(told_of)
