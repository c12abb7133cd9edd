"""moore reproduce: the runs behind a figure, and what is written from those that are done."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from moore import cli
from moore.algorithms import ALGORITHMS
from moore.config import from_dict, to_toml
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores
from moore.evaluation.transfer import transfer_metrics
from moore.reports.compare import Finished, compare
from moore.reports.figure import MOST_CURVES, draw_figure
from moore.sweeps import figure_page as figures_page
from moore.sweeps import sweep as sweeps
from moore.sweeps.figures import FIGURES, SCALES, check_logs, figure_grid
from moore.sweeps.grid import cells
from test_compare import finished

# --- The plan ---


def test_fig2_compares_the_four_schemes_of_the_paper():
    grid = figure_grid("fig2", "quick")
    assert grid.schemes == ("moore:1", "half_half", "online_only", "uniform")
    assert len(grid.presets) >= 2 and len(grid.seeds) >= 8


def test_fig3_compares_the_alphas_of_the_paper():
    assert figure_grid("fig3", "quick").alphas == (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)


def test_both_figures_share_offline_stages_and_the_runs_of_alpha_1(tmp_path):
    grids = (figure_grid(name, "quick", seeds=(0, 1)) for name in ("fig2", "fig3"))
    second, third = (cells(grid, tmp_path) for grid in grids)
    shared = {cell.folder for cell in second} & {cell.folder for cell in third}
    offline = [folder for folder in shared if Path(folder).parent.name == "offline"]
    assert len(offline) == 4 and len(shared) == 8
    by_folder = {cell.folder: cell for cell in second}
    assert all(by_folder[cell.folder] == cell for cell in third if cell.folder in shared)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_figure_has_runs_at_every_scale(figure, scale, tmp_path):
    grid = figure_grid(figure, scale, data=_every_log(tmp_path), seeds=(0,))
    # Planning a cell takes long: of more than three tasks the first, one between, and the last.
    places = sorted({0, len(grid.presets) // 2, len(grid.presets) - 1})
    grid = replace(
        grid,
        presets=tuple(grid.presets[i] for i in places),
        datasets=tuple(grid.datasets[i] for i in places),
    )
    planned = cells(grid, tmp_path)
    assert all(from_dict(cell.config).online.epochs >= 10 for cell in planned[::5])


@pytest.mark.slow
@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_cell_of_every_figure_can_be_planned(figure, scale, tmp_path):
    for cell in cells(figure_grid(figure, scale, data=_every_log(tmp_path)), tmp_path):
        assert from_dict(cell.config).online.epochs >= 10


def _every_log(folder):
    """Empty files of the names that the presets give."""
    from moore.presets import preset, preset_names

    for name in preset_names():
        for part in preset(name).dataset.split(","):
            if part.endswith(".hdf5"):
                (folder / part).touch()
    return folder


def test_a_missing_log_is_named_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match=r"hopper-medium-replay.hdf5 and .* not found; .* --data"):
        check_logs(figure_grid("fig2", "laptop", data=tmp_path))


def test_the_logs_of_tasks_that_are_not_run_may_be_missing(tmp_path, monkeypatch):
    (tmp_path / "hopper-medium-replay.hdf5").touch()
    began = []
    monkeypatch.setattr(sweeps, "sweep", lambda planned, **_: began.extend(planned))
    monkeypatch.setattr(figures_page, "write_figure", lambda *_: {})
    line = f"reproduce fig2 --scale laptop --data {tmp_path} --out {tmp_path} --json --tasks"
    cli.main([*line.split(), "hopper-medium-replay"])
    assert {cell.config["env_id"] for cell in began} == {"Hopper-v5"}
    with pytest.raises(SystemExit):
        cli.main([*line.split(), "halfcheetah-medium-replay"])


@pytest.mark.parametrize(("figure", "scale"), [("fig9", "quick"), ("fig2", "huge")])
def test_unknown_names_list_the_known_ones(figure, scale):
    with pytest.raises(InputError, match=r"[Tt]he known ones are (fig1|quick)"):
        figure_grid(figure, scale)


# --- What is written ---


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    """Seeds 0 and 1 of fig2 at scale quick, but for one cell."""
    out = tmp_path_factory.mktemp("half") / "runs"
    for cell in cells(figure_grid("fig2", "quick", seeds=(0, 1)), out):
        config = from_dict(cell.config)
        facts = {
            "env": config.env_id,
            "scheme": config.online.scheme,
            "versions": {"moore": "0", "jax": "1"},
            "hardware": {"processor": "abacus"},
            "time": {"total": 60.0},
        }
        folder = Path(cell.folder)
        if cell.stages == "offline":
            folder.mkdir(parents=True)
            (folder / "config.toml").write_text(to_toml(config))
            (folder / "summary.json").write_text(json.dumps(facts | {"transfer": None}))
        elif not ("uniform" in cell.folder and config.env_id == "Pendulum-v1" and config.seed):
            returns = [50 + 5 * epoch + config.seed for epoch in range(10)]
            finished(folder, seed=config.seed, returns=returns, **facts)
            (folder / "config.toml").write_text(to_toml(config))
    return out


def reproduce(*arguments):
    cli.main(["reproduce", "fig2", "--no-run", "--seeds", "0-1", *arguments])


def test_a_figure_is_a_picture_tables_and_the_numbers_behind_them(half_done, tmp_path, capsys):
    reproduce("--out", str(half_done), "--report", str(tmp_path / "report"))
    assert "uniform on Pendulum-v1" in capsys.readouterr().out, "not run, or not finished"
    names = ("fig2-quick.md", "fig2-quick.html", "fig2-quick.csv", "fig2-quick-curves.csv")
    files = {path.name: path for path in (tmp_path / "report").iterdir()}
    assert set(files) == {*names, "fig2-quick.png"}
    assert files["fig2-quick.png"].read_bytes().startswith(b"\x89PNG")
    with open(files["fig2-quick.csv"]) as file:
        assert len(list(csv.DictReader(file))) == 15
    with open(files["fig2-quick-curves.csv"]) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15 * 11
    assert (rows[10]["epoch"], float(rows[10]["eval_return"])) == ("10", 95.0)
    # The tables name each run that is done and each that is not.
    text = files["fig2-quick.md"].read_text()
    assert "19 of 20 runs are done" in text and "abacus" in text and "19 min 00 s" in text
    name = "Pendulum-v1-builtin-pendulum-medium"
    assert f"| {name}, uniform | 0 | 1 |" in text
    assert f"| {name}, moore-1 | 0, 1 | – |" in text
    assert f"| offline stage of {name} | 0, 1 | – |" in text
    assert all(len(line) <= 100 for line in text.splitlines() if not line.startswith("|"))


def test_a_second_table_tells_what_a_small_dip_does_not(half_done, tmp_path):
    reproduce("--out", str(half_done), "--report", str(tmp_path))
    section = (tmp_path / "fig2-quick.md").read_text().split("## Pendulum-v1 log\n")[1]
    dips, beside = section.strip().split("\n\n")[:2]
    names = [[line.split(" | ")[0] for line in table.splitlines()[2:]] for table in (dips, beside)]
    assert names[0] == names[1] and "| moore:1" in names[0]
    head = beside.splitlines()[0]
    for title in ("dip, yardstick", "dip area", "worst acting episode", "loss to the log"):
        assert f"| {title} |" in head


def test_machines_get_json(half_done, capsys):
    reproduce("--out", str(half_done), "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["variants"] == ["moore:1", "half_half", "online_only", "uniform"]
    assert sum(result["cells_done"].values()) == 19


def test_without_a_finished_run_there_is_nothing_to_show(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        reproduce("--out", str(tmp_path))
    assert stop.value.code == 2
    assert "none of the 16 runs of fig2 at scale quick is done" in capsys.readouterr().err


# --- Fig. 1: one algorithm beside the other ---


@pytest.fixture(scope="module")
def algorithms_done(tmp_path_factory):
    """Seeds 0 and 1 of two algorithms of fig1 at scale quick, with an offline stage and without."""
    out = tmp_path_factory.mktemp("algorithms") / "runs"
    for cell in cells(figure_grid("fig1", "quick", seeds=(0, 1)), out):
        config, folder = from_dict(cell.config), Path(cell.folder)
        if config.algorithm not in ("awac", "sac"):
            continue
        facts = {
            "env": config.env_id,
            "algorithm": config.algorithm,
            "scheme": "uniform",
            "versions": {"moore": "0"},
            "hardware": {"processor": "abacus"},
        }
        if cell.stages == "offline":
            folder.mkdir(parents=True)
            summary = facts | {"transfer": None, "time": {"total": 600.0 + 60 * config.seed}}
            (folder / "summary.json").write_text(json.dumps(summary))
        else:
            returns = [90.0, 80.0 - 20 * config.seed, *[120.0] * 10, 10.0]
            finished(folder, seed=config.seed, returns=returns, **facts, time={"total": 120.0})
        (folder / "config.toml").write_text(to_toml(config))
    return out


def rows_of(text, heading, name):
    """The cells of the table's line for the name, below the heading, by their titles."""
    lines = text.split(f"## {heading}\n")[1].splitlines()
    table = [[part.strip() for part in line.strip("|").split("|")] for line in lines if "|" in line]
    return dict(zip(table[0], next(row for row in table if row[0] == name), strict=True))


