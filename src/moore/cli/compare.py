"""The command `moore compare`: statements about several runs, over their seeds."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from moore.cli.parse import example, needs, parse
from moore.console import show
from moore.errors import InputError


@example("moore compare runs/a runs/b sweeps/alpha --csv all.csv --html all.html")
@dataclass(frozen=True)
class CompareOptions:
    """Compares runs: transfer metrics over seeds, per task and pooled, with intervals.

    Give RUNs, or folders that hold runs, before the options.

    Attributes:
        by: runs that differ in these settings count as different variants, in addition to scheme
            and algorithm; separated by commas, such as online.updates_per_step.
        csv: file to write every seed's metrics to.
        html: file to write a page with the curves to.
        json: print the result as JSON.
    """

    by: str = ""
    csv: Path | None = None
    html: Path | None = None
    json: bool = False


def compare_runs(arguments: list[str]) -> None:
    count = next((i for i, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    folders = arguments[:count]
    if not folders and not {"-h", "--help"} & set(arguments):
        raise needs("compare", "RUN", "...")
    options = parse(CompareOptions, arguments[count:], "compare RUN...")
    for name, path in (("--csv", options.csv), ("--html", options.html)):
        if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
            raise InputError(f"{name} {path}: expected a file in a folder that exists.")

    from moore.reports.compare import compare
    from moore.reports.compare_text import format_comparison, write_csv
    from moore.runs.finished import read_runs, unlike

    by = [name.strip() for name in options.by.split(",") if name.strip()]
    runs = read_runs(folders, by=by)
    for note in unlike(runs, by=by):
        print(f"note: {note}", file=sys.stderr)
    result = compare(runs)
    if options.csv is not None:
        write_csv(options.csv, result)
    if options.html is not None:
        from moore.reports.compare_page import write_compare_page

        write_compare_page(options.html, runs, result)
    show(json.dumps(result, indent=1) if options.json else format_comparison(result))
