"""Published learning curves on D4RL's MuJoCo tasks, a few points of each (published.json)."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from moore.evaluation.scores import ReferenceScores
from moore.reports.compare import Finished
from moore.reports.variants import epoch_steps

Marks = dict[str, list[tuple[int, float]]]

_TIERS = "random|medium|medium-replay|medium-expert|expert"
_LOG = re.compile(rf"(halfcheetah|hopper|walker2d)-({_TIERS})(?:-v\d+)?")
_HOLLOW: dict[str, Any] = {
    "ls": "none",
    "ms": 5.5,
    "mew": 1.3,
    "mfc": "white",
    "zorder": 4,
    "clip_on": False,
}
_IN, _BEYOND = "o", ">"
_REFERENCE_STYLES = {"balanced_replay": "-", "so2": (0, (5, 2))}


@cache
def sources() -> Sequence[Mapping]:
    """The content of published.json: for each publication its numbers, with their descriptions."""
    text = resources.files("moore.reports").joinpath("published.json").read_text(encoding="utf-8")
    return json.loads(text)["curves"]


def task_name(env_id: str, log_name: str) -> str | None:
    """D4RL's name of a task, such as hopper-medium-replay; None for any other task.

    Args:
        env_id: id of the environment, of any version.
        log_name: file names joined by commas or plus signs, with or without folders, suffixes and
            versions; a medium and an expert log together count as medium-expert.
    """
    parts = [PurePath(part.strip()).stem for part in re.split(r"[,+]", log_name)]
    found = [_LOG.fullmatch(part.lower().replace("_", "-")) for part in parts]
    robot = re.fullmatch(r"(HalfCheetah|Hopper|Walker2d)-v\d+", env_id)
    known = [m for m in found if m is not None]
    if robot is None or len(known) < len(found) or any(m[1] != robot[1].lower() for m in known):
        return None
    tiers = sorted(m[2] for m in known)
    tier = "medium-expert" if tiers == ["expert", "medium"] else "+".join(tiers)
    name = f"{robot[1].lower()}-{tier}"
    return name if any(name in source["tasks"] for source in sources()) else None


def published(env_id: str, log_name: str) -> Marks | None:
    """(environment steps, normalised score) of each algorithm; None for a task without numbers.

    Args:
        env_id, log_name: as for `task_name`.
    """
    name = task_name(env_id, log_name)
    if name is None:
        return None
    return {
        algorithm: [
            (at, float(v))
            for at, v in zip(source["steps"], values, strict=True)
            if at is not None and v is not None
        ]
        for source in sources()
        for algorithm, values in source["tasks"].get(name, {}).items()
    }


def reference_names(task: str) -> list[str]:
    """The algorithms of others whose published curves are drawn behind those of a task.

    Args:
        task: environment and log, as in `Finished`.
    """
    env_id, _, log = task.partition(" ")
    return list(reference_labels()) if published(env_id, log) else []


@cache
def reference_labels() -> Mapping[str, str]:
    """What a legend says of each curve of others; with the version of the data."""
    return {name: text for source in sources() for name, text in source["labels"].items()}


def draw_references(axes: Axes, runs: Sequence[Finished], names: Sequence[str]) -> None:
    """Draws published curves of others on axes of returns over steps, faintly, behind the runs.

    A curve is straight between its published points, and ends at the right edge of the axes.

    Args:
        axes: axes with the curves of the runs.
        runs: runs of one task.
        names: of the algorithms, as `reference_names` has them.
    """
    marks, value = _in_returns(runs)
    axes.set_xlim(axes.get_xlim())
    for name in names if epoch_steps(runs) else ():
        steps, scores = _up_to(axes.get_xlim()[1], marks[name])
        axes.plot(
            steps,
            [value(score) for score in scores],
            label=reference_labels()[name],
            color="#8c8c8c",
            lw=1.4,
            zorder=1,
            ls=_REFERENCE_STYLES[name],
        )


def _up_to(edge: float, points: Sequence[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and scores of a curve that ends at a step."""
    steps, scores = zip(*points, strict=True)
    before = [at for at in steps if at < edge]
    shown = np.asarray([*before, *([min(edge, steps[-1])] if before else [])], float)
    return np.unique(shown), np.interp(np.unique(shown), steps, scores)


def draw_published(
    axes: Axes, runs: Sequence[Finished], colors: Mapping[str, object]
) -> list[Line2D]:
    """Draws hollow marks on axes of evaluated returns over steps.

    A mark lies at its number of environment steps. If marks lie beyond the last step, only the last
    of them is drawn, at the right edge.

    Args:
        axes: axes with the curves.
        runs: runs of one task.
        colors: colours by variant; other algorithms are left out.

    Returns:
        One mark of each kind for the legend; empty if the task has no published numbers.
    """
    marks, value = _in_returns(runs)
    steps = epoch_steps(runs)
    if not marks or not steps:
        return []
    axes.set_xlim(axes.get_xlim())
    for name in (name for name in marks if name in colors):
        for at, score in marks[name]:
            if at <= max(steps.values()):
                axes.plot(at, value(score), _IN, color=colors[name], **_HOLLOW)
            elif at == marks[name][-1][0]:
                edge = axes.get_yaxis_transform()
                axes.plot(1, value(score), _BEYOND, color=colors[name], transform=edge, **_HOLLOW)
    return [Line2D([], [], marker=mark, color="#666666", **_HOLLOW) for mark in (_IN, _BEYOND)]


def _in_returns(runs: Sequence[Finished]) -> tuple[Marks, Callable[[float], float]]:
    """The published points of a task, and the return that a score is; no points if unknown."""
    env_id, _, log = runs[0].task.partition(" ")
    marks, reference = published(env_id, log), runs[0].reference
    if marks is None or reference is None:
        return {}, float
    scores = ReferenceScores(**{"source": "", **reference})
    return marks, lambda score: scores.random + score * (scores.expert - scores.random) / 100


def published_table(tasks: Sequence[str]) -> str | None:
    """The numbers as Markdown tables, one a source; None if no task has any.

    Args:
        tasks: environment and log, as in `Finished`.
    """
    found = [table for source in sources() if (table := _table(source, tasks))]
    return "\n\n".join(found) or None


def _table(source: Mapping, tasks: Sequence[str]) -> str:
    lines = []
    for task in tasks:
        env_id, _, log = task.partition(" ")
        for algorithm, values in source["tasks"].get(task_name(env_id, log), {}).items():
            points = ["–" if value is None else f"{value:.1f}" for value in values]
            cells = [task, algorithm, str(source["seeds"] or "not stated"), *points]
            lines.append(f"| {' | '.join(cells)} |")
    if not lines:
        return ""
    titles = ["task", "", "seeds", *source["columns"]]
    head = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    note = (
        f"{source['source']}. {source['data']}: other files and environments than here. "
        f"Columns: environment steps; {source['scale']}."
    )
    return "\n".join([note, "", *head, *lines])
