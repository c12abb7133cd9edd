"""The report page of a run folder, and its figures."""

import json
import math
import re
from dataclasses import replace
from importlib import resources

import pytest
from matplotlib.figure import Figure

import pages
from made_report import CONFIG, ONLINE, ROWS, made_row, made_summary, written_run
from moore.errors import InputError
from moore.evaluation.transfer import transfer_metrics
from moore.formats.load import load_dataset
from moore.reports import plots
from moore.reports.headline import legend, return_curve
from moore.reports.plot_style import figure_svg
from moore.runs.folder import read_metrics
from moore.runs.report import write_report
from moore.runs.setup import prepare
from moore.runs.summary import summarise
from tiny import ENV, tiny_config, tiny_log


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder = written_run(tmp_path_factory.mktemp("run"), ROWS, made_summary())
    with pages.drawn(), pages.laid_out():
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
    folder = written_run(tmp_path, rows, None, end='\n{"stage": "online", "epo')
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
    page = write_report(
        written_run(tmp_path, ROWS, made_summary() | {"termination": LEARNED})
    ).read_text()
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "learned from the log: precision 0.971, recall 0.943 (34 of 35 terminals" in text
    assert "1 false alarms) on 14,414 rows of 37 held-out episodes" in text
    assert "half-spaces" in text and "test.brier" in text

    none = {"rule": "never", "terminals": 0, "rows": 800}
    page = write_report(
        written_run(tmp_path, ROWS, made_summary() | {"termination": none})
    ).read_text()
    assert "imagined episodes never end: no row of the log is terminated" in page

    page = write_report(written_run(tmp_path, ROWS, made_summary())).read_text()
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
    summary = made_summary() | {"reference": None, "transfer": transfer_metrics(1.0, [2.0])}
    rows = [{k: v for k, v in row.items() if k != "eval/score"} for row in ROWS]
    page = write_report(written_run(tmp_path, rows, summary)).read_text(encoding="utf-8")
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
            page = write_report(written_run(tmp_path, rows, summary)).read_text(encoding="utf-8")
        assert "not recorded" in page and "not logged" in page
        (tmp_path / "summary.json").unlink(missing_ok=True)


def test_curves_without_any_key_are_left_out(tmp_path):
    rows = [{"stage": row["stage"], "epoch": row["epoch"]} for row in ROWS]
    with pages.drawn():
        page = write_report(written_run(tmp_path, rows, {})).read_text(encoding="utf-8")
    assert "<svg" not in page


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS[:3], ROWS[3:4], ROWS[4:], ROWS])
def test_every_curve_draws_any_part_of_a_run(rows):
    figures = [
        return_curve(rows, made_summary()),
        plots.share_curve(rows),
        plots.uncertainty_curve(rows, penalty_coef=1.0),
        plots.model_curve(rows),
        plots.loss_curves(rows),
    ]
    assert all(isinstance(figure, Figure) for figure in figures)


def test_svg_is_the_same_every_time_and_takes_the_colours_of_the_page():
    with pages.laid_out():
        first, second = (figure_svg(return_curve(ROWS, made_summary())) for _ in range(2))
    assert first == second
    assert first.startswith("<svg") and first.endswith("</svg>")
    assert "currentColor" in first and "var(--blue, #0072b2)" in first
    assert "dip 172" in first and "normalised score" in first


def _ticks(figure: Figure) -> dict[str, float]:
    axes = figure.axes[0]
    places = axes.get_xticks()
    return dict(zip((text.get_text() for text in axes.get_xticklabels()), places, strict=True))


def test_the_returns_stand_over_the_steps_in_the_system():
    figure = return_curve(ROWS, made_summary())
    (evaluated,) = (x for x in figure.axes[0].lines if x.get_label() == "evaluated")
    assert list(evaluated.get_xdata()[-5:]) == [0, 1000, 2000, 3000, 4000]
    ticks = _ticks(figure)
    assert ticks["2,000"] == 2000 and ticks["1"] < ticks["2"] < 0
    assert figure.axes[0].get_xlabel() == "offline epoch  |  steps in the system"


