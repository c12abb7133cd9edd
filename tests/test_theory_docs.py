"""docs/theory.md: every number in its tables, and those of its text that nothing else asserts."""

import re
from pathlib import Path

import numpy as np
import pytest

from moore import theory
from moore.replay.schemes import half_half, moore, online_only, uniform
from moore.theory import (
    LearnedModel,
    TabularMDP,
    counterexample_table,
    crossover_epoch,
    drop_bound,
    eq9,
    peak_tv_bound,
    schedule,
    survey,
    theorem2,
)
from moore.theory.counterexamples import flipped_penalty, opposite_choices

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
LOGS = (1_000_000, 200_000)


def rows(name: str) -> list[list[str]]:
    """The cells of the table below the comment `table: name`, without its head."""
    _, after = TEXT.split(f"<!-- table: {name} -->\n\n")
    lines = after.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def shifts(scheme, n_off: int) -> np.ndarray:
    return schedule(scheme, n_off=n_off, steps_per_epoch=1000, epochs=100)[:, 3]


# --- Tables ---


def test_the_counterexamples():
    expected = []
    for case in counterexample_table():
        printed, corrected = case["printed"], case["corrected"]
        sides = printed["lhs"], printed["rhs"], corrected["rhs"]
        expected.append([case["name"], case["statement"], *(f"{side:.4g}" for side in sides)])
    assert rows("counterexamples") == expected


def test_what_alpha_does():
    table = rows("alpha")
    assert len(table) == 6
    for n_off, alpha, *numbers in table:
        size, value = int(n_off), float(alpha)
        moved = shifts(moore(value), size)
        assert numbers == [
            f"{crossover_epoch(size, 1000, value):.1f}",
            f"{moved[1]:.4f}",
            f"{moved.max():.4f}",
            str(moved.argmax()),
            f"{peak_tv_bound(size, 1000, value):.4f}",
        ]


def test_shifts_by_epoch():
    columns = [shifts(uniform(), n_off) for n_off in LOGS]
    columns += [shifts(scheme, LOGS[0]) for scheme in (half_half(), online_only())]
    columns += [shifts(moore(1.0), n_off) for n_off in LOGS]
    *epochs, (last, *sums) = rows("shifts")
    assert [int(row[0]) for row in epochs] == [1, 2, 3, 6, 9, 19, 32, 51, 100]
    for epoch, *numbers in epochs:
        assert numbers == [f"{column[int(epoch)]:.4f}" for column in columns]
    assert (last, sums) == ("all", [f"{column.sum():.4f}" for column in columns])


@pytest.mark.slow
def test_the_survey():
    found = {(row["statement"], row["form"]): row for row in (row.summary() for row in survey())}
    for statement, form, draws, violated, median, largest, vacuous in rows("survey"):
        row = found[statement, form.replace("\\", "")]
        ratios = [row["ratio_median"], row["ratio_max"]]
        assert [draws, violated, median, largest, vacuous] == [
            str(row["draws"]),
            f"{100 * row['violated']:.1f}%",
            *("inf" if ratio is None else f"{ratio:.3f}" for ratio in ratios),
            f"{100 * row['vacuous']:.1f}%",
        ]


# --- Text ---


def test_along_the_policies_may_be_more_than_the_largest_change():
    """Section 4, E9c: what is worth 1 and what leads there change places."""
    reward = np.array([[-1.0, 0.0], [1.0, 1.0]])
    there, here = [0.0, 1.0], [1.0, 0.0]
    models = [
        LearnedModel(
            TabularMDP(np.array([choices, [there, there]]), reward, np.array(here), 0.9),
            np.zeros((2, 2)),
            1.0,
        )
        for choices in ([there, here], [here, there])
    ]
    sup, on_policy = (eq9(*models, corrected=form) for form in ("sup", "on_policy"))
    assert (sup.lhs, sup.rhs, on_policy.rhs) == pytest.approx((1.0, 9.0, 18.0))
    assert r"$\Delta_{\sup}=9$, $\Delta_{\mathrm{on}}=18$" in TEXT


def test_uncertainties_of_the_flipped_policy():
    """Sections 3 and 7, CE-4."""
    true, old, new = flipped_penalty()
    assert old.total_uncertainty(old.policy) == pytest.approx(5.0)
    assert new.total_uncertainty(new.policy) == pytest.approx(5.0)
    assert new.total_uncertainty(old.policy) == pytest.approx(20.0)
    assert drop_bound(true, new, old.policy).terms["uncertainty"] == pytest.approx(15.0)
    assert "$U_{t+1}(\\pi_t)=20$, $U_{t+1}(\\pi_{t+1})=5$" in TEXT


def test_terms_of_the_flipped_choice():
    """Section 3, CE-6'."""
    terms = theorem2(*opposite_choices()).terms
    errors = terms["model_error_old"] + terms["model_error_new"]
    assert (terms["model_change"], errors) == pytest.approx((0.44, 9.0))


@pytest.mark.parametrize(("n_off", "epoch"), [(1_000_000, 29), (200_000, 13)])
def test_the_order_of_the_schemes_turns_about_the_crossover(n_off, epoch):
    """Section 6: later, `moore` shifts the draws more than `half_half`, and always than `uniform`.

    The two terms of its shift change places while t (t + 1) < c^2.
    """
    moved = shifts(moore(1.0), n_off)
    more = moved > shifts(half_half(), n_off)
    assert not more[1:epoch].any() and more[epoch:].all()
    assert (moved[2:] > shifts(uniform(), n_off)[2:]).all()
    t = np.arange(101)
    share = t**2 / (t**2 + n_off / 1000)
    growth = np.diff(share)
    early = t[:-1] * t[1:] < n_off / 1000
    np.testing.assert_allclose(moved[1:], np.where(early, growth, share[1:] / t[1:]))
    assert "from epoch 29 (log of 1,000,000) or 13 (200,000) on" in TEXT


# --- Names and links ---


def test_links_lead_somewhere():
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (ROOT / "docs" / target).exists(), target


def test_names_of_functions_tests_and_metrics_exist():
    section = TEXT.split("## 9. In the code")[1]
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/test_*.py"))
    files = {path.stem for path in ROOT.glob("tests/test_*.py")}
    for name in re.findall(r"`(test_\w+)\*?`", section):
        assert name in files or f"def {name}" in tests, name
    for row in re.findall(r"^\| .*$", section, re.MULTILINE):
        for name in re.findall(r"`([a-zA-Z]\w+)`", row.split("|")[2]):
            assert hasattr(theory, name), name
    source = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("src/moore/**/*.py"))
    for name in re.findall(r"`((?:theory|model)/\w+)`", TEXT):
        found = name if name.startswith("theory") else name.removeprefix("model/")
        assert f'"{name}"' in source or f'"{found}"' in source, name


def test_formulas_have_nothing_that_markdown_changes():
    """A backslash before punctuation is an escape in Markdown, and a bar ends a table's cell."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", TEXT, flags=re.DOTALL)
    for line in prose.splitlines():
        assert line.count("$") % 2 == 0, line
        for formula in re.findall(r"\$([^$]+)\$", line):
            assert not re.search(r"\\[^a-zA-Z ]|[|*<>]|\]\(|^\s|\s$", formula), formula
