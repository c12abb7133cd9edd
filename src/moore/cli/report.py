"""The command `moore report`: writes the page of a run anew."""

from dataclasses import dataclass
from pathlib import Path

from moore.cli.parse import example, needs, parse
from moore.console import show
from moore.errors import InputError


@example("moore report runs/a runs/b --html both.html")
@dataclass(frozen=True)
class ReportOptions:
    """Writes the report of a run anew, or lays several runs side by side.

    Give one RUN, which may still be under way, or several, before the options. `moore compare` is
    for statements over seeds.

    Attributes:
        html: file to write the page to; for one run the default is report.html in its folder.
    """

    html: Path | None = None


def report_runs(arguments: list[str]) -> None:
    count = next((i for i, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    folders = [Path(argument).expanduser() for argument in arguments[:count]]
    if not folders and not {"-h", "--help"} & set(arguments):
        raise needs("report", "RUN", "...")
    options = parse(ReportOptions, arguments[count:], "report RUN...")
    if len(folders) > 1:
        if options.html is None:
            raise InputError("A report of several runs is one page; say where, with --html FILE.")
        from moore.runs.report import write_side_by_side

        show(str(write_side_by_side(folders, options.html)))
        return

    from moore.cli.verdict import verdict
    from moore.runs.folder import read_summary
    from moore.runs.report import write_report

    page = write_report(folders[0], options.html)
    if (folders[0] / "summary.json").exists():
        show(verdict(read_summary(folders[0])))
    show(str(page))
