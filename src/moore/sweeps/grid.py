"""A grid of runs (presets, algorithms, schemes, alphas, penalties, seeds), and its cells."""

import dataclasses
import hashlib
import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moore import algorithms
from moore.config import Config, flat, from_dict, to_dict
from moore.errors import InputError
from moore.numbers import in_full
from moore.presets import preset
from moore.runs.mirror import is_url
from moore.sweeps.cell import Cell

# Lists of a grid that hold numbers.
_NUMBERS = ("alphas", "penalties")
# Settings that lists decide, whatever a grid's settings say.
_DECIDED = {
    "seed": "seeds",
    "algorithm": "algorithms",
    "dataset": "datasets",
    "penalty_coef": "penalties",
    "online.scheme": "schemes",
    "online.alpha": "alphas",
}


@dataclass(frozen=True)
class Grid:
    """The lists of a sweep, which runs every combination of their entries.

    Attributes:
        presets: names of presets, one for each task.
        datasets: logs that replace the preset's; with several presets, one for each.
        algorithms: names of algorithms; if empty, each preset's own, or `moore` if schemes are
            given.
        schemes: sampling schemes for the algorithm `moore`; if empty, the preset's.
        alphas: decay rates; each adds the scheme moore with this alpha.
        penalties: coefficients of the penalty on uncertainty, for algorithms with models; if empty,
            the preset's. Each has offline stages of its own.
        seeds: seeds of the runs.
        settings: further settings of all runs, as nested dictionaries.
    """

    presets: tuple[str, ...] = ("quickstart",)
    datasets: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    alphas: tuple[float, ...] = ()
    penalties: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (0,)
    settings: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name in ("presets", "seeds"):
            if not getattr(self, name):
                raise InputError(f"the grid has no {name}; give at least one.")
        if self.datasets and len(self.datasets) != len(self.presets):
            raise InputError(
                f"{len(self.datasets)} data sets for {len(self.presets)} presets; give as many."
            )
        for name in self.algorithms:
            algorithms.find(name)
        self._check_lists()

    def _check_lists(self) -> None:
        """Raises InputError for a setting or a list that would change nothing."""
        decided = {"seed", "algorithm"} | ({"dataset"} if self.datasets else set())
        decided |= {"penalty_coef"} if self.penalties else set()
        if self.schemes or self.alphas:
            decided.add("online.scheme")
            if "moore" not in self.schemes:  # which leaves alpha open
                decided.add("online.alpha")
        if ignored := sorted(decided & flat(self.settings).keys()):
            name = ignored[0]
            raise InputError(
                f"the setting {name} would change nothing, since the {_DECIDED[name]} of the grid "
                f"decide it; give the {_DECIDED[name]} that you want."
            )
        if not self.algorithms:
            return
        for names, used in (
            (("schemes", "alphas"), "moore" in self.algorithms),
            (("penalties",), any(self.penalties_of(name) != (None,) for name in self.algorithms)),
        ):
            if not used and (given := [name for name in names if getattr(self, name)]):
                raise InputError(
                    f"the {given[0]} would change nothing: none of the algorithms "
                    f"{', '.join(self.algorithms)} has them; leave them out, or add moore."
                )

    def variants(self, place: int) -> list[tuple[str, str | None]]:
        """The pairs (algorithm, scheme) on a preset; None is the preset's or algorithm's scheme."""
        own = [*self.schemes, *(f"moore:{in_full(alpha)}" for alpha in self.alphas)]
        usual = "moore" if own else preset(self.presets[place]).algorithm
        result = []
        for name in self.algorithms or (usual,):
            schemes = own if name == "moore" and own else [None]
            result += [(name, scheme) for scheme in schemes]
        return list(dict.fromkeys(result))

    def penalties_of(self, algorithm: str) -> tuple[float | None, ...]:
        """The coefficients that an algorithm runs with; None is the preset's."""
        has_models = algorithms.find(algorithm).experience.has_models
        return tuple(dict.fromkeys(self.penalties)) if has_models and self.penalties else (None,)


def read_grid(path: Path) -> Grid:
    """Reads a grid from a TOML file with the fields of `Grid`; `[settings]` holds settings of runs.

    Raises:
        InputError: the file cannot be read, a field is unknown, or an entry has the wrong type.
    """
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a grid ({error}).") from None
    known = {field.name for field in dataclasses.fields(Grid)}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{path}: unknown field '{name}'; the known ones are {sorted(known)}.")
        if name == "settings":
            continue
        kinds = {"seeds": (int,)}.get(name, (int, float) if name in _NUMBERS else (str,))
        if not isinstance(value, list) or any(type(entry) not in kinds for entry in value):
            wanted = {"seeds": "integers"}.get(name, "numbers" if name in _NUMBERS else "strings")
            raise InputError(f"{path}: '{name}' is {value!r}; expected a list of {wanted}.")
    fields: dict[str, Any] = {k: v if k == "settings" else tuple(v) for k, v in values.items()}
    return Grid(**fields)


