"""One cell of a sweep: a run in its own process, which is begun, continued or already done."""

import json
import os
import sys
import threading
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moore.runs.plan import Stages

# After its sweep is killed, a cell ends within a moment; a new sweep waits for that.
_LET_GO = 20.0


@dataclass(frozen=True)
class Cell:
    """The instructions for a process.

    Attributes:
        folder: folder of the run, or its URL.
        config: the whole configuration, as nested dictionaries.
        stages: "both", "offline" or "online".
        start_from: folder of the run whose offline stage an online stage starts from.
    """

    folder: str
    config: dict
    stages: "Stages" = "both"
    start_from: str | None = None

    @property
    def done(self) -> bool:
        """Whether the folder holds this run, with the same settings, and it is finished."""
        from moore.errors import InputError
        from moore.files import read_object
        from moore.runs.mirror import facts_of

        try:
            read_object(facts_of(self.folder) / "summary.json")
        except InputError:
            return False
        return not self.departure()

    def departure(self) -> str:
        """How the run in the folder differs from this cell's configuration, in words; else ""."""
        from moore.config import flat, from_dict, read_toml
        from moore.errors import InputError
        from moore.runs.mirror import facts_of
        from moore.runs.sections import used_settings

        config = used_settings(from_dict(self.config))
        try:
            begun = used_settings(read_toml(facts_of(self.folder) / "config.toml"))
        except InputError as error:  # another version's, or damaged: this cell fails, no other
            return str(error).rstrip(".")
        here, there = flat(asdict(_filled_in(config, begun))), flat(asdict(begun))
        others = [name for name in here if here[name] != there[name]]
        if not others:
            return ""
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"{others[0]} is {there[others[0]]}, not {here[others[0]]}{more}"


def _filled_in(config: Any, begun: Any) -> Any:
    """The cell's settings, with what a run writes down of its log and its environment."""
    from moore.algorithms import find
    from moore.runs.log_checks import with_horizon

    config = replace(
        config,
        env_id=config.env_id or begun.env_id,
        env_args=config.env_args or begun.env_args,
        episode_steps=config.episode_steps or begun.episode_steps,
    )
    agent = find(config.algorithm).agent
    config = with_horizon(config, agent.sections)
    if config.horizons_per_episode is not None and agent.long_horizon:
        here, there = getattr(config, agent.name), getattr(begun, agent.name)
        longer = replace(here, discount=max(here.discount, there.discount))
        config = replace(config, **{agent.name: longer})
    known = {
        name: getattr(begun.adaptive_bc, name)
        for name in ("return_low", "return_high")
        if getattr(config.adaptive_bc, name) is None
    }
    return replace(config, adaptive_bc=replace(config.adaptive_bc, **known))


def run_cell(cell: Cell) -> None:
    """Runs the cell to its end; if it was interrupted, from its last checkpoint.

    Raises:
        InputError: for the reasons of `moore.run`, or the folder holds a run with other settings.
    """
    from moore.config import from_dict
    from moore.errors import InputError
    from moore.files import wait_until_unlocked
    from moore.runs.mirror import facts_of, working_folder
    from moore.runs.run import resume, run

    folder = cell.folder
    wait_until_unlocked(working_folder(folder), seconds=_LET_GO)
    if (facts_of(folder) / "checkpoints" / "plan.json").exists():
        if departure := cell.departure():
            raise InputError(
                f"{folder} holds another run ({departure}); delete it, or give another --out."
            )
        resume(folder, quiet=True)
    else:
        config = from_dict(cell.config)
        run(config, out=folder, stages=cell.stages, start_from=cell.start_from, quiet=True)


def limit_threads(count: int) -> dict[str, str]:
    """Environment variables that limit the threads of each library in a process to `count`."""
    flags = f"--xla_cpu_multi_thread_eigen={'true' if count > 1 else 'false'}"
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    # XLA reads no further than a word without dashes, such as intra_op_parallelism_threads=1.
    given = [word for word in os.environ.get("XLA_FLAGS", "").split() if word.startswith("-")]
    return dict.fromkeys(names, str(count)) | {"XLA_FLAGS": " ".join([*given, flags])}


def main() -> None:
    """Runs the cell of the first argument (JSON), on the cores of the second argument.

    With "watched" as third argument, the process ends when its standard input closes, which happens
    when its sweep ends.
    """
    from moore.console import plain
    from moore.errors import InputError

    if "watched" in sys.argv[3:]:
        threading.Thread(target=_end_with_input, daemon=True).start()
    cell, cores = Cell(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # XLA starts as many threads as it sees cores
    try:
        run_cell(cell)
    except InputError as error:
        print(f"moore: {plain(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        print("moore: interrupted.", file=sys.stderr)
        raise SystemExit(getattr(stop, "status", 130)) from None


def _end_with_input() -> None:
    """Ends this process when its standard input closes, as it does however the sweep ends."""
    while os.read(0, 4096):
        pass
    os._exit(1)  # as a kill does: the run goes on from its newest checkpoint


def as_json(cell: Cell) -> str:
    return json.dumps(asdict(cell))


if __name__ == "__main__":
    main()