def reproduce_fig1(out):
    cli.main(["reproduce", "fig1", "--no-run", "--seeds", "0-1", "--out", str(out), "--quiet"])
    return (out / "fig1-quick.md").read_text()


@pytest.fixture(scope="module")
def fig1(algorithms_done):
    """The tables of fig1."""
    return reproduce_fig1(algorithms_done)


def test_fig1_says_offline_lowest_final_seeds_and_minutes(fig1):
    awac, sac = (rows_of(fig1, "Pendulum-v1 log", name) for name in ("awac", "sac"))
    assert awac["seeds"] == sac["seeds"] == "2"
    assert awac["offline"].startswith("100 [") and awac["final"].startswith("98.0 [")
    lowest = awac["lowest of epochs 0–10"]
    assert lowest == "70.0 [60.0, 80.0]", "of seeds 80 and 60; the 10 comes later"
    assert (awac["minutes a run"], sac["minutes a run"]) == ("12.5", "2")


def test_fig1_pools_lowest_scores_and_minutes_over_tasks(fig1):
    pooled = rows_of(fig1, "All tasks, on normalised scores", "awac")
    assert pooled["seeds"] == "4" and pooled["minutes a run"] == "12.5"
    assert pooled["lowest of epochs 0–10"].startswith("35.0 [")