def cells(grid: Grid, out: Path | str, *, share_offline: bool = True) -> list[Cell]:
    """All runs of the grid, beginning with the offline stages that several of them share.

    Args:
        grid: the grid.
        out: folder of the sweep, or its URL.
        share_offline: train the offline stage once for each task and seed, and start the online
            stages of all variants from it; if false, every run trains its own.

    Raises:
        InputError: two runs would have the same folder.
    """
    offline: dict[str, Cell] = {}
    runs = []
    for place in range(len(grid.presets)):
        variants = [
            (algorithm, scheme, penalty)
            for algorithm, scheme in grid.variants(place)
            for penalty in grid.penalties_of(algorithm)
        ]
        for algorithm, scheme, penalty in variants:
            _, moore = _task(grid, place, "moore", penalty)
            task, base = _task(grid, place, algorithm, penalty)
            for seed in grid.seeds:
                config = _cell_config(base, scheme, seed)
                folder = _below(out, f"{task}__{_label(config)}__{seed}")
                table = to_dict(config)
                if not (share_offline and _has_offline_stage(config)):
                    runs.append(Cell(folder, table))
                    continue
                key = _offline_key(table)
                if key not in offline:
                    of_moore = to_dict(dataclasses.replace(moore, seed=seed))
                    as_moore = key == _offline_key(of_moore)
                    offline[key] = _offline(config, task, out, as_moore=as_moore)
                runs.append(Cell(folder, table, "online", offline[key].folder))
    planned = [*offline.values(), *runs]
    for folder, count in Counter(cell.folder for cell in planned).items():
        if count > 1:
            raise InputError(
                f"{count} runs of the grid would have the folder {folder}; "
                "name no preset, log or seed twice, and give different logs different names."
            )
    return planned


def _task(
    grid: Grid, place: int, algorithm: str, penalty: float | None = None
) -> tuple[str, Config]:
    """The name and the configuration of a task, from one of the presets, with this penalty."""
    config = from_dict(grid.settings, base=preset(grid.presets[place], algorithm=algorithm))
    if grid.datasets:
        config = dataclasses.replace(config, dataset=grid.datasets[place])
    logs = "+".join(Path(p.strip().replace(":", "-")).stem for p in config.dataset.split(","))
    name = f"{config.env_id or 'env'}-{logs}".replace("/", "-")
    if penalty is None:
        return name, config
    name += f"-penalty-{in_full(penalty)}"
    return name, dataclasses.replace(config, penalty_coef=float(penalty))


def _cell_config(base: Config, scheme: str | None, seed: int) -> Config:
    config = dataclasses.replace(base, seed=seed)
    if scheme is None:
        return config
    return dataclasses.replace(config, online=dataclasses.replace(config.online, scheme=scheme))


def _label(config: Config) -> str:
    """The variant as part of a folder's name."""
    if config.algorithm != "moore":
        return config.algorithm
    return str(config.online.parsed_scheme()).replace(":", "-").replace("/", "-")


def _offline_key(table: dict) -> str:
    """The settings that the offline stage depends on, which are all but those of the online one."""
    rest = {k: v for k, v in table.items() if k not in ("online", "algorithm")}
    row = algorithms.find(table["algorithm"])
    rest |= {"experience": row.experience.name, "agent": row.agent.name}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _offline(config: Config, task: str, out: Path | str, *, as_moore: bool) -> Cell:
    """The offline stage, with settings that suit all runs that share it; moore's if they can."""
    plain = dataclasses.replace(config.online, scheme="moore", alpha=1.0, penalty_coef=None)
    config = dataclasses.replace(config, online=plain)
    if as_moore:
        config, name = dataclasses.replace(config, algorithm="moore"), task
    else:
        name = f"{task}__{config.algorithm}"
    folder = _below(out, "offline", f"{name}__{config.seed}")
    return Cell(folder, to_dict(config), "offline")


def _below(out: Path | str, *names: str) -> str:
    return "/".join([str(out), *names]) if is_url(out) else str(Path(out, *names))


def _has_offline_stage(config: Config) -> bool:
    return algorithms.find(config.algorithm).uses_log and config.offline.epochs > 0
