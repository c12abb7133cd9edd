"""`moore theory`: the numbers of the survey, its tables and its picture."""

import json
import re

import numpy as np
import pytest

from moore import cli
from moore.errors import InputError
from moore.reports.theory_plots import draw_theory
from moore.reports.theory_text import format_theory
from moore.theory import STATEMENTS, counterexample_table, survey

DRAWS = 80


@pytest.fixture(scope="module")
def rows():
    return survey(DRAWS, seed=1)


# --- The survey ---


def test_no_corrected_statement_is_ever_violated(rows):
    for row in rows:
        if not row.form.startswith("printed"):
            assert not row.violated.any(), (row.name, row.form)
            assert row.identity or (row.ratios <= 1.0 + 1e-6).all(), (row.name, row.form)


def test_printed_statements_are_violated_as_often_as_they_are(rows):
    shares = {(row.name, row.form): row.violated.mean() for row in rows if not row.subset}
    for name in ("Theorem 1", "Eq. 9", "Lemma 1", "Lemma 2", "Eq. 13", "Theorem 2"):
        assert shares[name, "printed"] > 0.03, name
    assert shares["Theorem 1", "printed, |V|"] == 0.0, "true if V_max has an absolute value"
    assert shares["Eq. 9", "printed, |V|"] > 0.03
    assert shares["Lemma 1", "printed, |V|"] > 0.03
    assert 0.3 < shares["Lemma 2", "printed"] < 0.7, "half of the draws have a reward error"


def test_corrected_bounds_say_something_more_often(rows):
    vacuous = {(row.name, row.form): row.vacuous.mean() for row in rows}
    for name in ("Theorem 1", "Theorem 2"):
        corrected = "corrected" if name == "Theorem 1" else "corrected, on policy"
        assert vacuous[name, corrected] < 0.2 < vacuous[name, "printed, |V|"]


def test_a_survey_is_a_function_of_its_seed(rows):
    again, other = survey(12, seed=1), survey(12, seed=2)
    for row, same in zip(rows, again, strict=True):
        if not row.subset:
            np.testing.assert_array_equal(row.ratios[:12], same.ratios)
    assert not np.array_equal(again[0].ratios, other[0].ratios)


def test_rows_of_the_draws_in_which_the_policies_differ(rows):
    subset = {row.name: len(row.ratios) for row in rows if row.subset}
    assert subset.keys() == {"Theorem 2, policies differ", "drop, policies differ"}
    assert all(0 < count < DRAWS for count in subset.values())
    assert len(rows) == len(STATEMENTS) + 7


@pytest.mark.parametrize(("draws", "seed", "words"), [(0, 0, "draws is 0"), (1, -1, "seed is -1")])
def test_a_survey_of_nothing(draws, seed, words):
    with pytest.raises(InputError, match=words):
        survey(draws, seed)


# --- Table, picture, command ---


def summarised(rows) -> dict:
    return {
        "draws": DRAWS,
        "seed": 1,
        "counterexamples": counterexample_table(),
        "statements": [row.summary() for row in rows],
    }


def test_the_table_has_every_case_and_every_statement(rows):
    text = format_theory(summarised(rows))
    assert len(re.findall(r"^  CE-\S+ .* FAILS .* holds$", text, re.MULTILINE)) == 14
    assert "FAILS" not in text.split(f"{DRAWS} random transfers, seed 1")[1]
    for statement in STATEMENTS:
        assert statement.name in text and statement.form in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_table_of_a_single_draw():
    """With one draw the rows of differing policies may have none: blank, not infinite."""
    few = [row.summary() for row in survey(1, seed=1)]
    empty = [row for row in few if row["draws"] == 0]
    assert len(empty) == 7 and all(row["violated"] is None for row in empty)
    text = format_theory({"draws": 1, "seed": 0, "counterexamples": [], "statements": few})
    assert re.search(r"policies differ .* 0 +0 +-$", text, re.MULTILINE)


def test_the_picture(rows, tmp_path):
    draw_theory(rows, tmp_path / "theory.png")
    assert (tmp_path / "theory.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="cannot be written"):
        draw_theory(rows, tmp_path / "nowhere" / "theory.png")


def test_the_command_prints_json_for_machines(capsys, tmp_path):
    cli.main(["theory", "--draws", "5", "--json", "--plot", str(tmp_path / "theory.svg")])
    result = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (result["draws"], result["seed"]) == (5, 0)
    assert len(result["counterexamples"]) == 14
    first = result["counterexamples"][2]
    assert (first["name"], first["printed"]["holds"], first["printed"]["ratio"]) == (
        "CE-3",
        False,
        None,
    )
    assert {row["draws"] for row in result["statements"]} <= {0, 1, 2, 3, 4, 5}
    assert (tmp_path / "theory.svg").exists()


def test_the_command_prints_two_tables(capsys):
    cli.main(["theory", "--draws", "3", "--seed", "4"])
    text = capsys.readouterr().out
    assert text.startswith("counterexamples\n")
    assert "\n3 random transfers, seed 4\n" in text


# --- A transfer of one's own ---


@pytest.fixture
def ce4(tmp_path):
    """CE-4 as a file: perfect models whose uncertainty flips the policy."""
    one = np.ones((1, 2, 1))
    arrays = {
        "transition": one, "reward": [[1.0, 0.0]], "start": [1.0], "discount": 0.9,
        "old_transition": one, "new_transition": one,
        "old_uncertainty": [[0.5, 0.5]], "new_uncertainty": [[2.0, 0.5]],
    }  # fmt: skip

    def write(**changes):
        kept = {name: value for name, value in (arrays | changes).items() if value is not None}
        np.savez(tmp_path / "mdp.npz", **kept)
        return str(tmp_path / "mdp.npz")

    return write


def test_a_file_is_judged_statement_by_statement(ce4, capsys):
    cli.main(["theory", "--mdp", ce4(), "--json"])
    rows = json.loads(capsys.readouterr().out)["statements"]
    found = {(row["statement"], row["form"]): row for row in rows}
    printed = found["Theorem 2", "printed, |V|"]
    assert (printed["lhs"], printed["rhs"], printed["holds"]) == (pytest.approx(10), 0.0, False)
    corrected = found["Theorem 2", "corrected, on policy"]
    assert (corrected["rhs"], corrected["holds"]) == (pytest.approx(15), True)
    assert all(row["holds"] for row in rows if row["form"].startswith("corrected"))


def test_a_file_in_the_terminal(ce4, capsys):
    cli.main(["theory", "--mdp", ce4(horizon=3)])
    out = capsys.readouterr().out
    assert re.search(r"Theorem 2 +printed +2\.71 +0\s+inf +FAILS", out)
    assert "model shift" not in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": None}, "lacks start; needed are transition"),
        ({"colour": 1.0}, "has the unknown colour"),
        ({"start": [0.5]}, "start: every row must be nonnegative and sum to 1"),
        ({"new_uncertainty": [1.0]}, r"new_uncertainty has shape \(1,\); expected \(1, 2\)"),
        ({"old_transition": np.ones((1, 2, 2)) / 2}, "old_transition has shape"),
        ({"reward": [1.0, 0.0]}, "reward has shape .* expected 2 axes"),
        ({"reward": ["a", "b"]}, "cannot be read as .npz with arrays of numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(ce4, changes, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["theory", "--mdp", ce4(**changes)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1


def test_a_missing_file_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["theory", "--mdp", str(tmp_path / "none.npz")])
    assert "none.npz: no such file" in capsys.readouterr().err
