"""The page and the last lines of a run whose numbers are missing, null or not finite."""

import functools
import json
import math
import re
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import pages
from made_report import REFERENCE, ROWS, made_summary, written_run
from moore.cli.verdict import verdict
from moore.errors import InputError
from moore.reports import plots
from moore.reports.headline import return_curve
from moore.runs.report import write_report
from moore.runs.setup import prepare
from moore.runs.summary import summarise
from moore.sinks.console import news
from moore.sinks.json_lines import jsonable
from tiny import ENV, tiny_config, tiny_log

FULL = {
    "model/new_z": 1.1, "model/new_coverage": 0.9, "model/new_admissible": 0.5,
    "model/imagined_out_of_range": 0.1, "model/rollout_steps": 4.0, "model/penalty_coef": 1.5,
    "model/episode_return": 3.0, "model/episode_discounted_return": 2.0, "eval/lengths": [3, 4, 5],
    "eval/discounted_return": 2.5, "losses/q_possible": 9.0, "losses/q_target_max": 3.0,
    "losses/skipped_updates": 0.0, "gate/gain": -1.0, "gate/standard_error": 0.5,
    "gate/accepted": 0.0, "gate/return": -3.0, "gate/bar": -2.0, "gate/broken": 0.0,
    "theory/relative_uncertainty_error": 0.2, "theory/relative_uncertainty_error_theorem": 0.3,
    "theory/predicted_drop": 1.0, "theory/drop_term": 1.0,
}  # fmt: skip
EVERY = [row | FULL for row in ROWS]
FIGURES = [
    *(lambda rows, f=f: f(rows) for f in (plots.share_curve, plots.model_curve, plots.gate_curves)),
    *(lambda rows, f=f: f(rows) for f in (plots.surprise_curves, plots.theory_curves)),
    *(lambda rows, f=f: f(rows) for f in (plots.value_curve, plots.loss_curves)),
    lambda rows: plots.uncertainty_curve(rows, penalty_coef=1.0),
    lambda rows: return_curve(rows, {"reference": REFERENCE}),
]


def _holed(draw, table: dict) -> dict:
    """The table with any of its entries null, not finite or left out, at every depth."""
    result = {}
    for name, value in table.items():
        fate = draw(st.sampled_from(["kept", "kept", "kept", "null", "nan", "gone"]))
        if fate == "kept":
            value = _holed(draw, value) if isinstance(value, dict) else value
            if isinstance(value, list) and draw(st.booleans()):
                value = [*value[:-1], None]
            result[name] = value
        elif fate != "gone":
            result[name] = None if fate == "null" else math.nan
    return result


# Where in the run a row is: no run leaves that out, and a row without it is told to be damaged.
_PLACE = ("stage", "epoch", "env_steps", "updates")
rows_with_holes = st.composite(lambda draw: [_holed(draw, row) for row in EVERY])


@settings(max_examples=4, phases=[Phase.explicit, Phase.generate])
@given(rows=rows_with_holes())
def test_any_number_of_the_metrics_may_be_null_or_missing(rows):
    for figure in FIGURES:
        assert isinstance(figure(rows), Figure)
    for row in rows:
        line = news(row)
        assert "None" not in line and "nan" not in line


def test_a_gate_without_a_standard_error_has_its_curve_without_a_band():
    """Imagined returns overflowed: what the gate compared is known, its spread is not."""
    rows = [row | {"gate/standard_error": None} for row in EVERY]
    gain, *_ = plots.gate_curves(rows).axes
    assert len(gain.lines[0].get_xdata()) == len(rows) and not gain.collections
    assert plots.gate_curves(EVERY).axes[0].collections


@settings(max_examples=2, phases=[Phase.explicit, Phase.generate])
@given(rows=rows_with_holes(), data=st.data())
def test_a_page_comes_of_whatever_is_there(rows, data, tmp_path_factory):
    rows = [row | {key: full[key] for key in _PLACE} for row, full in zip(rows, EVERY, strict=True)]
    rows = jsonable(rows)  # as a run writes them: no NaN
    _check_page(written_run(tmp_path_factory.mktemp("run"), rows, None))
    summary = data.draw(st.composite(_holed)(made_summary()))
    folder = written_run(tmp_path_factory.mktemp("run"), rows, summary)
    try:
        _check_page(folder)
    except InputError as error:  # a run writes neither NaN nor a summary that names no task
        assert "summary.json is damaged" in str(error)


def _check_page(folder: Path) -> None:
    with pages.drawn():
        page = write_report(folder).read_text(encoding="utf-8")
    assert "None" not in re.sub(r"(?s)<svg.*?</svg>", "", page)


@settings(max_examples=40)
@given(st.composite(_holed)(made_summary() | {"offline": {"return": 1.0, "swing_share": 0.1}}))
def test_the_last_lines_of_a_run_come_of_whatever_is_there(summary):
    lines = verdict(summary)
    assert "None" not in lines and "nan" not in lines


def test_the_last_lines_say_what_was_achieved_and_at_which_cost():
    summary = {
        "offline": {"return": -640.0},
        "hand_over": {"log_return": -650.0},
        "transfer": {"offline": -640.0, "dip": 20.0, "final": -200.0, "gain": 440.0},
        "online": {"return": -175.0},
        "budget": {"share": 0.05, "least_margin": 12.0, "trials": 24, "promoted": 4},
    }
    lines = verdict(summary, Path("/runs/my run")).splitlines()
    assert lines[2:] == [
        "from -650.0 (the controller in the log) to -640.0 at the hand-over to -175.0; "
        "the lowest evaluation on the way was -660.0",
        "trials: 4 of 24 won; the dip budget of 5% was kept, 12.0 to spare",
        "next: moore assess '/runs/my run', or moore export '/runs/my run' --out DIR",
    ]
    broken = verdict(summary | {"budget": summary["budget"] | {"least_margin": -3.0}})
    assert "broken by 3.0" in broken and "next" not in broken


def test_the_last_lines_of_an_offline_stage_say_how_to_go_online():
    evaluated = verdict({"offline": {"return": -640.0}}, Path("/runs/a")).splitlines()
    assert evaluated[0] == "offline return -640.0"
    assert evaluated[1] == "next: moore assess /runs/a, then moore online --from /runs/a"
    plant = verdict({"offline": {"epochs": 8}}, Path("/runs/a"))
    assert plant == "next: moore assess /runs/a, then moore serve /runs/a"


@functools.cache
def _setup():
    return prepare(tiny_config(), dataset=tiny_log(), env=ENV)


@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(rows=rows_with_holes())
def test_a_summary_comes_of_whatever_was_logged(rows):
    rows = [row | {key: full[key] for key in _PLACE} for row, full in zip(rows, EVERY, strict=True)]
    summary = summarise(_setup(), rows, seconds={}, random_return=1.0)
    json.dumps(jsonable(summary), allow_nan=False)
