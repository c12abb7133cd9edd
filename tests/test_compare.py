"""moore compare: cells, pooled estimates, who beats whom, and what is missing."""

import csv
import json

import numpy as np
import pytest

from moore import cli
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores
from moore.evaluation.stats import iqm
from moore.evaluation.transfer import transfer_metrics
from moore.reports.compare import compare
from moore.reports.compare_text import _improvement, format_comparison, write_csv
from moore.runs.finished import read_runs, unlike

REFERENCE = ReferenceScores(0.0, 200.0, source="test")


def finished(folder, *, seed, returns, offline=100.0, env="Task-v0", log="log.hdf5", **changes):
    """The files of a run whose evaluations were these."""
    folder.mkdir(parents=True)
    returns = [float(value) for value in returns]
    metrics = transfer_metrics(
        offline,
        returns,
        reference=REFERENCE,
        behaviour_offline=90.0,
        behaviour_returns=[[value - 10] for value in returns],
        log_return=70.0,
        yardstick=200.0,
    )
    summary = {
        "env_id": env,
        "algorithm": "moore",
        "scheme": "moore:1",
        "seed": seed,
        "dataset": {"name": f"/logs/{log}", "mean_return": 70.0},
        "yardstick": {"gap": 200.0, "between": "expert and random policy"},
        "reference": vars(REFERENCE),
        "transfer": metrics,
    }
    (folder / "summary.json").write_text(json.dumps(summary | changes))
    rows = [{"stage": "online", "epoch": i, "eval/return": value, "env_steps": i,
             "online/episode_returns": [value - 10] if i else [80.0, 100.0]}
            for i, value in enumerate([offline, *returns])]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.toml").write_text("seed = 0\n[online]\nupdates_per_step = 20\n")
    return folder


@pytest.fixture
def runs(tmp_path):
    """Two tasks, two variants; one cell lacks a seed."""
    for task in ("A-v0", "B-v0"):
        for seed in (0, 1, 2):
            rise = 120.0 + 10 * seed
            finished(tmp_path / f"{task}-m-{seed}", seed=seed, returns=[95, rise], env=task)
            if (task, seed) != ("B-v0", 2):
                name, low = f"{task}-u-{seed}", [50, rise - 15]
                naive = {"algorithm": "naive", "scheme": "uniform"}
                finished(tmp_path / name, seed=seed, returns=low, env=task, **naive)
    return tmp_path


def test_a_folder_stands_for_the_runs_in_it(runs):
    assert len(read_runs([runs])) == 11
    one = read_runs([runs / "A-v0-m-0"])[0]
    assert (one.task, one.variant, one.seed) == ("A-v0 log", "moore:1", 0)


def test_a_cell_has_every_seed_and_the_iqm_with_its_interval(runs):
    result = compare(read_runs([runs]))
    assert result["tasks"] == ["A-v0 log", "B-v0 log"]
    assert result["variants"] == ["moore:1", "naive"]
    cell = result["cells"][0]
    assert cell["seeds"] == [0, 1, 2]
    finals = [(95 + 120 + 10 * seed) / 2 for seed in (0, 1, 2)]
    assert cell["values"]["final"] == finals
    expected = iqm([np.array(finals)])
    assert cell["estimates"]["final"] == {
        "value": expected.value, "low": expected.low, "high": expected.high, "seeds": 3
    }  # fmt: skip
    assert cell["estimates"]["dip_share"]["value"] == pytest.approx(0.05)
    json.dumps(result)


def test_pooled_estimates_are_on_scores(runs):
    result = compare(read_runs([runs]))
    pooled = result["pooled"]["moore:1"]["offline"]
    assert (pooled["value"], pooled["seeds"]) == (50.0, 6)


def test_beside_the_variants_stands_the_policy_that_was_handed_over_frozen(runs):
    result = compare(read_runs([runs]))
    first = result["unchanging"][0]
    assert (first["variant"], first["seeds"]) == ("moore:1, frozen", [0, 1, 2])
    for name, value in {"dip_share": 0.0, "gain": 0.0, "final": 100.0}.items():
        assert first["estimates"][name]["value"] == value
    assert first["values"]["behaviour_worst_episode"] == [80.0] * 3
    assert first["values"]["behaviour_loss"] == [2 * (70.0 - 90.0)] * 3
    assert result["pooled_unchanging"]["moore:1, frozen"]["offline"]["value"] == 50.0
    assert "moore:1, frozen" not in result["variants"]


