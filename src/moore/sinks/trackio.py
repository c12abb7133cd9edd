"""trackio, a tracker that keeps runs on this machine: `pip install "moore-rl[track]"`.

It needs no network and no account. Its database lies where TRACKIO_DIR says, by default in the
cache of Hugging Face; `trackio show` opens the dashboard.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from moore.sinks.sink import Label
from moore.sinks.tracker import Service, Tracker


class _Run:
    """The open run of trackio, which only trackio's module can close."""

    def __init__(self, trackio: ModuleType):
        self._trackio = trackio

    def log(self, numbers: dict[str, int | float], step: int) -> None:
        self._trackio.log(numbers, step=step)

    def finish(self) -> None:
        self._trackio.finish()


def open_sink(
    folder: Path, label: Label, rows: Iterable[dict], say: Callable[[str], None]
) -> Tracker:
    """Opens the trackio run of this folder.

    trackio knows a run only by its name, so the name contains the id that the folder keeps.

    Raises:
        InputError: trackio refuses the run.
    """

    def begin(id: str) -> Service:
        import trackio

        trackio.init(
            project=label.project.replace("/", "-"),
            group=label.group,
            name=f"{label.name}-{id}",
            resume="allow",
            config=label.settings,
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        return _Run(trackio)

    return Tracker("trackio", begin, folder=folder, rows=rows, say=say)
