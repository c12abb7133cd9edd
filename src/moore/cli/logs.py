"""moore inspect."""

import json
from dataclasses import dataclass
from pathlib import Path

from moore.cli.column_flags import ColumnFlags, reading_of
from moore.cli.parse import block_signs, example, with_target
from moore.console import show
from moore.errors import InputError
from moore.files import whole_path


@example("moore inspect hopper-medium-replay.hdf5 --replay-check --html page.html")
@dataclass(frozen=True)
class InspectOptions(ColumnFlags):
    """Checks a log (path.hdf5, path.npz, path.csv, ..., minari:ID, builtin:NAME) and sums it up.

    It works on the raw rows, so that it also describes a log that training refuses. Several logs,
    joined by commas, are taken as training would take them.

    Attributes:
        replay_check: put the logged states back into the environment, take the logged actions
            once more, and tell how far the outcome is from the logged one.
        rows: how many rows the replay check draws.
        seed: of that draw.
        env_id: environment to check against; by default the one that the log names.
        html: write a page with all numbers and figures there.
        download: fetch a Minari set that is not on this machine.
        json: print JSON.
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

    from moore.data.defects import refusals, warnings
    from moore.data.inspect import summarize
    from moore.data.load import load_dataset, read_log

    reading = reading_of(options, source)
    if "," in source:
        log = load_dataset(source, download=options.download, **reading)
    else:
        infos = options.replay_check
        log = read_log(source, infos=infos, exact=True, download=options.download, **reading)
    summary = summarize(log, env_id=options.env_id)
    replay = _replay(log, summary, options)
    found = {"warnings": warnings(summary, replay), "refused": refusals(summary), "replay": replay}
    if page is not None:
        from moore.reports.log_page import write_log_page

        write_log_page(page, summary, replay=replay)
    if options.json:
        print(json.dumps(summary | found, indent=1))
    else:
        _print(summary, replay, found["warnings"], found["refused"])


def _replay(log, summary: dict, options: InspectOptions) -> dict | None:
    if not options.replay_check:
        return None
    from moore.envs.replay_check import replay_check

    env_id = summary["checked_as"]
    return replay_check(log, env_id=env_id, rows=options.rows, seed=options.seed)


def _print(summary: dict, replay: dict | None, found: list[str], refused: list[str]) -> None:
    from moore.reports import log_text

    show(log_text.format_summary(summary, blocks=block_signs()))
    if replay is not None:
        show(log_text.format_replay(replay))
    for note in summary["notes"]:
        show(f"note: {note}")
    for warning in found:
        show(f"{'refused' if warning in refused else 'warning'}: {warning}")
    show(log_text.verdict_text(found, refused))
    if replay is not None and replay["fits_all"]:
        show(replay["verdict"])
