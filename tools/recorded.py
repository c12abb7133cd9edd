"""Numbers of the documents that cannot be computed from the CSVs of runs: a second entry of each.

Wall-clock times, single episodes, and what was read off a run whose CSV is not kept stand in the
documents and once more in docs/results/recorded.csv: by page and heading, in their order. A digit
that changes in one of the two places alone is found. That is less than to compute a number anew:
it says that nobody changed it by accident, not that it is right.

Not recorded are numbers in words ("six of eight"), in names and code, in addresses and in formulas,
and the pages below.
"""

import csv
import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import documents

FILE = Path("docs") / "results" / "recorded.csv"
# Pages that tell of no run: they define, list, prove or plan.
TELL_OF_NO_RUN = (
    *("api.md", "api-config.md", "api-plant.md", "architecture.md", "citing.md", "commands.md"),
    *("concepts.md", "environments.md", "experiments.md", "export.md", "faq.md", "glossary.md"),
    *("install.md", "limits.md", "log-findings.md", "log-making.md", "logs.md", "metrics.md"),
    *("many-machines.md", "modes.md", "neighbours.md", "paper-to-code.md"),
    *("theory-short.md", "theory.md", "watch.md"),
)

_CODE = re.compile(r"^```(?!text\b)\w+\n.*?^```$", re.MULTILINE | re.DOTALL)
_ASIDE = re.compile(r"`[^`\n]+`|(?<=\])\([^)\s]*\)|\$[^$\n]+\$|https?://\S+|<!--.*?-->", re.DOTALL)
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])[-−+]?\d+(?:[.,]\d+)*%?")

Place = tuple[str, str]  # page and heading
Numbers = dict[Place, list[tuple[str, int]]]  # each number with its line


def is_recorded(page: Path) -> bool:
    """Whether a page, relative to the repository, tells of runs."""
    return page.parent != Path("docs") or page.name not in TELL_OF_NO_RUN


def numbers_of(page: Path, text: str) -> Numbers:
    """The numbers of a page that are not made from the CSVs, by the heading above them."""
    for pattern in (documents.BLOCK, documents.SPAN, _CODE, _ASIDE):
        text = pattern.sub(_blank, text)
    headings = [(match.start(), match[1].strip()) for match in _HEADING.finditer(text)]
    text = _HEADING.sub(_blank, text)
    found: Numbers = {}
    for match in _NUMBER.finditer(text):
        above = [name for start, name in headings if start < match.start()]
        place = (page.as_posix(), above[-1] if above else "")
        line = text.count("\n", 0, match.start()) + 1
        found.setdefault(place, []).append((match[0], line))
    return found


def differences(root: Path, pages: list[Path]) -> Iterator[str]:
    """A line a number that stands in a page and not in the record, or otherwise there."""
    record = _read(root / FILE)
    for page in pages:
        name = page.relative_to(root)
        printed = numbers_of(name, page.read_text(encoding="utf-8")) if is_recorded(name) else {}
        known = {place: numbers for place, numbers in record.items() if place[0] == str(name)}
        for place in dict.fromkeys((*printed, *known)):
            yield from _differ(place, printed.get(place, []), known.get(place, []))


def write(root: Path, pages: list[Path]) -> Path:
    """Records the numbers as the pages print them now."""
    with open(root / FILE, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("page", "heading", "numbers"))
        for page in pages:
            name = page.relative_to(root)
            if is_recorded(name):
                found = numbers_of(name, page.read_text(encoding="utf-8"))
                rows.writerows((*place, " ".join(n for n, _ in of)) for place, of in found.items())
    return root / FILE


def _read(path: Path) -> dict[Place, list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return {
            (row["page"], row["heading"]): row["numbers"].split() for row in csv.DictReader(file)
        }


def _differ(place: Place, printed: list[tuple[str, int]], known: list[str]) -> Iterator[str]:
    texts = [text for text, _ in printed]
    matcher = difflib.SequenceMatcher(None, known, texts, autojunk=False)
    for what, start, end, first, last in matcher.get_opcodes():
        if what != "equal":
            line = printed[min(first, len(printed) - 1)][1] if printed else 1
            here, there = " ".join(texts[first:last]), " ".join(known[start:end])
            yield (
                f"{place[0]}:{line}: {place[1]}\n  printed: {here or '(nothing)'}"
                f"\n  recorded: {there or '(nothing)'}"
            )


def _blank(match: re.Match) -> str:
    """As long, with the same line breaks: what follows keeps its place."""
    return re.sub(r"[^\n]", " ", match[0])
