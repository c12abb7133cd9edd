"""The command `moore sweep`: runs the cells of a grid."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from moore.cli.parse import example, parse, seed_list, words
from moore.console import show
from moore.errors import InputError

if TYPE_CHECKING:
    from moore.sweeps.grid import Grid


def options_class() -> type[Any]:
    """The options, made in a function because they need tyro."""
    import tyro

    @example(
        "moore sweep --presets quickstart --schemes moore:1,uniform --seeds 0-7 --out sweeps/a"
    )
    @dataclass(frozen=True)
    class Options:
        """Runs every combination of a grid; the same command again goes on where it stopped.

        Commas separate the entries of a list. The offline stage is trained once for each task and
        seed, and all online stages start from it. `moore compare OUT` shows the results.

        Attributes:
            out: folder of the sweep, or a URL such as s3://bucket/sweeps/a, to which each cell is
                copied after each of its checkpoints.
            grid: a TOML file with presets, datasets, algorithms, schemes, alphas, penalties, seeds
                as lists and further settings under [settings]; flags replace its lists.
            presets: names of presets, one for each task.
            datasets: logs to use instead of the presets' own, one for each preset. A log of several
                files is written "a.hdf5,b.hdf5" in the list of a grid file.
            algorithms: names of algorithms; by default each preset's own, or moore if schemes are
                given.
            schemes: sampling schemes for the algorithm moore.
            alphas: decay rates; each adds the scheme moore with this alpha.
            penalties: coefficients of the penalty on uncertainty, each with offline stages of its
                own; compare them with --by penalty_coef.
            seeds: numbers and ranges, such as 0-7,20.
            set: a setting for all runs, such as online.epochs=10; may be repeated.
            share_offline: train the offline stage once for all variants.
            jobs: number of processes at a time, 0 starts one a core; with --together number of
                cells at a time, 0 runs all.
            together: run the cells side by side in one process, which compiles every program once.
            batch: with --together, whether equal calls of the cells are one batched program; auto
                does so on a GPU but not on a CPU, where it is slower.
            ray: address of a Ray cluster, or "local", to use instead of processes. Its nodes see
                the folder of the sweep at the same path; cells of a node that is lost go on
                elsewhere from their last checkpoint.
            cpus: with --ray, number of CPUs that a cell needs; by default 1.
            gpus: with --ray, number of GPUs that a cell needs; 0.25 lets four share one. By
                default none.
            json: print the result as JSON.
            quiet: do not show progress.
        """

        out: str
        grid: Path | None = None
        presets: str = ""
        datasets: str = ""
        algorithms: str = ""
        schemes: str = ""
        alphas: str = ""
        penalties: str = ""
        seeds: str = ""
        set: Annotated[list[str], tyro.conf.UseAppendAction] = field(default_factory=list)
        share_offline: bool = True
        jobs: int = 0
        together: bool = False
        batch: Literal["auto", "yes", "no"] = "auto"
        ray: str | None = None
        cpus: float | None = None
        gpus: float | None = None
        json: bool = False
        quiet: bool = False

    return Options


def sweep_grid(arguments: list[str]) -> None:
    options: Any = parse(options_class(), arguments, "sweep")

    from moore.files import whole_path
    from moore.runs.mirror import is_url
    from moore.sweeps.grid import cells
    from moore.sweeps.sweep import sweep

    out = options.out if is_url(options.out) else whole_path(options.out)
    planned = cells(_grid(options), out, share_offline=options.share_offline)
    outcome = sweep(
        planned,
        jobs=options.jobs,
        ray_address=options.ray,
        needs=_needs(options),
        together=options.together,
        batch=options.batch,
        quiet=options.quiet,
    )
    if options.json:
        print(json.dumps(vars(outcome), indent=1))
    else:
        then = "" if is_url(options.out) else f": moore compare {options.out}"
        show(f"{len(outcome.done)} of {len(planned)} cells done{then}")
        for folder, error in outcome.failed.items():
            show(f"failed: {folder}: {error.splitlines()[-1]} (the whole error is in {folder}.log)")
        for folder in outcome.skipped:
            show(f"not run: {folder}: its offline stage failed")
    if outcome.failed:
        raise SystemExit(1)


def _needs(options):
    """The cores and GPUs that each cell needs; None if no flag says it."""
    from moore.sweeps.needs import Needs

    given = {"cpus": options.cpus, "gpus": options.gpus}
    given = {name: value for name, value in given.items() if value is not None}
    return Needs(**given) if given else None


def _grid(options: Any) -> "Grid":
    """The grid of the file, with the lists of the flags in place of its own."""
    import dataclasses

    from moore.sweeps.grid import Grid, read_grid

    grid = Grid() if options.grid is None else read_grid(options.grid)
    changes: dict = {
        name: tuple(found)
        for name in ("presets", "datasets", "algorithms", "schemes")
        if (found := words(getattr(options, name)))
    }
    for name in ("alphas", "penalties"):
        if found := words(getattr(options, name)):
            changes[name] = tuple(_number(word, f"--{name}") for word in found)
    if options.seeds:
        changes["seeds"] = seed_list(options.seeds)
    if options.set:
        changes["settings"] = _merge(grid.settings, options.set)
    return dataclasses.replace(grid, **changes)


def _number(word: str, flag: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InputError(f"{flag}: '{word}' is not a number.") from None


def _merge(settings: dict, assignments: list[str]) -> dict:
    """Puts each `a.b=value` into nested settings; a value that is not TOML is a text."""
    import copy
    import tomllib

    result = copy.deepcopy(settings)
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--set {text}: expected name=value, such as online.epochs=10.")
        try:
            parsed = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            parsed = value
        *tables, leaf = name.split(".")
        place = result
        for table in tables:
            place = place.setdefault(table, {})
        place[leaf] = parsed
    return result