def test_imagined_returns_that_ran_away_do_not_flatten_the_others():
    rows = [row | {"model/episode_return": 800.0} for row in ROWS]
    quiet = return_curve(rows, made_summary()).axes[0]
    assert quiet.get_title(loc="left") == ""
    rows[-1] |= {"model/episode_return": -4e9}
    axes = return_curve(rows, made_summary()).axes[0]
    assert axes.get_ylim() == quiet.get_ylim()
    assert axes.get_title(loc="left") == (
        "not shown, outside the axis: 1 in the models, as far as -4,000,000,000"
    )


@pytest.mark.parametrize(
    ("log", "algorithm", "drawn"),
    [("the quickstart's", "moore_safe", True), ("another", "moore_safe", False),
     ("the quickstart's", "moore", False)],
)  # fmt: skip
def test_the_quickstart_is_shown_beside_what_happens_without_protection(log, algorithm, drawn):
    stored = json.loads((resources.files("moore.reports") / "unprotected.json").read_text())
    sha256 = stored["log_sha256"] if log == "the quickstart's" else "0"
    summary = made_summary() | {
        "dataset": {"sha256": sha256}, "env_id": "Pendulum-v1", "algorithm": algorithm,
    }  # fmt: skip
    figure = return_curve(ROWS, summary)
    curves = {x.get_label(): list(x.get_ydata()) for x in figure.axes[0].lines}
    assert ("without protection" in curves) is drawn
    assert ("<b>without protection</b>: stored" in legend(figure)) is drawn
    if drawn:
        assert curves["without protection"] == stored["returns"]


def test_the_quickstart_s_log_is_the_one_that_the_stored_curve_belongs_to():
    stored = json.loads((resources.files("moore.reports") / "unprotected.json").read_text())
    assert load_dataset("builtin:pendulum-medium").sha256 == stored["log_sha256"]


def test_the_old_controller_and_the_clone_are_lines_that_the_legend_explains():
    rows = [ROWS[0] | {"clone/return": 700.0, "clone/log_return": 400.0}, *ROWS[1:]]
    figure = return_curve(rows, made_summary() | {"hand_over": {"log_return": 410.0}})
    levels = {x.get_label(): x.get_ydata()[0] for x in figure.axes[0].lines}
    assert (levels["old controller"], levels["clone of the log"]) == (410.0, 700.0)
    assert levels["at the hand-over"] == ONLINE[0]
    names = re.findall("<b>(.*?)</b>: [a-z]", legend(figure))
    assert names == [
        "evaluated", "acting", "at the hand-over", "clone of the log", "old controller",
    ]  # fmt: skip
    under_way = return_curve(rows, {}).axes[0]
    assert {x.get_label(): x.get_ydata()[0] for x in under_way.lines}["old controller"] == 400.0


def test_a_clone_that_was_handed_over_is_one_line_with_the_hand_over():
    rows = [ROWS[0] | {"clone/return": ONLINE[0], "clone/log_return": 400.0}, *ROWS[1:]]
    figure = return_curve(rows, made_summary())
    levels = [x.get_ydata()[0] for x in figure.axes[0].lines if "hand-over" in x.get_label()]
    assert levels == [ONLINE[0]]
    assert "<b>at the hand-over, the clone</b>" in legend(figure)
    assert "clone of the log" not in legend(figure)


def test_the_mark_of_a_faint_curve_is_faint():
    stored = json.loads((resources.files("moore.reports") / "unprotected.json").read_text())
    summary = made_summary() | {
        "dataset": {"sha256": stored["log_sha256"]}, "env_id": "Pendulum-v1",
        "algorithm": "moore_safe",
    }  # fmt: skip
    items = legend(return_curve(ROWS, summary)).split("<li")
    strength = {re.search("<b>(.*?)</b>", item)[1]: float(re.search("strength: (.*?)\"", item)[1])
                for item in items[1:]}  # fmt: skip
    assert strength["without protection"] < 1 == strength["evaluated"]


