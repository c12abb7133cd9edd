"""Makes report.html from the files of a run folder, and a page of several runs."""

from collections.abc import Sequence
from pathlib import Path

from moore.errors import InputError
from moore.files import write_whole
from moore.reports.html import parsed, run_page
from moore.reports.side_by_side import Run, side_by_side_page
from moore.runs.folder import read_metrics, read_summary


def write_report(folder: str | Path, path: Path | None = None) -> Path:
    """Writes `report.html` from the files of a run folder; the run may still be under way.

    Args:
        folder: folder with `config.toml` and `metrics.jsonl`, and `summary.json` once the run is
            over.
        path: another place for the page.

    Returns:
        Path of the page.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    folder = Path(folder)
    rows, config_text, summary = _read(folder)
    path = folder / "report.html" if path is None else path
    write_whole(path, run_page(folder.name, rows, config_text, summary))
    return path


def write_side_by_side(folders: Sequence[Path], path: Path) -> Path:
    """Writes a page with a column for each run.

    Args:
        folders: folders of runs, which may still be under way.
        path: the page; an existing file is replaced.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    runs = []
    for folder in folders:
        rows, config_text, summary = _read(folder)
        runs.append(Run(folder.name, rows, parsed(config_text, folder.name), summary))
    write_whole(path, side_by_side_page(runs))
    return path


def _read(folder: Path) -> tuple[list[dict], str, dict | None]:
    """Metrics, text of the configuration, and summary if there is one."""
    rows = read_metrics(folder / "metrics.jsonl")
    path = folder / "config.toml"
    try:
        config_text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} ({error}); give the folder of a run") from error
    return rows, config_text, read_summary(folder) if (folder / "summary.json").exists() else None
