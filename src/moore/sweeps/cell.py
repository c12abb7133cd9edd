"""One cell of a sweep: a run in a process of its own, begun, gone on with, or found done."""

import json
import os
import sys
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

# A cell whose sweep was killed ends within a moment; it is waited for.
_LET_GO = 20.0


@dataclass(frozen=True)
class Cell:
    """What a process is told.

    Attributes:
        folder: of the run.
        config: the whole configuration, as nested dictionaries.
        stages: "both", "offline" or "online".
        start_from: run whose offline stage an online one starts from.
    """

    folder: str
    config: dict
    stages: str = "both"
    start_from: str | None = None

    @property
    def done(self) -> bool:
        """Whether the folder holds this very run, finished; one of other settings is not it."""
        from moore.errors import InputError
        from moore.files import read_object

        try:
            read_object(Path(self.folder) / "summary.json")
        except InputError:
            return False
        return not self.departure()

    def departure(self) -> str:
        """What the run in the folder has otherwise, in words; "" for this cell's configuration."""
        from moore.config import flat, from_dict, read_toml
        from moore.errors import InputError
        from moore.runs.sections import used_settings

        config = used_settings(from_dict(self.config))
        try:
            begun = used_settings(read_toml(Path(self.folder) / "config.toml"))
        except InputError as error:  # another version's, or damaged: this cell fails, no other
            return str(error).rstrip(".")
        # A run writes down which environment its log has named.
        here = flat(asdict(replace(config, env_id=config.env_id or begun.env_id)))
        there = flat(asdict(begun))
        others = [name for name in here if here[name] != there[name]]
        if not others:
            return ""
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"{others[0]} is {there[others[0]]}, not {here[others[0]]}{more}"


def run_cell(cell: Cell) -> None:
    """Runs the cell to its end; if it was interrupted, from its last checkpoint.

    Raises:
        InputError: as `moore.run`; or the folder holds a run of other settings.
    """
    from moore.config import from_dict
    from moore.errors import InputError
    from moore.files import let_go
    from moore.runs.run import resume, run

    folder = Path(cell.folder)
    let_go(folder, seconds=_LET_GO)
    if (folder / "checkpoints" / "plan.json").exists():
        if departure := cell.departure():
            raise InputError(
                f"{folder} holds another run ({departure}); delete it, or give another --out."
            )
        resume(folder, quiet=True)
    else:
        config = from_dict(cell.config)
        run(config, out=folder, stages=cell.stages, start_from=cell.start_from, quiet=True)


def limit_threads(count: int) -> dict[str, str]:
    """Environment variables under which a process starts no more than so many threads a library."""
    flags = f"--xla_cpu_multi_thread_eigen={'true' if count > 1 else 'false'}"
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(count)) | {
        "XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), flags]).strip()
    }


def main() -> None:
    """Reads a cell from the command line's first argument, as JSON; the cores from the second.

    With "watched" as a third one, it ends as soon as its standard input does: with its sweep.
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
    """The other end of the pipe is the sweep's: it closes when that dies, however it dies."""
    while os.read(0, 4096):
        pass
    os._exit(1)  # as a kill does: the run goes on from its newest checkpoint


def as_json(cell: Cell) -> str:
    return json.dumps(asdict(cell))


if __name__ == "__main__":
    main()