def test_many_short_episodes_stay_small():
    rows = [ROWS[3] | {"epoch": t, "online/episode_returns": [1.0] * 60} for t in range(100)]
    assert len(figure_svg(return_curve(rows, {}))) < 400_000


def test_runs_stand_side_by_side_with_the_settings_that_differ(tmp_path, moore_prints):
    written_run(tmp_path / "a", ROWS, made_summary())
    other = written_run(tmp_path / "b", [*ROWS[:-1], made_row("online", 4, 3000.0)], None)
    (other / "config.toml").write_text(CONFIG.replace("seed = 7", "seed = 8"))
    moore_prints(f"report {tmp_path}/a {tmp_path}/b --html {tmp_path}/both.html")
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2 and "<script" not in page
    text = " ".join(re.sub("(?s)<svg.*?</svg>|<[^>]*>", " ", page).split())
    assert "Hopper-v5, moore, seed 7 a" in text and "Hopper-v5, moore, seed 8 b" in text
    assert text.endswith("Settings that differ a b seed 7 8")
    assert "dip area: all falls below it, summed" in text, "its words are explained where they are"
    assert (
        text.count("dip area") == text.count("worst episode") == text.count("loss to the log") == 2
    )
    axes = [re.findall(r">([\d,]+)</text>", svg) for svg in page.split("<svg")[1:]]
    assert axes[0] == axes[1] and "3,000" in axes[0], "runs of one environment share the axis"


def test_runs_whose_logs_have_one_name_and_differ_are_told_apart(tmp_path, moore_prints):
    for name, sha256 in (("a", "a" * 64), ("b", "b" * 64)):
        summary = made_summary()
        written_run(
            tmp_path / name, ROWS, summary | {"dataset": summary["dataset"] | {"sha256": sha256}}
        )
    moore_prints(f"report {tmp_path}/a {tmp_path}/b --html {tmp_path}/both.html")
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    text = " ".join(re.sub("(?s)<svg.*?</svg>|<[^>]*>", " ", page).split())
    assert text.endswith(f"Settings that differ a b SHA-256 of the log {'a' * 12} {'b' * 12}")


def test_beside_a_run_s_numbers_stand_policies_that_never_change(tmp_path):
    summary = made_summary() | {"clone": {"return": 500.0}}
    page = write_report(written_run(tmp_path / "run", ROWS, summary)).read_text(encoding="utf-8")
    table = page.split("The hand-over in numbers")[1].split("</table>")[0]
    rows = {
        cells[0]: cells[1:]
        for row in table.split("<tr>")[1:]
        if (cells := re.findall(r"<t[hd]>(.*?)(?:<small>.*?</small>)?</t[hd]>", row))
    }
    assert rows[""][-2:] == ["frozen", "clone"]
    assert rows["final"][-2:] == ["812.5", "500.0"]
    assert rows["dip"][-2:] == rows["gain"][-2:] == ["0", "0"] and rows["dip"][0] == "172.5"


def test_a_report_is_written_anew(tmp_path, moore_prints, moore_refuses):
    folder = written_run(tmp_path / "run", ROWS, made_summary())
    assert moore_prints(f"report {folder}").splitlines()[-1] == f"{folder}/report.html"
    assert "942.6" in (folder / "report.html").read_text(encoding="utf-8")
    assert "with --html FILE" in moore_refuses(f"report {folder} {folder}")
    assert "needs a RUN" in moore_refuses("report")


def test_bad_input_is_named(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        write_report(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"stage": "offline", "epoch": 0}\n[1]\n{}\n')
    with pytest.raises(InputError, match="line 2"):
        read_metrics(tmp_path / "metrics.jsonl")
    written_run(tmp_path, ROWS, None)
    (tmp_path / "config.toml").write_text("a = = 1")
    with pytest.raises(InputError, match=r"config\.toml"):
        write_report(tmp_path)
