"""A defect of a log: its name, its check of a summary, and its level."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# refused: training cannot take it. ruins: it makes a result wrong, so that it stops a run unless it
# is accepted. note: to know of.
Level = Literal["refused", "ruins", "note"]


@dataclass(frozen=True)
class Defect:
    """A check of the summary. A text is a format of the summary's keys, or a function of them."""

    name: str
    found: Callable[[dict], object]
    text: str | Callable[[dict], str]
    level: Level | Callable[[dict], Level] = "note"
    in_run: bool = False  # whether a run looks for it, too: cheap, and its result depends on it


@dataclass(frozen=True)
class Finding:
    """A defect that a log has."""

    name: str
    level: Level
    text: str  # a sentence, with what to do

    def __str__(self) -> str:
        return f"{self.text} [{self.name}]"


def first(key: str) -> str:
    """The place of the first row, for a text to be formatted."""
    return f"(first: row {{first_rows[{key}]}})"
