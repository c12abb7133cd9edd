"""Places in Markdown that are made from the CSVs of docs/results: found, compared, written.

A table stands between two comments on lines of their own; a number in a sentence, or in a cell of a
table that is otherwise written by hand, between two short ones. Neither shows on a page.

    <!-- results: mujoco-logs -->          It falls by <!--=dip-->16%<!--/--> there.
    ...
    <!-- end -->
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Made = Mapping[str, str]  # name -> what stands there

BLOCK = re.compile(r"<!-- results: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)
SPAN = re.compile(r"<!--=(\S+?)-->(.*?)<!--/-->", re.DOTALL)
_MARKS = re.compile(r"<!-- results:|<!-- end -->|<!--=|<!--/-->")
# GitHub takes a line that begins with a comment for HTML and leaves its Markdown as it is.
_LINE_START = re.compile(r"^\s*(?:[-*>]\s+)*<!--=", re.MULTILINE)


@dataclass(frozen=True)
class Difference:
    """A place that does not say what the CSVs say.

    Attributes:
        line: in the document, counted from 1.
        name: of the table or number.
        printed, made: what stands there and what should.
    """

    line: int
    name: str
    printed: str
    made: str


def differences(text: str, tables: Made, numbers: Made) -> list[Difference]:
    """Where a document differs from what is made now, in the order of its lines."""
    found = [*_misplaced(text)]
    for match, name, printed, made in _places(text, tables, numbers):
        line = text.count("\n", 0, match.start(2)) + 1
        if made is None:
            found.append(Difference(line, name, printed.strip(), "(no such name is made)"))
        elif printed != made:
            found += _lines_that_differ(line, name, printed, made)
    return sorted(found, key=lambda difference: difference.line)


def rewritten(text: str, tables: Made, numbers: Made) -> str:
    """The document with every place made anew; unknown names are left as they are."""
    for match, _, _, made in reversed([*_places(text, tables, numbers)]):
        if made is not None:
            text = text[: match.start(2)] + made + text[match.end(2) :]
    return text


def names(text: str) -> set[str]:
    """Of the tables and numbers that a document prints."""
    return {match[1] for pattern in (BLOCK, SPAN) for match in pattern.finditer(text)}


def _places(
    text: str, tables: Made, numbers: Made
) -> Iterator[tuple[re.Match, str, str, str | None]]:
    """Match, name, what is printed, what is made (None: an unknown name), by place."""
    places = [(match, tables, "\n{}\n\n") for match in BLOCK.finditer(text)]
    places += [(match, numbers, "{}") for match in SPAN.finditer(text)]
    for match, made, form in sorted(places, key=lambda place: place[0].start()):
        text = made.get(match[1])
        yield match, match[1], match[2], None if text is None else form.format(text)


def _misplaced(text: str) -> Iterator[Difference]:
    whole = [match.span() for pattern in (BLOCK, SPAN) for match in pattern.finditer(text)]
    for match in _MARKS.finditer(text):
        if not any(match.start() == start or match.end() == end for start, end in whole):
            line = text.count("\n", 0, match.start()) + 1
            yield Difference(line, "(markers)", f"{match[0]} alone", "a pair of markers")
    for match in _LINE_START.finditer(text):
        line = text.count("\n", 0, match.end()) + 1
        yield Difference(line, "(markers)", "a number at the start of a line", "it inside the line")


def _lines_that_differ(line: int, name: str, printed: str, made: str) -> list[Difference]:
    """The lines of a place that are printed otherwise; of a table the cells, by row and column."""
    here, there = printed.split("\n"), made.split("\n")
    if len(here) != len(there):
        counts = (f"{sum(map(bool, lines))} lines" for lines in (here, there))
        return [Difference(line, name, *counts)]
    head = _cells(next((text for text in there if text.startswith("|")), ""))
    found = []
    for place, (old, new) in enumerate(zip(here, there, strict=True)):
        before, after = _cells(old), _cells(new)
        if old != new and 0 < len(before) == len(after) == len(head):
            row = after[0] or f"row {place}"
            for title, a, b in zip(head, before, after, strict=True):
                if a != b:
                    found.append(Difference(line + place, f"{name}, {row}, {title}", a, b))
        elif old != new:
            found.append(Difference(line + place, name, old, new))
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]
