"""How the cells of a sweep have ended, and what the console says of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from moore.errors import InputError
from moore.files import read_object
from moore.numbers import fixed, without_nulls
from moore.runs.mirror import facts_of
from moore.sweeps.cell import Cell

Say = Callable[[str], None]


@dataclass
class Outcome:
    """How the cells ended, by their folders.

    Attributes:
        planned: number of cells of the sweep.
        done: those that have a summary.
        failed: the last lines that they said.
        skipped: those whose offline stage has failed.
    """

    planned: int
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def ready(self, waiting: Sequence[Cell]) -> list[Cell]:
        """Those that need no offline stage of another cell, or whose is done."""
        return [cell for cell in waiting if cell.start_from is None or cell.start_from in self.done]

    def skip_lost(self, waiting: list[Cell], say: Say) -> None:
        """Takes away those whose offline stage has failed."""
        lost = [cell for cell in waiting if cell.start_from in {*self.failed, *self.skipped}]
        for cell in lost:
            waiting.remove(cell)
            self.skipped.append(cell.folder)
            say(f"{self._place()}skipped {cell.folder}: its offline stage failed")

    def ended(self, folder: str, error: str, say: Say) -> None:
        """Notes the end of a cell; `error`: the last lines of its output, empty if it succeeded."""
        if error == "" and not (facts_of(folder) / "summary.json").exists():
            error = "it ended without a summary"  # its environment has ended the process
        if error == "":
            self.done.append(folder)
            say(f"{self._place()}done {folder}{_news(folder)}")
        else:
            self.failed[folder] = error
            say(f"{self._place()}failed {folder}: {error.splitlines()[-1]}")

    def _place(self) -> str:
        return f"{len(self.done) + len(self.failed) + len(self.skipped)}/{self.planned} "


def _news(folder: str) -> str:
    """One line with the offline and the final return of a finished cell."""
    try:
        summary = without_nulls(read_object(facts_of(folder) / "summary.json"))
    except InputError:
        return ""  # a damaged file: whoever reads it next says so
    if "transfer" not in summary:
        offline, acting = summary.get("offline", {}), summary.get("acting", {})
        if "first" in acting:
            return f": acting {fixed(acting['first'])} -> {fixed(acting.get('last'))}"
        return f": return {fixed(offline['return'])}" if "return" in offline else ""
    offline, final, dip = (fixed(summary["transfer"].get(n)) for n in ("offline", "final", "dip"))
    return f": {offline} -> {final}, dip {dip}"
