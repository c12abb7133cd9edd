"""The command `moore inspect`: what is in a log, and what is wrong with it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moore.cli.column_flags import ColumnFlags, reading_of
from moore.cli.parse import block_signs, example, with_target
from moore.console import show
from moore.errors import InputError
from moore.files import whole_path

if TYPE_CHECKING:
    from moore.data.dataset import Dataset
    from moore.data.log import Log


@example("moore inspect hopper-medium-replay.hdf5 --replay-check --html page.html")
@dataclass(frozen=True)
class InspectOptions(ColumnFlags):
    """Checks a log (path.hdf5, path.npz, path.csv, ..., minari:ID, builtin:NAME) and sums it up.

    It works on the raw rows, so that it also describes a log that training refuses. Several logs,
    separated by commas, are joined as training would join them. Of a folder of rows that is larger
    than memory, every row is read once; what is looked for in samples is looked for in a part.

    Attributes:
        replay_check: put the logged states back into the environment, repeat the logged actions,
            and measure how far the outcomes are from the logged ones.
        rows: number of random rows that the replay check repeats.
        seed: seed of the draw of these rows.
        env_id: environment to check against; by default the one that the log names. An id that
            imports a module, module:Id, is made only if you give it here.
        html: file to write a page with all numbers and figures to.
        download: fetch a Minari set that is not on this machine.
        json: print the result as JSON.
    """

    replay_check: bool = False
    rows: int = 1000
    seed: int = 0
    env_id: str | None = None
    html: Path | None = None
    download: bool = False
    json: bool = False


def inspect_log(arguments: list[str]) -> None:
    source, options = with_target(InspectOptions, arguments, "inspect", "DATASET")
    page = None if options.html is None else whole_path(options.html)
    if page is not None and not page.parent.is_dir():
        raise InputError(f"--html {options.html}: no such folder; create it, or give another path")
    if page is not None and page.is_dir():
        raise InputError(f"--html {options.html}: is a folder; expected the path of a page")

    from moore.findings.defects import refusals, stops, warnings
    from moore.formats.load import load_dataset, read_log
    from moore.formats.names import split_names
    from moore.inspecting.summary import summarize

    reading = reading_of(options, source)
    log: Dataset | Log
    if len(split_names(source)) > 1:
        log = load_dataset(source, download=options.download, **reading)
    else:
        infos = options.replay_check
        log = read_log(source, infos=infos, exact=True, download=options.download, **reading)
    summary = summarize(log, env_id=options.env_id)
    if log.whole is not None:
        from moore.inspecting.row_check import check_rows

        summary["on_disk"] = check_rows(log.whole.file)
    replay, why_not = _replay(log, summary, options)
    found = {
        "warnings": warnings(summary, replay),
        "refused": refusals(summary),
        "replay": replay,
        "stops": [finding.name for finding in stops(summary)],
        "replay_problem": why_not,
    }
    if page is not None:
        from moore.reports.log_page import write_log_page

        write_log_page(page, summary, replay=replay)
    if options.json:
        print(json.dumps(summary | found, indent=1))
    else:
        _print(summary, found)


def _replay(log, summary: dict, options: InspectOptions) -> tuple[dict | None, str]:
    """The replay check, or why it cannot be done; the inspection goes on without it."""
    if not options.replay_check:
        return None, ""
    if options.rows < 1:
        raise InputError(f"--rows is {options.rows}; expected at least 1 row to replay")
    from moore.data.checks import shown
    from moore.inspecting.replay_check import replay_check

    if summary["env_problem"]:
        return None, summary["env_problem"]
    env_id = summary["checked_as"]
    try:
        return replay_check(log, env_id=env_id, rows=options.rows, seed=options.seed), ""
    except InputError as error:
        return None, str(error)
    except Exception as error:  # an environment of the user's may raise anything
        return None, f"{shown(env_id)} failed: {type(error).__name__}: {shown(error)}"


def _print(summary: dict, found: dict) -> None:
    from moore.reports import log_text

    replay = found["replay"]
    show(log_text.format_summary(summary, blocks=block_signs()))
    if "on_disk" in summary:
        counts = ((name.replace("_", " "), count) for name, count in summary["on_disk"].items())
        told = ", ".join(f"{count:,} {name}" for name, count in counts)
        show(f"on disk         {told}; every row was read, and is as it was written")
    if replay is not None:
        show(log_text.format_replay(replay))
    if found["replay_problem"]:
        show(f"replay          not possible: {found['replay_problem']}")
    for note in summary["notes"]:
        show(f"note: {note}")
    for text in found["warnings"]:
        show(f"{_level(text, summary)}: {text}")
    show(log_text.verdict_of(summary, replay))
    if replay is not None and replay["fits_all"]:
        show(replay["verdict"])


def _level(text: str, summary: dict) -> str:
    """The level of a finding, in the words of docs/logs.md.

    What ruins a run is a warning, as is a misfit in a replay.
    """
    from moore.findings.defects import findings

    level = {str(finding): finding.level for finding in findings(summary)}.get(text, "warning")
    return "warning (ruins)" if level == "ruins" else level
