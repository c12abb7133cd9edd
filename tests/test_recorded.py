"""Numbers of the documents that no CSV of a run holds stand once more in a record."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import documents
import recorded
import results

PAGE = Path("docs") / "a.md"
TEXT = """# A page

It took 12 s, and `x = 3` costs nothing ([there](b.md#4)).

## Runs

| seed | return |
|---|---|
| 1 | -1,203.5 |

```bash
moore run --seed 7
```

```text
return 64%
```

By <!--=dip-->16%<!--/--> it fell, in 2 runs.
"""


@pytest.fixture
def root(tmp_path) -> Path:
    """A repository with one page, whose numbers are recorded."""
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / PAGE).write_text(TEXT)
    recorded.write(tmp_path, [tmp_path / PAGE])
    return tmp_path


def found(root: Path) -> list[str]:
    return list(recorded.differences(root, [root / PAGE]))


def test_numbers_of_prose_and_tables_are_recorded_by_heading():
    numbers = recorded.numbers_of(PAGE, TEXT)
    assert {place[1]: [text for text, _ in of] for place, of in numbers.items()} == {
        "A page": ["12"],
        "Runs": ["1", "-1,203.5", "64%", "2"],
    }
    assert numbers[str(PAGE), "Runs"][1][1] == 9


@pytest.mark.parametrize(
    ("old", "new", "line"), [("12 s", "13 s", 3), ("203.5", "203.6", 9), ("64%", "65%", 16)]
)
def test_a_changed_number_is_named_with_its_line(old, new, line, root):
    assert found(root) == []
    (root / PAGE).write_text(TEXT.replace(old, new))
    (said,) = found(root)
    assert said.startswith(f"docs/a.md:{line}: ")
    assert "printed: " in said and "recorded: " in said


def test_a_number_that_is_gone_or_new_is_named(root):
    (root / PAGE).write_text(TEXT.replace("12 s", "long") + "\nAnd 99 more.\n")
    new, gone = sorted(found(root), key=lambda said: "A page" in said)
    assert "printed: (nothing)\n  recorded: 12" in gone
    assert "printed: 99\n  recorded: (nothing)" in new


def test_other_words_other_lines_and_other_code_are_no_difference(root):
    text = TEXT.replace("It took 12 s", "Twelve?\nNo: 12 s").replace("--seed 7", "--seed 8")
    (root / PAGE).write_text(text.replace("x = 3", "x = 4").replace("16%", "17%"))
    assert found(root) == []


def test_pages_that_tell_of_no_run_exist_and_are_left_out(root):
    assert all((results.ROOT / "docs" / name).exists() for name in recorded.TELL_OF_NO_RUN)
    assert not recorded.is_recorded(Path("docs/theory.md"))
    assert recorded.is_recorded(Path("README.md")) and recorded.is_recorded(Path("docs/budget.md"))


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "docs/learning.md"])
def test_no_digit_of_a_page_about_runs_can_change_unseen(page):
    """But for headings, code, links and names, of which each is left out on purpose."""
    path = results.ROOT / page
    text = path.read_text(encoding="utf-8")
    seen = {n for of in recorded.numbers_of(Path(page), text).values() for n, _ in of}
    marks = [match[0] for p in (documents.BLOCK, documents.SPAN) for match in p.finditer(text)]
    left_out = r"```.*?```|`[^`]*`|\]\([^)]*\)|^#.*?$|<!--.*?-->"
    prose = re.sub(left_out, " ", text, flags=re.DOTALL | re.MULTILINE)
    for number in re.findall(r"(?<![\w.,])\d(?:[\d,.]*\d)?", prose):
        assert any(number in text for text in (*seen, *marks)), number
