"""The report page of a run folder, and its figures."""

import functools
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import pages
from moore.cli.verdict import verdict
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores
from moore.evaluation.transfer import transfer_metrics
from moore.reports import plots
from moore.reports.headline import legend, return_curve
from moore.reports.plot_style import figure_svg
from moore.runs.folder import read_metrics
from moore.runs.report import write_report
from moore.runs.setup import prepare
from moore.runs.summary import summarise
from moore.sinks.console import news
from moore.sinks.json_lines import jsonable
from tiny import ENV, tiny_config, tiny_log

REFERENCE = {"random": -20.272305, "expert": 3234.3, "source": "D4RL infos.py"}
ONLINE = [812.5, 640.0, 700.0, 900.0, 1530.25]
CONFIG = """algorithm = "moore"
dataset = "hopper.hdf5"
env_id = "Hopper-v5"
penalty_coef = 2.5
seed = 7
"""


def _row(stage: str, epoch: int, mean: float) -> dict:
    returns = [mean - 30.0, mean, mean + 30.0]
    row = {"stage": stage, "epoch": epoch, "env_steps": 1000 * epoch, "updates": 5000 * epoch}
    row |= {"eval/return": mean, "eval/returns": returns, "eval/score": mean / 32.5}
    if stage == "online":
        row |= {"online/episode_returns": [mean - 50.0, mean + 10.0]}
    if (stage, epoch) != ("online", 0):
        row |= {"model/uncertainty_mean": 0.4, "model/uncertainty_p20": 0.2}
        row |= {"model/uncertainty_p80": 0.7, "model/holdout_mse": 0.05, "model/fit_steps": 400}
        row |= {"model/fit_stopped_by": "cap,converged", "losses/critic_loss": 1.0 / epoch}
        row |= {"losses/q_target": 230.0, "losses/entropy": -3.0, "time/epoch": 80.0}
        row |= {"replay/online_share": 0.01 * epoch, "replay/online_share_expected": 0.01 * epoch}
        row |= {"replay/shift": 0.02}
    return row


ROWS = [_row("offline", epoch, 300.0 * math.sqrt(epoch)) for epoch in (1, 2, 3)]
ROWS += [_row("online", epoch, mean) for epoch, mean in enumerate(ONLINE)]


def _summary() -> dict:
    transfer = transfer_metrics(
        ONLINE[0],
        ONLINE[1:],
        reference=ReferenceScores(**REFERENCE),
        behaviour_offline=ONLINE[0] - 20.0,
        behaviour_returns=[[mean - 50.0, mean + 10.0] for mean in ONLINE[1:]],
    )
    return {
        "env_id": "Hopper-v5",
        "algorithm": "moore",
        "scheme": "moore(1)",
        "seed": 7,
        "dataset": {"name": "hopper.hdf5", "sha256": "ab12" * 16, "rows": 200000, "episodes": 900},
        "reference": REFERENCE,
        "random_return": REFERENCE["random"],
        "evaluation_episodes": 3,
        "transfer": transfer,
        "hand_over": {"log_return": 400.0},
        "online": {"return": ONLINE[-1]},
        "time": {"total": 3725.0, "update": 1800.5},
        "updates_per_second": 101.0,
        "versions": {"moore": "0.1.0", "gymnasium": "1.2.1", "mujoco": "3.3.6"},
        "hardware": {"processor": "a <fast> one", "devices": ["TFRT_CPU_0"]},
    }


def _run(folder: Path, rows: list[dict], summary: dict | None, *, end: str = "\n") -> Path:
    folder.mkdir(exist_ok=True)
    text = "\n".join(json.dumps(row) for row in rows) + end
    (folder / "metrics.jsonl").write_text(text)
    (folder / "config.toml").write_text(CONFIG)
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder = _run(tmp_path_factory.mktemp("run"), ROWS, _summary())
    with pages.drawn():
        path = write_report(folder)
    assert path == folder / "report.html"
    assert {file.name for file in folder.iterdir()} == {
        *("config.toml", "metrics.jsonl", "summary.json", "report.html")
    }, "no temporary file is left"
    return path.read_text(encoding="utf-8")