def test_fig1_has_no_minutes_without_the_offline_stage(algorithms_done, tmp_path):
    shutil.copytree(algorithms_done, tmp_path / "runs")
    for summary in (tmp_path / "runs" / "offline").glob("Pendulum*__awac__0/summary.json"):
        summary.unlink()
    text = reproduce_fig1(tmp_path / "runs")
    assert rows_of(text, "Pendulum-v1 log", "awac")["minutes a run"] == "–"
    assert rows_of(text, "InvertedPendulum-v5 log", "awac")["minutes a run"] == "12.5"


def test_fig1_at_scale_quick_has_nothing_published(fig1):
    assert "ublished" not in fig1


def made(task, variants):
    """A run of each variant on a task with reference returns."""
    reference = ReferenceScores(0.0, 1000.0, source="test")
    returns = [300.0, 200.0, 500.0]
    rows = [
        {"stage": "online", "epoch": i, "env_steps": 1000 * i, "eval/return": value}
        for i, value in enumerate(returns)
    ]
    transfer = transfer_metrics(returns[0], returns[1:], reference=reference)
    return [
        Finished(Path(name), task, name, 0, transfer, rows, vars(reference)) for name in variants
    ]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_fig1_tells_all_algorithms_apart():
    runs = made("Pendulum-v1 log", ALGORITHMS)
    figure = draw_figure("fig1", runs, compare(runs), title="Who climbs?")
    # get_linestyle() calls all dashes "--".
    curves = [
        {(line.get_color(), str(line._unscaled_dash_pattern)) for line in axes.get_lines()}
        for axes in figure.axes
        if axes.get_ylabel() == "evaluated return"
    ]
    assert max(map(len, curves)) == MOST_CURVES
    assert len(set.intersection(*curves)) == 1, "the first one is in every panel"
    assert len(set.union(*curves)) == len(ALGORITHMS)
    assert figure.legends[0].get_title().get_text() == "Who climbs?"


