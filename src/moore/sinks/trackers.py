"""The table of the sinks that `--track` can name, one row each."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from moore.errors import InputError
from moore.sinks import tensorboard, trackio, wandb
from moore.sinks.sink import Label, Sink

Open = Callable[[Path, Label, Iterable[dict], Callable[[str], None]], Sink]


@dataclass(frozen=True)
class TrackerKind:
    """A sink of the table.

    Attributes:
        package: the module that must be installed.
        open: opens the sink; takes the run's folder, its label, the rows that metrics.jsonl holds,
            and a function that prints a line for the user.
    """

    package: str
    open: Open


TRACKERS = {
    "tensorboard": TrackerKind("tensorboardX", tensorboard.open_sink),
    "wandb": TrackerKind("wandb", wandb.open_sink),
    "trackio": TrackerKind("trackio", trackio.open_sink),
}


def tracker_names(track: Sequence[str]) -> list[str]:
    """The names in the setting `track`, each once; an entry may hold several, with commas.

    Raises:
        InputError: an unknown name.
    """
    names = [word.strip() for text in track for word in text.split(",") if word.strip()]
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"track names '{name}'; the known names are {', '.join(TRACKERS)}.")
    return list(dict.fromkeys(names))


def check_installed(names: Iterable[str]) -> None:
    """Raises InputError if the package of a named sink is not installed. Nothing is imported."""
    for name in names:
        found = importlib.util.find_spec(TRACKERS[name].package)
        if found is None or found.origin is None:  # a mere folder `wandb` has no origin
            raise InputError(
                f"--track {name} needs the package {TRACKERS[name].package}, which is not "
                'installed: pip install "moore-rl[track]"'
            )


def open_trackers(
    names: Iterable[str],
    folder: Path,
    label: Label,
    rows: Sequence[dict],
    say: Callable[[str], None],
) -> list[Sink]:
    """Opens the named sinks of a run.

    Raises:
        InputError: one of them cannot be opened; the others are closed again.
    """
    with contextlib.ExitStack() as stack:
        found: list[Sink] = []
        for name in names:
            sink = TRACKERS[name].open(folder, label, rows, say)
            found.append(stack.enter_context(contextlib.closing(sink)))
        stack.pop_all()
        return found
