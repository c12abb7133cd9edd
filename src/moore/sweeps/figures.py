"""The paper's figures as grids of runs, at three scales."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moore.algorithms import ALGORITHMS
from moore.errors import InputError, unknown
from moore.presets import preset
from moore.sweeps.grid import Grid


@dataclass(frozen=True)
class PaperFigure:
    """The comparison that a figure of the paper makes.

    Attributes:
        title: title of the figure.
        schemes: sampling schemes for the algorithm `moore`.
        alphas: decay rates; each adds the scheme moore with this alpha.
        presets: presets of the tasks, by scale.
        algorithms: names of algorithms.
        seeds: number of seeds by scale, if it is not the scale's own.
    """

    title: str
    schemes: tuple[str, ...]
    alphas: tuple[float, ...]
    presets: dict[str, tuple[str, ...]]
    algorithms: tuple[str, ...] = ("moore",)
    seeds: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Scale:
    """The size of the runs.

    Attributes:
        seeds: number of seeds of every cell.
        settings: settings that replace those of the presets.
    """

    seeds: tuple[int, ...]
    settings: dict = dataclasses.field(default_factory=dict)


_QUICK = ("quick/pendulum", "quick/inverted-pendulum")
_LAPTOP = ("laptop/hopper-medium-replay", "laptop/halfcheetah-medium-replay")
_PAPER = tuple(f"paper/{env}-medium-replay" for env in ("halfcheetah", "hopper", "walker2d"))

_ALL_TASKS = tuple(
    f"{env}-{tier}"
    for env in ("halfcheetah", "hopper", "walker2d")
    for tier in ("random", "medium", "medium-replay", "medium-expert")
)

FIGURES = {
    "fig1": PaperFigure(
        "MOORe and other ways from offline to online",
        schemes=("moore:1",),
        alphas=(),
        algorithms=tuple(name for name in ALGORITHMS if name not in ("half_half", "online_only")),
        presets={
            "quick": _QUICK,
            # Hopper and HalfCheetah; for Walker2d, `moore collect` makes logs.
            "laptop": tuple(f"laptop/{task}" for task in _ALL_TASKS if "walker" not in task),
            "paper": tuple(f"paper/{task}" for task in _ALL_TASKS),
        },
        seeds={"quick": 5, "laptop": 1},
    ),
    "fig2": PaperFigure(
        "Sampling schemes",
        schemes=("moore:1", "half_half", "online_only", "uniform"),
        alphas=(),
        # The paper does not name the tasks of Fig. 2 in its text: the three medium-replay ones.
        presets={"quick": _QUICK, "laptop": _LAPTOP, "paper": _PAPER},
    ),
    "fig3": PaperFigure(
        "The decay rate alpha",
        schemes=(),
        alphas=(0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0),  # section 4.2
        presets={"quick": _QUICK, "laptop": _LAPTOP, "paper": _PAPER[:1]},
    ),
    # The runs of Fig. 2, with other plots.
    "fig4": PaperFigure(
        "The models' uncertainty online",
        schemes=("moore:1", "half_half", "online_only", "uniform"),
        alphas=(),
        presets={"quick": _QUICK, "laptop": _LAPTOP, "paper": _PAPER},
    ),
}

SCALES = {
    "quick": Scale(seeds=tuple(range(8))),
    # The hand-over alone: dips are looked for in the first 10 epochs.
    "laptop": Scale(seeds=(0, 1), settings={"online": {"epochs": 10}}),
    "paper": Scale(seeds=tuple(range(5))),
}


def figure_grid(
    figure: str, scale: str, *, data: Path = Path("."), seeds: Sequence[int] = ()
) -> Grid:
    """The runs behind a figure.

    Args:
        figure: a name in FIGURES.
        scale: a name in SCALES.
        data: folder of the logs that the presets name.
        seeds: seeds to use instead of the scale's.

    Raises:
        InputError: a name is unknown.
    """
    for name, known, what in ((figure, FIGURES, "figure"), (scale, SCALES, "scale")):
        if name not in known:
            raise unknown(what, name, known)
    plan, size = FIGURES[figure], SCALES[scale]
    presets = plan.presets[scale]
    return Grid(
        presets=presets,
        datasets=tuple(_log(preset(name).dataset, data) for name in presets),
        schemes=plan.schemes,
        alphas=plan.alphas,
        algorithms=plan.algorithms,
        seeds=tuple(seeds) or size.seeds[: plan.seeds.get(scale)],
        settings=size.settings,
    )


def _log(name: str, data: Path) -> str:
    """The path of a log in the data folder."""
    if name.startswith("builtin:"):
        return name
    return ",".join(str(data / part) for part in name.split(","))


def check_logs(grid: Grid) -> None:
    """Checks that all logs of a grid exist, before its first run.

    Raises:
        InputError: a log is missing.
    """
    files = [file for log in grid.datasets for file in log.split(",")]
    missing = [f for f in files if not f.startswith("builtin:") and not Path(f).exists()]
    if missing:
        raise InputError(
            f"{' and '.join(dict.fromkeys(missing))} not found; name the folder of the logs with "
            "--data (`moore collect` makes logs: docs/log-making.md), or the tasks to run with "
            "--tasks."
        )
