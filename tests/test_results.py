"""The documents print what the CSVs say: tools/results.py, and what it is made of."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import documents
import handover_runs
import plot_figures
import plot_handover
import recorded
import results
import tables_schemes
import text
from moore.evaluation.scores import ReferenceScores
from moore.reports.compare import Finished
from moore.reports.uncertainty import uncertainty_summary

ROOT = results.ROOT
PAGES = [str(page.relative_to(ROOT)) for page in results.pages(ROOT)]


@pytest.fixture
def copied(tmp_path) -> Path:
    """README.md, docs/*.md and the record of their numbers, to be changed."""
    for page in (*PAGES, recorded.FILE):
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    return tmp_path


def other_digit(place: re.Match) -> str:
    """What stands in a place, its last digit another one."""
    start, digit, rest = re.fullmatch(r"(.*)(\d)(\D*)", place[2], re.DOTALL).groups()
    return f"{start}{(int(digit) + 1) % 10}{rest}"


# --- The documents ---


def test_the_documents_print_what_the_csvs_say():
    assert results.differing(ROOT) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_changed_number_is_found_wherever_it_stands(page):
    whole = (ROOT / page).read_text(encoding="utf-8")
    made = results.tables(), results.numbers()
    for place in documents._places(whole, *made):
        match, name, *_ = place
        changed = whole[: match.start(2)] + other_digit(match) + whole[match.end(2) :]
        # GitHub knows no comment that holds two hyphens in a row.
        assert re.fullmatch(r"\w+(-\w+)*", name)
        (found,) = documents.differences(changed, *made)
        assert found.name.split(", ")[0] == name
        line = changed.splitlines()[found.line - 1]
        assert found.printed in line and found.printed != found.made
        assert documents.rewritten(changed, *made) == whole


def test_the_main_documents_are_covered():
    counts = {
        page: len(documents.names((ROOT / page).read_text(encoding="utf-8"))) for page in PAGES
    }
    for page in ("docs/results.md", "docs/results-handover.md"):
        assert counts[page] >= 9, page


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["results.py", *arguments])
    return results.main()


def test_check_names_the_place_and_write_mends_it(copied, monkeypatch, capsys):
    assert run(monkeypatch, "--check", "--root", str(copied)) == 0
    page = copied / "docs" / "results.md"
    whole = page.read_text(encoding="utf-8")
    page.write_text(whole.replace("| `moore` | 21.8 [", "| `moore` | 12.8 ["), encoding="utf-8")
    assert run(monkeypatch, "--check", "--root", str(copied)) == 1
    line = whole[: whole.index("| `moore` | 21.8 [")].count("\n") + 1
    said = capsys.readouterr().err
    assert f"docs/results.md:{line}: readme, `moore`, hand-over, D4RL score" in said
    assert "printed: 12.8 [5.9, 35.7]" in said and "from the CSVs: 21.8 [5.9, 35.7]" in said
    assert run(monkeypatch, "--write", "--root", str(copied)) == 0
    assert page.read_text(encoding="utf-8") == whole


def test_a_table_that_no_document_prints_is_named(copied):
    page = copied / "docs" / "results-figures.md"
    whole = page.read_text(encoding="utf-8")
    page.write_text(whole.replace("<!-- results: fig2-quick -->", ""), encoding="utf-8")
    found = results.differing(copied)
    assert any("fig2-quick is made by tools/ and printed by no document" in line for line in found)
    assert any("<!-- end --> alone" in line for line in found)


@pytest.mark.parametrize(
    ("printed", "what"),
    [
        ("It falls by <!--=dip-->16%<!--/-->.", None),
        ("It falls by <!--=dip-->17%<!--/-->.", "17%"),
        ("It falls by <!--=dip-->16%.", "<!--= alone"),
        ("It falls by <!--=tip-->16%<!--/-->.", "16%"),
        ("By\n<!--=dip-->16%<!--/--> it falls.", "at the start of a line"),
        ("- <!--=dip-->16%<!--/--> it falls.", "at the start of a line"),
        ("<!-- results: one -->\n\n| a |\n|---|\n| 1 |\n\n<!-- end -->", None),
        ("<!-- results: one -->\n\n| a |\n|---|\n| 2 |\n\n<!-- end -->", "2"),
        ("<!-- results: one -->\n\n| a |\n|---|\n\n<!-- end -->", "2 lines"),
        ("<!-- results: one -->\n\n| a |\n|---|\n| 1 |\n", "<!-- results: alone"),
    ],
)
def test_places(printed, what):
    made = {"one": "| a |\n|---|\n| 1 |"}, {"dip": "16%"}
    found = documents.differences(printed, *made)
    assert len(found) == (what is not None)
    assert what is None or what in found[0].printed


names = st.from_regex(r"[a-z]{1,5}", fullmatch=True)


@given(st.dictionaries(names, st.integers(0, 99), min_size=1))
def test_what_is_written_is_not_found_again(values):
    old = "\n".join(f"Of {name} there are <!--={name}-->?<!--/-->, say." for name in values)
    made = {name: str(value) for name, value in values.items()}
    assert len(documents.differences(old, {}, made)) == len(made)
    new = documents.rewritten(old, {}, made)
    assert documents.differences(new, {}, made) == []
    assert re.sub(r"<!--.*?-->", "", new).splitlines() == [
        f"Of {name} there are {value}, say." for name, value in made.items()
    ]


# --- What they are made of ---


def test_numbers_as_they_are_printed():
    assert [text.fixed(value) for value in (0.5, 1.5, -0.5, -0.4, 2.4999)] == [
        "1",
        "2",
        "-1",
        "0",
        "2",
    ]
    assert text.fixed(2.675, 2) == "2.68"
    assert [text.signed(value) for value in (0.0, -0.001, 0.126, -0.5)] == [
        "+0.00", "+0.00", "+0.13", "-0.50",
    ]  # fmt: skip
    assert [text.share(value) for value in (0.0, 0.001, 0.5)] == ["0", "0.00", "0.50"]
    assert [text.significant(v) for v in (-1597.2, 90.31, 0.126)] == ["-1597", "90.3", "0.13"]
    assert text.between([3.2, 1.1, 2.0]) == "1 to 3" and text.between([1.0, 1.2]) == "1"


def test_a_dip_is_told_from_the_epochs_that_have_a_return():
    acting, evaluated = np.asarray([110.0, np.nan, 60.0, 120.0]), np.asarray([110.0] * 4)
    reference = ReferenceScores(10.0, 110.0, source="made up")
    for shift, expected in ((0.0, 0.5), (60.0, 0.0)):
        curves = {"evaluated": evaluated, "acting": acting + np.asarray([0, 0, shift, 0])}
        assert handover_runs.transfer(curves, reference)["behaviour_dip_share"] == expected


def test_options_are_compared_on_the_seeds_that_they_share():
    plain = {"seed": np.arange(3), "dip_share": np.asarray([0.5, 0.2, 0.9])}
    option = {"seed": np.asarray([1, 2, 7]), "dip_share": np.asarray([0.1, 0.8, 0.0])}
    gap = handover_runs.difference(option, plain)
    assert (gap.value, gap.low, gap.high) == pytest.approx((-0.1, -0.1, -0.1))


@pytest.mark.parametrize("log", handover_runs.LOGGED)
def test_curves_begin_with_the_hand_over_and_have_all_epochs(log):
    for algorithm in handover_runs.ALGORITHMS:
        curves = handover_runs.curves_of(log, algorithm)
        assert len(curves["evaluated"]) == len(curves["acting"]) == handover_runs.EPOCHS + 1
        assert np.isfinite(curves["evaluated"]).all()


def test_runs_that_share_an_offline_stage_count_once():
    runs = handover_runs.by_swing()["quick/inverted-pendulum, no gate"]
    stages = handover_runs.quick_stages()
    assert len(stages) < len(runs)
    assert set(np.round(stages[:, 0], 9)) == set(np.round(runs[:, 0], 9))


@pytest.mark.parametrize("scale", ["quick", "laptop"])
def test_uncertainties_are_those_of_the_report(scale):
    """Fig. 4's table is made without the reports, which import the whole library."""
    name, rows = f"fig4-{scale}-curves.csv", {}
    for row in handover_runs.table(name):
        keys = {
            k.replace("_", "/", 1): float(v) for k, v in row.items() if k[-6:] != "t" and _is(v)
        }
        rows.setdefault((row["task"], row["variant"], int(row["seed"])), []).append(keys)
    runs = []
    for (task, variant, seed), (start, *epochs) in rows.items():
        lowest = min(row["eval/return"] for row in epochs)
        transfer = {"dip": max(0.0, start["eval/return"] - lowest)}
        online = [row | {"stage": "online"} for row in (start, *epochs)]
        runs.append(Finished(Path(), task, variant, seed, transfer, online, None))
    for row in uncertainty_summary(runs):
        found = tables_schemes.uncertainty(name, row["task"], row["variant"])
        assert [found["median"], found["tail"]] == pytest.approx(row["printed"])
        for ours, theirs in {"first": "u_first", "last": "u_last"}.items():
            assert found[ours] == pytest.approx(row[theirs])
        for key in ("drop_term", "predicted_drop", "dip"):
            assert found[key] == pytest.approx(row[key])


def _is(cell: str) -> bool:
    try:
        return np.isfinite(float(cell))
    except ValueError:
        return False


def test_the_pictures_are_drawn_from_the_committed_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["plot_handover.py", "--out", str(tmp_path)])
    plot_handover.main()
    pictures = sorted(path.name for path in tmp_path.iterdir())
    names = ("factors-mujoco", "factors", "mujoco", "swing")
    assert pictures == [f"handover-{name}.png" for name in names]


def test_figures_are_drawn_from_the_committed_numbers():
    assert all((ROOT / "docs" / "results" / f"{name}.png").exists() for name in plot_figures.TITLES)
    figure = plot_figures.draw("fig2-laptop")
    evaluated = [axes for axes in figure.axes if axes.get_ylabel() == "evaluated return"]
    (falls,) = (line for line in evaluated[1].get_lines() if line.get_label() == "online_only")
    assert text.fixed(min(falls.get_ydata())) == results.numbers()["halfcheetah-online-only"]


def test_figures_of_single_runs_have_no_panels_of_single_points():
    assert {axes.get_ylabel() for axes in plot_figures.draw("fig1-laptop").axes} == {
        "evaluated return", "acting return",
    }  # fmt: skip
    assert len(plot_figures.draw("fig2-laptop").axes) > 4  # two seeds of Hopper


def test_minutes_are_those_of_the_reports():
    """fig1-minutes.csv is copied from the pages that `moore reproduce` wrote."""
    for scale in ("quick", "laptop"):
        page = (ROOT / "docs" / "results" / f"fig1-{scale}.md").read_text(encoding="utf-8")
        for row in handover_runs.rows_of("fig1-minutes.csv", scale=scale):
            section = page.split(f"## {row['task']}\n")[1].split("\n## ")[0]
            (line,) = re.findall(rf"^\| {re.escape(row['variant'])} \|.*$", section, re.MULTILINE)
            assert line.endswith(f"| {row['minutes']} |")
