"""Logs in CSV and Parquet: which row follows which, and what is never bridged, guessed or lost."""

import datetime
import json
import math
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from made_tables import (
    COLUMNS,
    WRITERS,
    log_of,
    pairs,
    refuses,
    rows_of,
    text,
    told,
    write_csv,
)
from moore.data.log import notes_of
from moore.formats.load import load_dataset, read_log
from moore.formats.write import write_log

SAME_FOLDER = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- the same log in any form ---


@st.composite
def random_logs(draw):
    lengths = draw(st.lists(st.integers(2, 6), min_size=1, max_size=5))
    terminal = [draw(st.booleans()) for _ in lengths]
    cuts = draw(st.sets(st.integers(1, sum(lengths)), max_size=3))
    return lengths, terminal, sorted(cuts | {sum(lengths)})


@SAME_FOLDER
@given(random_logs(), st.sampled_from(["csv", "parquet"]), st.booleans(), st.booleans())
def test_a_log_is_the_same_as_table_in_files_and_as_npz(folder, made, kind, timed, stored):
    lengths, terminal, cuts = made
    n, last = sum(lengths), np.cumsum(lengths) - 1
    episode = np.repeat(np.arange(len(lengths)), lengths)
    flags = np.zeros(n, bool)
    flags[last] = terminal
    columns = rows_of(n, e=[f"run {i}" for i in episode], end=[int(f) for f in flags])
    named = {"episode": "e", "terminal": "end", "files": "parts"}
    if timed:
        start = datetime.datetime(2026, 1, 1)
        times = [start + datetime.timedelta(seconds=10 * i + 7000 * int(e) ** 2)
                 for i, e in enumerate(episode)]  # fmt: skip
        columns["t"] = [t.isoformat() for t in times] if kind == "csv" else times
        named["time"] = "t"
    arrays = {"obs": np.stack([columns["x"], columns["y"]], axis=1)}
    if stored:
        columns |= {"nx": [v + 9 for v in columns["x"]], "ny": [v - 9 for v in columns["y"]]}
        named["next_obs"] = ["nx", "ny"]
        arrays["next_obs"] = np.stack([columns["nx"], columns["ny"]], axis=1)
    here = folder / f"log{len(list(folder.iterdir()))}"
    here.mkdir()
    for at, (begin, end) in enumerate(zip([0, *cuts], cuts, strict=False)):
        part = {key: value[begin:end] for key, value in columns.items()}
        WRITERS[kind](here / f"part{at}.{kind}", part)
    ends = np.zeros(n, bool)
    ends[last] = True
    np.savez(
        here / "log.npz", **arrays, action=np.array(columns["u"])[:, None], reward=columns["r"],
        terminated=flags, truncated=ends & ~flags,
    )  # fmt: skip
    expected = load_dataset(here / "log.npz")
    found = load_dataset(here, columns=COLUMNS | named)
    for key in ("obs", "action", "reward", "next_obs", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(found, key), getattr(expected, key), err_msg=key)
    for key in ("successor_known", "episode_returns", "episode_lengths"):
        np.testing.assert_array_equal(getattr(found, key), getattr(expected, key), err_msg=key)


def meant(rows, tolerance=0.5):
    """The transitions of rows (t, x, y, u, r, end, episode), by the rules of docs/logs.md."""
    whole = [all(v is not None for v in row[1:3]) and row[0] is not None for row in rows]
    steps = [
        b[0] - a[0]
        for a, b, both in zip(rows, rows[1:], pairwise(whole), strict=False)
        if all(both) and a[6] == b[6] and not a[5]
    ]
    usual = float(np.median(steps)) if steps else 0.0
    found = []
    for i, row in enumerate(rows):
        if not whole[i] or row[3] is None or row[4] is None:
            continue
        after = rows[i + 1] if i + 1 < len(rows) and whole[i + 1] else None
        if row[5]:
            found.append((*row[1:5], math.nan, math.nan, True))
        elif after and after[6] == row[6] and abs(after[0] - row[0] - usual) <= tolerance * usual:
            found.append((*row[1:5], *after[1:3], False))
    return found


@st.composite
def spoilt_rows(draw):
    rows, time, episode = [], 0, 0
    for i in range(draw(st.integers(1, 14))):
        time += draw(st.sampled_from([4, 4, 4, 4, 5, 1, 7, 40]))
        hole = draw(st.sampled_from([None, None, None, None, "x", "u", "r", "t"]))
        end = hole is None and draw(st.integers(0, 7)) == 0
        row = {"t": time, "x": i + 0.5, "y": -i, "u": i / 8, "r": 2 * i, "f": int(end)}
        rows.append((row | ({hole: None} if hole else {}), episode))
        episode += end or draw(st.integers(0, 5)) == 0
    return rows


