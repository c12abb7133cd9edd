"""Makes report.html from the files of a run folder."""

from pathlib import Path

from moore.errors import InputError
from moore.files import write_whole
from moore.reports.html import run_page
from moore.runs.folder import read_metrics, read_summary


def write_report(folder: str | Path) -> Path:
    """Writes `report.html` from the files of a run folder; the run may still be under way.

    Args:
        folder: folder with `config.toml` and `metrics.jsonl`, and `summary.json` once the run is
            over.

    Returns:
        Path of the page.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    folder = Path(folder)
    rows = read_metrics(folder / "metrics.jsonl")
    path = folder / "config.toml"
    try:
        config_text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} ({error}); give the folder of a run") from error
    summary = read_summary(folder) if (folder / "summary.json").exists() else None
    write_whole(folder / "report.html", run_page(folder.name, rows, config_text, summary))
    return folder / "report.html"