def test_the_page_says_what_happened_at_the_hand_over(page):
    for number in ("812.5", "172.5", "21%", "942.6", "130.1", "1 h 02 min", "25.6"):
        assert number in page
    assert "fell by up to 172.5" in page
    assert "It was back 2 epochs after the first fall." in page
    assert "130.1 above the offline policy" in page
    verdict = re.search('<p class="verdict">(.*?)</p>', page).group(1)
    assert verdict.startswith(
        "From 400.0 (the controller in the log) to 812.5 at the hand-over to 1"
    )


def test_no_score_without_its_protocol(page):
    for fact in ("3 episodes", "hopper.hdf5", "ab12ab12ab12", "Hopper-v5", "Gymnasium 1.2.1"):
        assert fact in page
    for fact in ("MuJoCo 3.3.6", "one seed (7)", "200,000 rows", "D4RL infos.py"):
        assert fact in page


def test_the_page_loads_nothing_and_escapes_everything(page):
    assert len(page) < 1_500_000
    loaded = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert all(target.startswith("#") for target in loaded)
    assert "<script" not in page and "<link" not in page and "@import" not in page
    assert "default-src 'none'" in page
    assert "a &lt;fast&gt; one" in page and "penalty_coef = 2.5" in page
    assert page.count("<svg") == 6


def test_an_unfinished_run_has_a_page_and_its_half_written_row_is_ignored(tmp_path):
    rows = [row | {"eval/return": ONLINE[0]} if row["epoch"] == 0 else row for row in ROWS]
    folder = _run(tmp_path, rows, None, end='\n{"stage": "online", "epo')
    assert read_metrics(folder / "metrics.jsonl") == rows
    page = write_report(folder).read_text(encoding="utf-8")
    assert "has not finished" in page and "172.5" in page and "one seed (7)" in page
    (folder / "metrics.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    assert "No policy has been handed over yet" in write_report(folder).read_text()
    (folder / "metrics.jsonl").write_text("")
    assert "No epoch has been logged yet" in write_report(folder).read_text()


TEST = {"rows": 14414, "terminals": 35, "episodes": 37, "precision": 0.9714, "recall": 0.9429}
TEST |= {"hits": 34, "false_alarms": 1, "f1": 0.957, "nll": 1e-4, "brier": 1e-5}
LEARNED = {"rule": "learned", "kind": "half-spaces", "threshold": 0.497, "test": TEST}


def test_a_learned_end_of_episodes_is_shown_with_its_counts(tmp_path):
    page = write_report(_run(tmp_path, ROWS, _summary() | {"termination": LEARNED})).read_text()
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "learned from the log: precision 0.971, recall 0.943 (34 of 35 terminals" in text
    assert "1 false alarms) on 14,414 rows of 37 held-out episodes" in text
    assert "half-spaces" in text and "test.brier" in text

    none = {"rule": "never", "terminals": 0, "rows": 800}
    page = write_report(_run(tmp_path, ROWS, _summary() | {"termination": none})).read_text()
    assert "imagined episodes never end: no row of the log is terminated" in page

    page = write_report(_run(tmp_path, ROWS, _summary())).read_text()
    assert "held-out episodes" not in page and "never end" not in page


def test_the_summary_has_the_report_on_a_learned_end():
    def summary(setup):
        return summarise(setup, [], seconds={}, random_return=0.0)

    given = prepare(tiny_config(), dataset=tiny_log(), env=ENV)
    assert "termination" not in summary(given)
    assert summary(replace(given, termination_report=LEARNED))["termination"] == LEARNED
    learned = prepare(tiny_config(termination="learned"), dataset=tiny_log(), env=ENV)
    assert summary(learned)["termination"] == {"rule": "never", "terminals": 0, "rows": 300}


def test_a_run_without_reference_scores_shows_none(tmp_path):
    summary = _summary() | {"reference": None, "transfer": transfer_metrics(1.0, [2.0])}
    rows = [{k: v for k, v in row.items() if k != "eval/score"} for row in ROWS]
    page = write_report(_run(tmp_path, rows, summary)).read_text(encoding="utf-8")
    assert "score" not in page.replace("underscore", "").split("<footer")[0].split("</style>")[1]
    assert "No dip" in page


def _without_values(row: dict, gap: float | None) -> dict:
    """Every number None or NaN, alone and in lists; `fit_stopped_by` None."""
    empty = {key: [gap, gap] if isinstance(value, list) else gap for key, value in row.items()}
    empty |= {key: None for key, value in row.items() if isinstance(value, str)}
    return empty | {"stage": row["stage"], "epoch": row["epoch"]}


@pytest.mark.parametrize("gap", [None, math.nan])
def test_missing_values_are_said_to_be_missing(tmp_path, gap):
    rows = [_without_values(row, gap) for row in ROWS]
    for summary in ({"env_id": "Hopper-v5", "transfer": {"offline": None}}, None):
        with pages.drawn():
            page = write_report(_run(tmp_path, rows, summary)).read_text(encoding="utf-8")
        assert "not recorded" in page and "not logged" in page
        (tmp_path / "summary.json").unlink(missing_ok=True)


def test_curves_without_any_key_are_left_out(tmp_path):
    rows = [{"stage": row["stage"], "epoch": row["epoch"]} for row in ROWS]
    with pages.drawn():
        page = write_report(_run(tmp_path, rows, {})).read_text(encoding="utf-8")
    assert "<svg" not in page


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS[:3], ROWS[3:4], ROWS[4:], ROWS])
def test_every_curve_draws_any_part_of_a_run(rows):
    figures = [
        return_curve(rows, _summary()),
        plots.share_curve(rows),
        plots.uncertainty_curve(rows, penalty_coef=1.0),
        plots.model_curve(rows),
        plots.loss_curves(rows),
    ]
    assert all(isinstance(figure, Figure) for figure in figures)