@settings(SAME_FOLDER, max_examples=50)
@given(spoilt_rows(), st.sampled_from(["csv", "parquet"]))
@example([({"t": 1, "x": 0.5, "y": 0, "u": 0.0, "r": 0, "f": 0}, 0)], "csv")
def test_no_transition_spans_a_border_a_gap_or_a_missing_value(folder, made, kind):
    columns = {key: [row[key] for row, _ in made] for key in ("t", "x", "y", "u", "r", "f")}
    columns["e"] = [episode for _, episode in made]
    WRITERS[kind](f"log.{kind}", columns)
    expected = meant([(*(row[k] for k in ("t", "x", "y", "u", "r", "f")), e) for row, e in made])
    how = {"time": "t", "terminal": "f", "episode": "e"}
    if not expected:
        refuses("no ", load_dataset, f"log.{kind}", columns=COLUMNS | how)
        return
    np.testing.assert_allclose(np.array(pairs(f"log.{kind}", **how), float), expected, rtol=1e-6)


# --- missing values ---


def test_missing_values_are_told_and_never_become_numbers(folder):
    x = [0, 1, None, 3, 4, 5]
    for kind, write in WRITERS.items():
        write(f"log.{kind}", rows_of(6) | {"x": x})
        found = pairs(f"log.{kind}")
        assert [(a[0], a[4]) for a in found] == [(0, 1), (3, 4), (4, 5)]
        log = log_of(f"log.{kind}")
        assert "x has no finite value in 1 row" in told(log)
        assert not np.isnan(log.obs).any()


@pytest.mark.parametrize("role, column", [("time", "t"), ("episode", "e"), ("terminal", "d")])
def test_missing_times_labels_and_flags_are_told_with_their_row_and_whole_columns_are_not(
    folder, role, column
):
    whole = {"t": [0, 1, 2, 3, 4, 5], "e": ["a", "a", "a", "b", "b", "b"], "d": [0] * 6}
    roles = {"time": "t", "episode": "e", "terminal": "d"}
    write_csv("log.csv", rows_of(6) | whole)
    assert "no finite value" not in told(log_of("log.csv", **roles))
    write_csv("log.csv", rows_of(6) | whole | {column: [*whole[column][:4], None, None]})
    notes = told(log_of("log.csv", **roles))
    assert f"{column} has no finite value in 2 rows (first: line 6)" in notes
    assert notes.count("no finite value") == 1


@pytest.mark.parametrize("word", ["", "NaN", "n/a", "NULL", "-", "inf", "Bad"])
def test_words_for_missing_values(folder, word):
    name = text(folder / "log.csv", "x,y,u,r", "1,1,1,1", "2,2,2,2", f"3,{word},3,3", "4,4,4,4",
                "5,5,5,5")  # fmt: skip
    missing = ["bad"] if word == "Bad" else []
    assert [(a[0], a[4]) for a in pairs(name, missing=missing)] == [(1, 2), (4, 5)]


def test_a_last_row_without_an_action_is_a_successor(folder):
    write_csv(
        "log.csv", rows_of(4, e=[0, 0, 1, 1]) | {"u": [1, None, 2, None], "r": [5, None, 6, None]}
    )
    assert [(a[0], a[3], a[4]) for a in pairs("log.csv", episode="e")] == [
        (0.5, 5, 1.5),
        (2.5, 6, 3.5),
    ]


def test_a_log_without_anything_left_says_what_is_missing(folder):
    write_csv("log.csv", rows_of(3) | {"y": [None] * 3})
    refuses("y has no finite value in 3 rows.*expected", log_of, "log.csv")


# --- rewards and flags ---


def test_a_reward_may_stand_in_the_row_that_it_led_to(folder):
    write_csv("log.csv", rows_of(5, e=[0, 0, 0, 1, 1]))
    own = [(a[0], a[3]) for a in pairs("log.csv", episode="e")]
    after = [(a[0], a[3]) for a in pairs("log.csv", episode="e", reward_of="next")]
    assert own == [(0.5, 0), (1.5, 2), (3.5, 6)]
    assert after == [(0.5, 2), (1.5, 4), (3.5, 8)]


