"""Published learning curves: whose task they belong to, and where their marks are drawn."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from moore.evaluation.scores import reference_scores
from moore.presets import preset, preset_names
from moore.reports.compare import Finished
from moore.reports.published import (
    draw_published,
    draw_references,
    published,
    published_table,
    reference_labels,
    reference_names,
    sources,
    task_name,
)

# --- Which task ---


@pytest.mark.parametrize(
    ("env_id", "log", "name"),
    [
        ("Hopper-v5", "logs/hopper-medium-replay.hdf5", "hopper-medium-replay"),
        ("Hopper-v4", "/d4rl/hopper_medium_replay-v2.hdf5", "hopper-medium-replay"),
        ("Hopper-v5", "hopper-medium.hdf5, hopper-expert.hdf5", "hopper-medium-expert"),
        ("Hopper-v5", "hopper-expert+hopper-medium", "hopper-medium-expert"),
        ("Walker2d-v4", "walker2d_medium_expert-v2", "walker2d-medium-expert"),
        ("HalfCheetah-v5", "halfcheetah-random-v0.npz", "halfcheetah-random"),
    ],
)
def test_a_task_is_known_by_its_environment_and_log(env_id, log, name):
    assert task_name(env_id, log) == name


@pytest.mark.parametrize(
    ("env_id", "log"),
    [
        ("Hopper-v5", "walker2d-medium.hdf5"),
        ("Hopper-v5", "hopper-expert.hdf5"),
        ("Hopper-v5", "hopper-medium,hopper-random"),
        ("Hopper-v5", "hopper-medium,hopper-medium"),
        ("Hopper-v5", "my-hopper-medium.hdf5"),
        ("Hopper-v5", ""),
        ("Ant-v5", "ant-medium.hdf5"),
        ("Pendulum-v1", "builtin:pendulum-medium"),
        ("Hopper-v5", "minari:mujoco/hopper/medium-v0"),
    ],
)
def test_other_tasks_have_no_published_numbers(env_id, log):
    assert published(env_id, log) is None


@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_every_task_of_the_presets_has_its_numbers(scale):
    names = [name for name in preset_names() if name.startswith(f"{scale}/")]
    tasks = {task_name(preset(name).env_id, preset(name).dataset) for name in names}
    for source in sources():
        assert tasks == set(source["tasks"])
    assert {f"{scale}/{task}" for task in tasks} == set(names)


# --- Which numbers ---


def test_marks_are_steps_and_scores():
    marks = published("Hopper-v5", "hopper-medium-replay.hdf5")
    assert marks["balanced_replay"] == [
        (0, 37.6),
        (50_000, 94.7),
        (100_000, 97.2),
        (250_000, 104.3),
    ]
    assert marks["sac"][0] == (0, 3.9) and marks["awac"][-1] == (250_000, 78.3)


def test_no_curve_begins_below_its_own_lowest():
    for task in (task for source in sources() for task in source["tasks"].values()):
        for start, lowest, then, *_ in task.values():
            assert lowest is None or lowest <= min(start, then)


def test_every_source_names_the_version_of_its_data_in_the_legend():
    assert reference_labels() == {
        "balanced_replay": "Balanced Replay, published (D4RL v0)",
        "so2": "SO2, published (D4RL version not stated)",
    }


# --- Where they are drawn ---

COLORS = {"moore:1": "#0072b2", "awac": "#d55e00"}


def run(task="Hopper-v5 hopper-medium-replay", *, epochs, steps=1000):
    reference = vars(reference_scores(task.split()[0]))
    rows = [
        {"stage": "online", "epoch": epoch, "env_steps": epoch * steps, "eval/return": 0.0}
        for epoch in range(epochs + 1)
    ]
    return Finished(Path("run"), task, "awac", 0, {}, rows, reference)


def drawn(*runs):
    """The axes, and for each mark its shape, x and score."""
    axes = Figure().subplots()
    axes.plot([0, max(row["env_steps"] for row in runs[0].rows)], [0, 0], color="black")
    legend = draw_published(axes, runs, COLORS)
    expert, random = runs[0].reference["expert"], runs[0].reference["random"]
    lines = axes.get_lines()[1:]
    marks = [
        (
            line.get_marker(),
            line.get_xdata()[0],
            100 * (line.get_ydata()[0] - random) / (expert - random),
        )
        for line in lines
    ]
    return lines, marks, legend


def test_marks_lie_at_their_steps_and_the_last_at_the_edge_if_it_is_beyond():
    lines, marks, legend = drawn(run(epochs=100))
    assert [(shape, x) for shape, x, _ in marks] == [
        ("o", 0), ("o", 50_000), ("o", 100_000), (">", 1),
    ]  # fmt: skip
    assert [score for *_, score in marks] == pytest.approx([32.3, 54.1, 84.2, 78.3])
    assert {to_hex(line.get_color()) for line in lines} == {COLORS["awac"]}, "the others have none"
    assert [mark.get_marker() for mark in legend] == ["o", ">"]


def test_a_short_run_has_the_start_and_the_end():
    _, marks, _ = drawn(run(epochs=10))
    assert [(shape, x) for shape, x, _ in marks] == [("o", 0), (">", 1)]


def test_a_long_run_of_other_epochs_has_all_marks_at_their_steps():
    _, marks, _ = drawn(run(epochs=500, steps=500))
    assert [(shape, x) for shape, x, _ in marks] == [
        ("o", 0), ("o", 50_000), ("o", 100_000), ("o", 250_000),
    ]  # fmt: skip


def test_the_end_at_the_edge_is_within_the_axes():
    axes = Figure().subplots()
    axes.plot([0, 10_000], [0, 1])
    draw_published(axes, [run(epochs=10)], COLORS)
    (edge,) = (line for line in axes.get_lines() if line.get_marker() == ">")
    low, high = axes.get_ylim()
    assert low < edge.get_ydata()[0] < high and axes.get_xlim()[1] < 11_000


def test_a_task_without_published_numbers_has_no_marks():
    lines, _, legend = drawn(run("Hopper-v5 my-log", epochs=10))
    assert not lines and not legend


# --- Curves of others, behind the runs ---


def references(task="Hopper-v5 hopper-medium-replay", *, epochs):
    """The curves behind runs: for each its label, steps and scores."""
    axes = Figure().subplots()
    (ours,) = axes.plot([0, 1000 * epochs], [0, 0])
    axes.margins(x=0)
    runs = [run(task, epochs=epochs)]
    draw_references(axes, runs, reference_names(task))
    low, expert = (runs[0].reference[name] for name in ("random", "expert"))
    lines = axes.get_lines()[1:]
    assert all(line.get_zorder() < ours.get_zorder() for line in lines), "behind ours"
    score = [100 * (np.asarray(line.get_ydata()) - low) / (expert - low) for line in lines]
    return {
        line.get_label(): (list(line.get_xdata()), list(values))
        for line, values in zip(lines, score, strict=True)
    }


def test_curves_of_others_are_straight_between_their_points():
    balanced, so2 = references(epochs=300).values()
    assert balanced == (
        pytest.approx([0, 50e3, 100e3, 250e3]),
        pytest.approx([37.6, 94.7, 97.2, 104.3]),
    )
    assert so2 == (pytest.approx([5e3, 100e3]), pytest.approx([97, 101]))


def test_a_curve_ends_at_the_edge_and_does_not_widen_the_axes():
    balanced, so2 = references(epochs=10).values()
    assert balanced == (pytest.approx([0, 10e3]), pytest.approx([37.6, 37.6 + 0.2 * 57.1]))
    assert so2[0] == pytest.approx([5e3, 10e3])


def test_a_task_of_ones_own_has_no_curves_behind_it():
    assert reference_names("Hopper-v5 my-log") == []


# --- As a table ---


def test_the_table_names_seeds_data_and_source():
    text = published_table(["Pendulum-v1 builtin:pendulum-medium", "Hopper-v5 hopper-medium"])
    assert "| Hopper-v5 hopper-medium | awac | 4 | 93.7 | 84.8 | 96.6 | 97.6 | 91.8 |" in text
    assert "| Hopper-v5 hopper-medium | so2 | not stated | 98.0 | 80.0 | 101.0 |" in text
    assert "Lee et al. 2021" in text and "D4RL v0" in text and "Pendulum" not in text
    assert "Zhang et al. 2024" in text and "does not state" in text


def test_without_such_a_task_there_is_no_table():
    assert published_table(["Pendulum-v1 builtin:pendulum-medium"]) is None