def test_variants_that_share_a_hand_over_have_one_frozen_row_and_a_clone_has_its_own(tmp_path):
    clone = {"return": 40.0, "acts": False}
    finished(tmp_path / "a", seed=0, returns=[90, 120], clone=clone)
    finished(tmp_path / "b", seed=0, returns=[70, 90], scheme="uniform")
    finished(tmp_path / "c", seed=0, returns=[70, 90], scheme="half_half", offline=50.0)
    result = compare(read_runs([tmp_path]))
    still = {cell["variant"]: cell["values"] for cell in result["unchanging"]}
    assert list(still) == ["moore:1, frozen", "moore:1, clone", "half_half, frozen"]
    assert still["moore:1, clone"]["final"] == [40.0]
    assert still["moore:1, clone"]["behaviour_loss"] == [None]
    text = format_comparison(result)
    assert text.count("moore:1, clone") == 2, "evaluated, and acting"


def test_who_beats_whom(runs):
    result = compare(read_runs([runs]))
    pair = next(p for p in result["improvement"] if p["first"] == "moore:1")
    assert pair["second"] == "naive" and pair["value"] == 1.0
    other = next(p for p in result["improvement"] if p["first"] == "naive")
    assert other["value"] == 0.0


def test_the_text_has_each_pair_once_and_of_many_variants_those_of_the_first():
    def told(variants):
        pairs = [
            {"first": a, "second": b, "value": 0.5, "low": None, "high": None}
            for a in variants
            for b in variants
            if a != b
        ]
        return _improvement(pairs).splitlines()[1:]

    assert told("abc") == ["  a > b: 0.50", "  a > c: 0.50", "  b > c: 0.50"]
    assert told("abcdef")[:5] == [f"  a > {name}: 0.50" for name in "bcdef"]
    assert told("abcdef")[5:] == ["  (every pair: the page, or --json)"]


def test_what_is_missing_is_named(runs):
    result = compare(read_runs([runs]))
    assert result["missing"] == [["B-v0 log", "naive", 2]]
    assert "naive on B-v0 log, seed 2" in format_comparison(result)


def test_a_seed_without_a_number_leaves_the_cell_without_an_estimate(tmp_path):
    finished(tmp_path / "a", seed=0, returns=[])
    finished(tmp_path / "b", seed=1, returns=[120])
    cell = compare(read_runs([tmp_path]))["cells"][0]
    assert cell["values"]["epochs_to_threshold"][0] == 0
    assert cell["estimates"]["final"]["value"] == pytest.approx(110)


def test_variants_can_be_told_apart_by_a_setting(tmp_path):
    finished(tmp_path / "a", seed=0, returns=[120])
    (run,) = read_runs([tmp_path], by=["online.updates_per_step"])
    assert run.variant == "moore:1 online.updates_per_step=20"
    (run,) = read_runs([tmp_path], by=["max_rows"])  # None, and so not written
    assert run.variant == "moore:1 max_rows=None"
    with pytest.raises(InputError, match=r"no setting 'online.bogus'"):
        read_runs([tmp_path], by=["online.bogus"])