def test_a_flag_may_stand_in_the_row_that_was_reached(folder):
    write_csv("log.csv", rows_of(5, f=[0, 0, 1, 0, 0]))
    found = pairs("log.csv", terminal="f", terminal_of="next")
    assert [(a[0], a[4], a[6]) for a in found] == [
        (0.5, 1.5, False),
        (1.5, 2.5, True),
        (3.5, 4.5, False),
    ]
    found = pairs("log.csv", terminal="f")
    assert [a[0] for a in found if a[6]] == [2.5] and math.isnan(found[2][4])


@pytest.mark.parametrize("words", [("0", "1"), ("False", "TRUE"), ("no", "Yes"), ("0.0", "1.0")])
def test_flags_are_words_or_numbers(folder, words):
    write_csv("log.csv", rows_of(4, f=[words[0], words[1], words[0], words[0]]))
    assert log_of("log.csv", terminal="f").terminated.tolist() == [False, True, False, False]


def test_what_is_no_flag_is_refused(folder):
    write_csv("log.csv", rows_of(3, f=[0, 1, 2]))
    refuses("column f holds '2' in line 4; expected a flag", log_of, "log.csv", terminal="f")


def test_an_episode_neither_comes_again_nor_goes_on_after_its_end(folder):
    write_csv("log.csv", rows_of(4, e=["a", "b", "b", "a"]))
    refuses("e is 'a' again in line 5", log_of, "log.csv", episode="e")
    write_csv("log.csv", rows_of(3, e=[1, 1, 1], f=[0, 1, 0]))
    refuses("line 4 goes on with the same e", log_of, "log.csv", episode="e", terminal="f")


@pytest.mark.parametrize("word", ["mean", "Total", "Sum:"])
def test_a_row_that_sums_up_the_others_is_no_episode(folder, word):
    """Unless episodes have words for names; a word that stands for a missing value is left out."""
    rows = ["x,y,u,r,e", "1,2,3,4,1", "2,3,4,5,1", "3,4,5,6,2", "4,5,6,7,2"]
    text(folder / "log.csv", *rows, f"2.5,3.5,4.5,5.5,{word}")
    refuses(f"e is '{word}' in line 6.*sums up the others", log_of, "log.csv", episode="e")
    assert log_of("log.csv", episode="e", missing=[word]).size == 4
    named = ["x,y,u,r,e", "1,2,3,4,warm", "2,3,4,5,warm", f"3,4,5,6,{word}", f"4,5,6,7,{word}"]
    text(folder / "named.csv", *named)
    assert log_of("named.csv", episode="e").size == 4


def test_each_file_is_an_episode_in_the_order_of_their_numbers(folder):
    for i in (10, 9, 2):
        write_csv(f"run_{i}.csv", {key: [float(i), i + 0.5] for key in "xyur"})
    log = log_of("run_*.csv")
    assert log.obs[:, 0].tolist() == [2, 2.5, 9, 9.5, 10, 10.5]
    assert np.flatnonzero(log.truncated).tolist() == [1, 3, 5]
    assert "3 files, each an episode" in told(log)
    assert np.flatnonzero(log_of("run_*.csv", files="parts").truncated).tolist() == [5]


# --- as any other log ---


@pytest.mark.parametrize("out", ["out.hdf5", "out.npz"])
def test_a_table_is_written_in_other_formats_with_its_names(folder, out):
    write_csv("log.csv", rows_of(6, e=[0, 0, 0, 1, 1, 1]))
    log = read_log("log.csv", columns=COLUMNS | {"episode": "e"}, exact=True)
    assert log.obs.dtype == np.float64
    write_log(out, log)
    back = read_log(out)
    np.testing.assert_array_equal(back.obs, log.obs.astype(np.float32))
    assert back.metadata["obs_names"] == ["x", "y"] and notes_of(back.metadata) == notes_of(
        log.metadata
    )


def test_a_part_of_a_table_is_whole_episodes(folder):
    write_csv("log.csv", rows_of(30, e=[i // 5 for i in range(30)]))
    data = load_dataset("log.csv", columns=COLUMNS | {"episode": "e"}, max_rows=11)
    assert data.metadata["subset"]["episodes"] == 2 and data.size == 8
    joined = load_dataset("log.csv,log.csv", columns=COLUMNS | {"episode": "e"}, max_rows=20)
    assert joined.size == 16


def test_the_summary_is_json_and_has_the_notes(folder):
    from moore.inspecting.summary import summarize

    write_csv("log.csv", rows_of(5, t=[0, 1, 2, 9, 10]))
    summary = summarize(log_of("log.csv", time="t"))
    assert any("1 gap" in note for note in summary["notes"])
    json.dumps(summary)
