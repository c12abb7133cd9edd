"""Published learning curves on D4RL's MuJoCo tasks, a few points of each (published.json)."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import PurePath

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from moore.evaluation.scores import ReferenceScores
from moore.reports.compare import Finished

Marks = dict[str, list[tuple[int, float]]]

_TIERS = "random|medium|medium-replay|medium-expert|expert"
_LOG = re.compile(rf"(halfcheetah|hopper|walker2d)-({_TIERS})(?:-v\d+)?")
_HOLLOW = {"ls": "none", "ms": 5.5, "mew": 1.3, "mfc": "white", "zorder": 4, "clip_on": False}
_IN, _BEYOND = "o", ">"


@cache
def source() -> Mapping:
    """The content of published.json, the numbers with their descriptions."""
    text = resources.files("moore.reports").joinpath("published.json").read_text(encoding="utf-8")
    return json.loads(text)


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
    if robot is None or any(m is None or m[1] != robot[1].lower() for m in found):
        return None
    tiers = sorted(m[2] for m in found)
    tier = "medium-expert" if tiers == ["expert", "medium"] else "+".join(tiers)
    name = f"{robot[1].lower()}-{tier}"
    return name if name in source()["tasks"] else None


def published(env_id: str, log_name: str) -> Marks | None:
    """(environment steps, normalised score) of each algorithm; None for a task without numbers.

    Args:
        env_id, log_name: as for `task_name`.
    """
    name = task_name(env_id, log_name)
    if name is None:
        return None
    steps = source()["steps"]
    return {
        algorithm: [(at, v) for at, v in zip(steps, values, strict=True) if at is not None]
        for algorithm, values in source()["tasks"][name].items()
    }


def draw_published(
    axes: Axes, runs: Sequence[Finished], colors: Mapping[str, object]
) -> list[Line2D]:
    """Draws hollow marks on the axes of evaluated returns over epochs.

    A mark lies at its number of environment steps. If marks lie beyond the last epoch, only the
    last of them is drawn, at the right edge.

    Args:
        axes: axes with the curves.
        runs: runs of one task.
        colors: colours by variant; other algorithms are left out.

    Returns:
        One mark of each kind for the legend; empty if the task has no published numbers.
    """
    env_id, _, log = runs[0].task.partition(" ")
    marks, reference = published(env_id, log), runs[0].reference
    if marks is None or reference is None:
        return []
    scores = ReferenceScores(**{"source": "", **reference})
    steps, last = _steps_per_epoch(runs), _last_epoch(runs)
    axes.set_xlim(axes.get_xlim())
    for name in (name for name in marks if name in colors):
        for at, score in marks[name]:
            value = scores.random + score * (scores.expert - scores.random) / 100
            if steps and at <= last * steps:
                axes.plot(at / steps, value, _IN, color=colors[name], **_HOLLOW)
            elif at == marks[name][-1][0]:
                edge = axes.get_yaxis_transform()
                axes.plot(1, value, _BEYOND, color=colors[name], transform=edge, **_HOLLOW)
    return [Line2D([], [], marker=mark, color="#666666", **_HOLLOW) for mark in (_IN, _BEYOND)]


def _last_epoch(runs: Sequence[Finished]) -> int:
    return max((row["epoch"] for run in runs for row in _online(run)), default=0)


def _steps_per_epoch(runs: Sequence[Finished]) -> float | None:
    """Environment steps of an online epoch; None if no epoch was run."""
    rows = (row for run in runs for row in _online(run))
    found = (row["env_steps"] / row["epoch"] for row in rows if "env_steps" in row)
    return next(found, None)


def _online(run: Finished) -> list[dict]:
    """Rows of the online epochs after the hand-over."""
    return [row for row in run.rows if row.get("stage") == "online" and row["epoch"] > 0]


def published_table(tasks: Sequence[str]) -> str | None:
    """The numbers as a Markdown table with their source; None if no task has any.

    Args:
        tasks: environment and log, as in `Finished`.
    """
    known = source()
    lines = []
    for task in tasks:
        env_id, _, log = task.partition(" ")
        for algorithm, values in known["tasks"].get(task_name(env_id, log), {}).items():
            cells = [task, algorithm, str(known["seeds"]), *(f"{value:.1f}" for value in values)]
            lines.append(f"| {' | '.join(cells)} |")
    if not lines:
        return None
    titles = ["task", "", "seeds", *known["columns"]]
    head = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    note = (
        f"{known['source']}. {known['data']}: other files and environments than here. "
        f"Columns: environment steps; {known['scale']}."
    )
    return "\n".join([note, "", *head, *lines])