def test_svg_is_the_same_every_time_and_takes_the_colours_of_the_page():
    first, second = (figure_svg(return_curve(ROWS, _summary())) for _ in range(2))
    assert first == second
    assert first.startswith("<svg") and first.endswith("</svg>")
    assert "currentColor" in first and "var(--blue, #0072b2)" in first
    assert "dip 172" in first and "normalised score" in first


def _ticks(figure: Figure) -> dict[str, float]:
    axes = figure.axes[0]
    places = axes.get_xticks()
    return dict(zip((text.get_text() for text in axes.get_xticklabels()), places, strict=True))


def test_the_returns_stand_over_the_steps_in_the_system():
    figure = return_curve(ROWS, _summary())
    (evaluated,) = (x for x in figure.axes[0].lines if x.get_label() == "evaluated")
    assert list(evaluated.get_xdata()[-5:]) == [0, 1000, 2000, 3000, 4000]
    ticks = _ticks(figure)
    assert ticks["2,000"] == 2000 and ticks["1"] < ticks["2"] < 0
    assert figure.axes[0].get_xlabel() == "offline epoch  |  steps in the system"


def test_imagined_returns_that_ran_away_do_not_flatten_the_others():
    rows = [row | {"model/episode_return": 800.0} for row in ROWS]
    quiet = return_curve(rows, _summary()).axes[0]
    assert quiet.get_title(loc="left") == ""
    rows[-1] |= {"model/episode_return": -4e9}
    axes = return_curve(rows, _summary()).axes[0]
    assert axes.get_ylim() == quiet.get_ylim()
    assert axes.get_title(loc="left") == "outside the axis: 1 imagined, to -4e+09"