def test_runs_of_one_variant_with_other_settings_or_another_log_are_told(tmp_path):
    folders = [finished(tmp_path / name, seed=i, returns=[120]) for i, name in enumerate("abc")]
    assert unlike(read_runs([tmp_path])) == []
    settings = folders[2] / "config.toml"
    settings.write_text("seed = 2\ncheckpoint_every = 3\n[online]\nupdates_per_step = 20\n")
    assert unlike(read_runs([tmp_path])) == []  # none of their results depends on these
    settings.write_text("seed = 2\n[online]\nupdates_per_step = 40\n")
    (note,) = unlike(read_runs([tmp_path]))
    assert "moore:1 on Task-v0 log differ in online.updates_per_step," in note
    assert "--by online.updates_per_step tells them apart" in note
    assert unlike(read_runs([tmp_path], by=["online.updates_per_step"])) == []
    settings.write_text("of_another_version = 1")
    assert unlike(read_runs([tmp_path])) == []
    for folder, sha256 in zip(folders, ("a", "a", "b"), strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        summary["dataset"]["sha256"] = sha256
        (folder / "summary.json").write_text(json.dumps(summary))
    (note,) = unlike(read_runs([tmp_path]))
    assert "different logs with the same name" in note


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({"dataset": {"name": "log.hdf5", "sha256": "b"}}, "", "have learned from different logs"),
        ({}, "env_args = '{\"load\": 5}'", "differ in env_args, so that what they show was not"),
        (
            {},
            "[online]\nepochs = 7\nsteps_per_epoch = 2000",
            "online.epochs, online.steps_per_epoch",
        ),
        ({}, "[evaluation]\nepisodes = 3", "differ in evaluation.episodes"),
        ({}, "[awac]\ntemperature = 3.0", None),  # each variant has settings of its own
    ],
)
def test_variants_of_one_task_that_were_not_measured_alike_are_told(
    changes, settings, words, tmp_path
):
    log = {"name": "log.hdf5", "sha256": "a"}
    finished(tmp_path / "a", seed=0, returns=[120], dataset=log)
    both = {"algorithm": "awac", "dataset": log} | changes
    finished(tmp_path / "b", seed=0, returns=[130], **both)
    (tmp_path / "a" / "config.toml").write_text('algorithm = "awac"\n')
    (tmp_path / "b" / "config.toml").write_text(f'algorithm = "awac"\n{settings}\n')
    notes = unlike(read_runs([tmp_path]))
    assert notes == [] if words is None else words in " ".join(notes) and len(notes) == 1
    named = [name for name in ("env_args", "evaluation.episodes") if words and name in words]
    assert unlike(read_runs([tmp_path], by=named), by=named) == ([] if named else notes)


def test_the_command_says_which_runs_are_unlike(tmp_path, capsys):
    for i, name in enumerate("ab"):
        finished(tmp_path / name, seed=i, returns=[120])
    (tmp_path / "b" / "config.toml").write_text("[online]\nupdates_per_step = 40\n")
    cli.main(["compare", str(tmp_path), "--json"])
    out, err = capsys.readouterr()
    assert json.loads(out)["cells"] and err.startswith(
        "note: the runs of moore:1 on Task-v0 log differ"
    )


def test_the_same_seed_twice_is_an_error(tmp_path):
    for name in "ab":
        finished(tmp_path / name, seed=0, returns=[120])
    with pytest.raises(InputError, match="has seed 0 twice"):
        read_runs([tmp_path])


def test_a_run_whose_metrics_are_not_all_there_is_refused(tmp_path):
    finished(tmp_path / "a", seed=0, returns=[110, 120], env_steps=2)
    assert read_runs([tmp_path / "a"])[0].seed == 0
    path = tmp_path / "a" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(InputError, match=r"ends after 1 steps, and summary\.json tells of 2"):
        read_runs([tmp_path / "a"])


def test_an_offline_run_has_nothing_to_compare(tmp_path):
    folder = finished(tmp_path / "a", seed=0, returns=[120], transfer=None)
    with pytest.raises(InputError, match="no online stage"):
        read_runs([folder])


def test_a_task_without_reference_returns_is_compared_on_returns(tmp_path):
    finished(tmp_path / "a", seed=0, returns=[120], reference=None)
    (run,) = read_runs([tmp_path])
    assert run.reference is None and run.unchanging["frozen"]["final"] == 100.0


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        read_runs([tmp_path])


def test_csv_has_a_line_a_seed(runs, tmp_path):
    write_csv(tmp_path / "all.csv", compare(read_runs([runs])))
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    assert len(rows) == 11
    assert rows[0]["variant"] == "moore:1" and float(rows[0]["gain"]) == pytest.approx(7.5)


def test_the_command_prints_tables_and_json(runs, capsys):
    cli.main(["compare", str(runs), "--csv", str(runs / "all.csv")])
    text = capsys.readouterr().out
    assert "A-v0 log" in text and "moore:1 > naive: 1.00 [1.00, 1.00]" in text
    cli.main(["compare", str(runs), "--json"])
    assert json.loads(capsys.readouterr().out)["variants"] == ["moore:1", "naive"]


def test_the_page_has_tables_and_curves_and_loads_nothing(runs, tmp_path, capsys):
    cli.main(["compare", str(runs), "--html", str(tmp_path / "all.html")])
    page = (tmp_path / "all.html").read_text()
    assert page.count("<svg") == 6
    assert "A-v0 log" in page and "naive on B-v0 log, seed 2" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    "line", ["compare", "compare --json", "compare nowhere", "compare {} --by x"]
)
def test_bad_input_is_one_line(line, runs, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(line.format(runs).split())
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
