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