def test_the_old_controller_and_the_clone_are_lines_that_the_legend_explains():
    rows = [ROWS[0] | {"clone/return": 700.0, "clone/log_return": 400.0}, *ROWS[1:]]
    figure = return_curve(rows, _summary() | {"hand_over": {"log_return": 410.0}})
    levels = {x.get_label(): x.get_ydata()[0] for x in figure.axes[0].lines}
    assert (levels["old controller"], levels["clone of the log"]) == (410.0, 700.0)
    assert levels["at the hand-over"] == ONLINE[0]
    names = re.findall("<b>(.*?)</b>: [a-z]", legend(figure))
    assert names == [
        "evaluated", "acting", "at the hand-over", "clone of the log", "old controller",
    ]  # fmt: skip
    under_way = return_curve(rows, {}).axes[0]
    assert {x.get_label(): x.get_ydata()[0] for x in under_way.lines}["old controller"] == 400.0


def test_many_short_episodes_stay_small():
    rows = [ROWS[3] | {"epoch": t, "online/episode_returns": [1.0] * 60} for t in range(100)]
    assert len(figure_svg(return_curve(rows, {}))) < 400_000


def test_runs_stand_side_by_side_with_the_settings_that_differ(tmp_path, moore_prints):
    _run(tmp_path / "a", ROWS, _summary())
    other = _run(tmp_path / "b", [*ROWS[:-1], _row("online", 4, 3000.0)], None)
    (other / "config.toml").write_text(CONFIG.replace("seed = 7", "seed = 8"))
    moore_prints(f"report {tmp_path}/a {tmp_path}/b --html {tmp_path}/both.html")
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2 and "<script" not in page
    text = " ".join(re.sub("(?s)<svg.*?</svg>|<[^>]*>", " ", page).split())
    assert "Hopper-v5, moore, seed 7 a" in text and "Hopper-v5, moore, seed 8 b" in text
    assert text.endswith("Settings that differ a b seed 7 8")
    axes = [re.findall(r">([\d,]+)</text>", svg) for svg in page.split("<svg")[1:]]
    assert axes[0] == axes[1] and "3,000" in axes[0], "runs of one environment share the axis"


def test_a_report_is_written_anew(tmp_path, moore_prints, moore_refuses):
    folder = _run(tmp_path / "run", ROWS, _summary())
    assert moore_prints(f"report {folder}").splitlines()[-1] == f"{folder}/report.html"
    assert "942.6" in (folder / "report.html").read_text(encoding="utf-8")
    assert "needs --html FILE" in moore_refuses(f"report {folder} {folder}")
    assert "needs a RUN" in moore_refuses("report")


def test_bad_input_is_named(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        write_report(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"stage": "offline", "epoch": 0}\n[1]\n{}\n')
    with pytest.raises(InputError, match="line 2"):
        read_metrics(tmp_path / "metrics.jsonl")
    _run(tmp_path, ROWS, None)
    (tmp_path / "config.toml").write_text("a = = 1")
    with pytest.raises(InputError, match=r"config\.toml"):
        write_report(tmp_path)


# --- What is missing, null or no number ---

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
    _check_page(_run(tmp_path_factory.mktemp("run"), rows, None))
    summary = data.draw(st.composite(_holed)(_summary()))
    folder = _run(tmp_path_factory.mktemp("run"), rows, summary)
    try:
        _check_page(folder)
    except InputError as error:  # a run writes neither NaN nor a summary that names no task
        assert "summary.json is damaged" in str(error)


def _check_page(folder: Path) -> None:
    with pages.drawn():
        page = write_report(folder).read_text(encoding="utf-8")
    assert "None" not in re.sub(r"(?s)<svg.*?</svg>", "", page)


@settings(max_examples=40)
@given(st.composite(_holed)(_summary() | {"offline": {"return": 1.0, "swing_share": 0.1}}))
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


@functools.cache
def _setup():
    return prepare(tiny_config(), dataset=tiny_log(), env=ENV)


@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(rows=rows_with_holes())
def test_a_summary_comes_of_whatever_was_logged(rows):
    rows = [row | {key: full[key] for key in _PLACE} for row, full in zip(rows, EVERY, strict=True)]
    summary = summarise(_setup(), rows, seconds={}, random_return=1.0)
    json.dumps(jsonable(summary), allow_nan=False)
