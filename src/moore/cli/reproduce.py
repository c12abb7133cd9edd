"""The command `moore reproduce`: makes a figure of the paper."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from moore.cli.parse import example, seed_list, with_target, words
from moore.console import show
from moore.errors import InputError


@example("moore reproduce fig2 --scale quick")
@dataclass(frozen=True)
class ReproduceOptions:
    """Makes a figure of the paper: does its runs, then writes tables and plots of them.

    fig1 compares MOORe with other algorithms, fig2 the sampling schemes, fig3 the decay rates
    alpha, fig4 shows the uncertainty in the runs of fig2. The figures share their offline stages
    and the runs of alpha 1. If it is interrupted, the same command goes on where it stopped.

    Attributes:
        scale: quick (two small tasks whose logs ship with the package, 8 seeds, about an hour on
            two cores), laptop (MuJoCo logs of your own, 2 seeds, a day) or paper (its sizes, 5
            seeds). For fig1 quick has 5 seeds and takes two hours, laptop has 1 seed and takes some
            days, paper has 5 seeds.
        out: folder of the runs; by default runs/reproduce-SCALE.
        report: folder for FIGURE-SCALE.md, .png, .html, .csv and -curves.csv; by default --out.
        data: folder of the logs that the presets name, for laptop and paper.
        seeds: seeds to use instead of the scale's; numbers and ranges, such as 0-7,20.
        tasks: run only these tasks, such as hopper-medium-replay,pendulum; the report says of the
            others that they were not run.
        algorithms: run only these algorithms; for fig1.
        run: with --no-run nothing is run, and the report covers the runs that are done.
        jobs: number of processes at a time; 0 starts one a core.
        ray: address of a Ray cluster, or "local", to use instead of processes.
        json: print the result as JSON.
        quiet: do not show progress.
    """

    scale: Literal["quick", "laptop", "paper"] = "quick"
    out: Path | None = None
    report: Path | None = None
    data: Path = Path(".")
    seeds: str = ""
    tasks: str = ""
    algorithms: str = ""
    run: bool = True
    jobs: int = 0
    ray: str | None = None
    json: bool = False
    quiet: bool = False


def reproduce_figure(arguments: list[str]) -> None:
    figure, options = with_target(ReproduceOptions, arguments, "reproduce", "FIGURE")

    from moore.files import whole_path
    from moore.sweeps.figures import check_logs, figure_grid
    from moore.sweeps.grid import cells
    from moore.sweeps.sweep import sweep

    seeds = seed_list(options.seeds)
    grid = figure_grid(figure, options.scale, data=options.data, seeds=seeds)
    out = whole_path(options.out or Path("runs") / f"reproduce-{options.scale}")
    planned = cells(grid, out)
    outcome = None
    if options.run:
        part = _part(grid, words(options.tasks), words(options.algorithms))
        check_logs(part)
        outcome = sweep(
            cells(part, out), jobs=options.jobs, ray_address=options.ray, quiet=options.quiet
        )

    from moore.reports.compare_text import format_comparison
    from moore.sweeps.figure_page import write_figure

    result = write_figure(figure, options.scale, planned, options.report or out)
    show(json.dumps(result, indent=1) if options.json else format_comparison(result))
    if not options.json:
        show(f"\nwritten: {options.report or out}/{figure}-{options.scale}.md, .png, .html, .csv")
    if outcome is not None and outcome.failed:
        raise SystemExit(1)


def _part(grid, tasks: list[str], algorithms: list[str]):
    """The part of the grid with these tasks and algorithms; an empty list stands for all."""
    names = [preset.split("/")[1] for preset in grid.presets]
    for wanted, known in ((tasks, names), (algorithms, grid.algorithms)):
        if unknown := [name for name in wanted if name not in known]:
            raise InputError(f"'{unknown[0]}' is none of the figure's: {', '.join(known)}.")
    places = [i for i, name in enumerate(names) if not tasks or name in tasks]
    return replace(
        grid,
        presets=tuple(grid.presets[i] for i in places),
        datasets=tuple(grid.datasets[i] for i in places),
        algorithms=tuple(algorithms) or grid.algorithms,
    )