def test_fig1_marks_published_numbers_where_there_are_some():
    runs = made("Hopper-v5 hopper-medium-replay", ["moore:1", "awac"])
    other = made("Pendulum-v1 log", ["moore:1", "sac"])
    with_marks = draw_figure("fig1", [*runs, *other], compare([*runs, *other]))
    shown = legend_of(with_marks)
    assert shown[:3] == ["moore:1", "awac", "sac"], "sac is in the second row alone"
    assert [name.split(",")[0] for name in shown[3:5]] == ["Balanced Replay", "SO2"]
    assert len(shown) == 6 and "D4RL v0" in shown[5]
    hollow = [[line for line in axes.get_lines() if line.get_marker() in "o>"]
              for axes in with_marks.axes]  # fmt: skip
    assert [len(lines) for lines in (hollow[0], hollow[2])] == [2, 0], "awac's"
    assert legend_of(draw_figure("fig1", other, compare(other))) == ["moore:1", "sac"]


def test_no_panel_has_more_than_six_curves_published_ones_included():
    runs = made("Hopper-v5 hopper-medium-replay", list(ALGORITHMS)[:5])
    figure = draw_figure("fig1", runs, compare(runs))
    curves = [
        [line for line in axes.get_lines() if line.get_marker() in ("None", "")]
        for axes in figure.axes
        if axes.get_ylabel() == "evaluated return"
    ]
    assert len(curves) == 2, "seven curves take two panels, with the first one in both"
    assert max(map(len, curves)) <= MOST_CURVES and sum(map(len, curves)) == 8


def test_a_figure_of_several_seeds_says_what_its_points_are_and_begins_dips_at_zero():
    runs = made("Pendulum-v1 log", ["moore:1", "awac"])
    again = [replace(run, seed=1) for run in runs]
    figure = draw_figure("fig2", [*runs, *again], compare([*runs, *again]))
    assert legend_of(figure)[2:] == ["a seed", "interquartile mean, 95% interval"]
    named = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert named["evaluated dip"].get_xlabel() == "of hand-over's worth"
    low, high = named["evaluated dip"].get_xlim()
    assert -0.1 * high < low < 0 < high


def test_panels_of_a_task_that_take_several_rows_are_counted():
    runs = made("Pendulum-v1 log", ALGORITHMS)
    titles = [axes.get_title(loc="left") for axes in draw_figure("fig1", runs, compare(runs)).axes]
    assert titles[0] == f"Pendulum-v1 log (1 of {len([t for t in titles if t])})"


def test_curves_lie_over_steps_in_the_environment():
    runs = made("Pendulum-v1 log", ["moore:1"])
    axes = draw_figure("fig2", runs, compare(runs)).axes[0]
    assert list(axes.get_lines()[0].get_xdata()) == [0, 1000, 2000]
    assert axes.get_xlabel() == "steps online (0: the hand-over)"


def test_curves_lie_over_epochs_where_a_run_has_logged_no_steps():
    runs = made("Pendulum-v1 log", ["moore:1", "awac"])
    for row in runs[1].rows:
        del row["env_steps"]
    axes = draw_figure("fig2", runs, compare(runs)).axes[0]
    assert [list(line.get_xdata()) for line in axes.get_lines()] == [[0, 1, 2]] * 2
    assert axes.get_xlabel() == "online epoch (0: the hand-over)"


def test_other_figures_have_no_published_marks():
    runs = made("Hopper-v5 hopper-medium-replay", ["moore:1", "awac"])
    assert legend_of(draw_figure("fig2", runs, compare(runs))) == ["moore:1", "awac"]
