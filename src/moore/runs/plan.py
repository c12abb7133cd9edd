"""The plan of a run: metadata of its folder that no result depends on."""

import json
import os
import shlex
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moore.envs.make import EnvSource
from moore.errors import InputError
from moore.files import short_path, write_whole
from moore.runs.checkpoint import SEAL, is_sealed, sealed

Stages = Literal["both", "offline", "online"]
# Files written before the plan; a folder with only these was left by a run that was killed at once.
_BEFORE = {"config.toml", "units.json", "offline.jsonl", "checkpoints", ".lock"}


@dataclass(frozen=True)
class Plan:
    """The stages of a run, and where they start.

    Attributes:
        stages: both, or one of them.
        start: the run whose offline stage an online one starts from.
        split_seed: seed of the log's split into training and holdout rows, and of a learned
            termination rule. It is the seed of the first run of a chain; None: this run's own seed.
        given: the environments ("env", "system") that were given in Python; `moore.resume` needs
            them again.
        config: settings of the run as nested dictionaries, which config.toml must keep; None in
            plans of earlier versions.
    """

    stages: Stages
    start: Path | None = None
    split_seed: int | None = None
    given: tuple[str, ...] = ()
    config: dict | None = None

    def write(self, folder: Path) -> None:
        """Writes the plan, the last file of a new run; from here on the run can be resumed."""
        start = None if self.start is None else os.path.relpath(self.start, folder)
        plan = {
            "stages": self.stages,
            "start_from": start,
            "split_seed": self.split_seed,
            "given": list(self.given),
            "config": self.config,
        }
        write_whole(_place(folder), sealed(plan))


def read_plan(folder: Path) -> Plan:
    """The plan of a run folder.

    Raises:
        InputError: the plan is missing or damaged.
    """
    try:
        plan = json.loads(_place(folder).read_text(encoding="utf-8"))
        found = _assemble(plan, folder)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f"{short_path(folder)} is not a run folder that can be resumed: its "
            "checkpoints/plan.json is missing or damaged."
        ) from None
    if SEAL in plan and not is_sealed(plan):
        raise InputError(
            f"{_place(folder)} is damaged: it does not match its hash. Put back a copy of it, or "
            "begin the run anew."
        )
    return found


def _assemble(plan: object, folder: Path) -> Plan:
    """The plan in these facts; KeyError, TypeError or ValueError if they are no plan."""
    if not isinstance(plan, dict):
        raise ValueError("no plan")
    stages, start, split_seed = plan["stages"], plan["start_from"], plan["split_seed"]
    given, config = plan.get("given", []), plan.get("config")
    fits = stages in typing.get_args(Stages) and (split_seed is None or type(split_seed) is int)
    fits = fits and set(given) <= {"env", "system"} and isinstance(config, dict | type(None))
    if not fits:
        raise ValueError("no plan")
    return Plan(stages, None if start is None else folder / start, split_seed, tuple(given), config)


def functions(env: EnvSource | None, system: EnvSource | None) -> tuple[str, ...]:
    """Names of environments that config.toml cannot hold: functions, and a live system."""
    passed = {"env": callable(env), "system": system is not None}
    return tuple(name for name, is_given in passed.items() if is_given)


def how_to_resume(folder: Path, plan: Plan, *, until: Callable | None) -> str:
    """A hint for the user how to resume a run that was stopped."""
    if not plan.given and until is None:
        return f"moore run --resume {shlex.quote(str(folder))}"
    names = [*plan.given, *(["until"] if until is not None else [])]
    again = f'moore.resume("{short_path(folder)}", {", ".join(f"{name}=..." for name in names)})'
    return again if plan.given else f"the same command, or {again}"


def is_free(folder: Path) -> bool:
    """Whether a new run may use the folder: it is empty, or was left before a plan was written."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    inside = {path.name for path in folder.iterdir() if not path.name.endswith(".partial")}
    checkpoints = folder / "checkpoints"
    begun = checkpoints.is_dir() and inside <= _BEFORE
    unplanned = begun and all(path.name.endswith(".partial") for path in checkpoints.iterdir())
    return not inside or unplanned


def _place(folder: Path) -> Path:
    return folder / "checkpoints" / "plan.json"
