"""The defects that a summary shows: one warning for each, with its name and its remedy."""

from collections.abc import Collection

from moore.errors import InputError
from moore.findings.defect import Finding
from moore.findings.defect_table import DEFECTS

# What else stops a run, a session or a judgement until it is accepted: `moore.runs.hand_over`,
# `moore.sessions.likeness` and `moore.assessing.other_log`.
_OTHERS = ("hand-over", "first-observation", "known-rows", "unlike-the-log")
NAMES = (*(defect.name for defect in DEFECTS), *_OTHERS)


def check_accepted(names: Collection[str]) -> None:
    """Raises InputError for a name that no finding has."""
    for name in names:
        if name not in NAMES:
            raise InputError(
                f"accept is '{name}', which no finding goes by; the known names are "
                f"{', '.join(NAMES)}."
            )


def findings(summary: dict, *, in_run: bool = False) -> list[Finding]:
    """The defects of a log, the worst first; empty if there are none.

    Args:
        summary: the result of `moore.inspecting.summary.summarize`.
        in_run: only the defects that a run looks for, which need only a few of the keys.
    """
    found = []
    for defect in DEFECTS:
        if (defect.in_run or not in_run) and defect.found(summary):
            level = defect.level(summary) if callable(defect.level) else defect.level
            text = defect.text
            text = text.format(**summary) if isinstance(text, str) else text(summary)
            found.append(Finding(defect.name, level, _printable(text)))
    order = ("refused", "ruins", "note")
    return sorted(found, key=lambda finding: order.index(finding.level))


def warnings(summary: dict, replay: dict | None = None) -> list[str]:
    """The findings as sentences that end in their name, and that of a replay check.

    Args:
        summary: the result of `moore.inspecting.summary.summarize`.
        replay: the result of `moore.inspecting.replay_check.replay_check`, if it was run.
    """
    misfit = [replay["verdict"]] if replay is not None and not replay["fits_all"] else []
    found = findings(summary)
    first = [str(finding) for finding in found if finding.level == "refused"]
    return first + misfit + [str(finding) for finding in found if finding.level != "refused"]


def refusals(summary: dict) -> list[str]:
    """The `warnings` for which training refuses the log."""
    return [str(finding) for finding in findings(summary) if finding.level == "refused"]


def stops(summary: dict) -> list[Finding]:
    """The findings that stop a run unless their names are accepted."""
    return [finding for finding in findings(summary) if finding.level == "ruins"]


def _printable(text: str) -> str:
    """The text without control characters, since names and ids come from files."""
    return "".join(c if c.isprintable() else "?" for c in text)
