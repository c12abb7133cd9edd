"""The documentation as a site: every page is in its menu, and every link of a page leads somewhere.

That anchors exist too is checked by the builder, in .ci/run.
"""

import dataclasses
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import documentation
import flags_page
from moore.cli.completion import options_of_commands
from moore.config import Config

ROOT = documentation.ROOT
SOURCES = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))


def in_menu(entries: list) -> Iterator[str]:
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from in_menu(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_menu_once():
    settings = tomllib.loads((ROOT / "zensical.toml").read_text())
    pages = [documentation.place(page).as_posix() for page in SOURCES]
    assert sorted(in_menu(settings["project"]["nav"])) == sorted(
        [*pages, *documentation.OWN_NAMES.values(), flags_page.NAME]
    )


def test_the_page_of_flags_has_every_flag_of_every_command_that_is_no_setting():
    page = flags_page.flags_page()
    assert re.findall(r"^## moore (\w+)$", page, re.MULTILINE) == [*options_of_commands()]
    collect = page.split("## moore collect\n")[1].split("\n## ")[0]
    assert "| `--seed` | whole number | `0` |" in collect
    assert "| `--env-id` | text | needed |" in collect
    assert "| `--quiet` | on or off | off | Do not show progress. |" in collect
    assert "&#123;env&#125;<wbr>&#95;&#95;sac" in collect, "Markdown reads no sign of a help text"
    assert "`random`, `medium`, `medium-replay`, `expert`" in collect
    assert all(row.count("|") == 5 + row.count("\\|") for row in re.findall(r"^\|.*", page, re.M))


def test_the_page_of_settings_shows_every_section_of_a_configuration():
    shown = (ROOT / "docs" / "api-config.md").read_text(encoding="utf-8").split()
    names = {name.rpartition(".")[2] for name in shown if name.startswith("moore.")}
    sections = (field.default_factory for field in dataclasses.fields(Config))
    expected = {made.__name__ for made in sections if dataclasses.is_dataclass(made)}
    assert names >= expected | {"Config"} and len(expected) > 10


@pytest.mark.parametrize("page", [*map(str, SOURCES), *documentation.OWN_NAMES])
def test_every_link_of_a_page_leads_to_a_file_of_the_repository(page):
    documentation.linked(Path(page), (ROOT / page).read_text(encoding="utf-8"), ROOT)


def test_links_to_code_lead_to_a_page_that_shows_it(tmp_path):
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n")
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "docs" / "a.md").write_text("[b](deep/b.md#c) `[no](link)` [w](https://x.org)\n")
    (tmp_path / "docs" / "deep" / "b.md").write_text("[the code](../../a.py)\n")
    pages = documentation.write_pages(tmp_path, tmp_path / "out")
    assert [*map(str, pages)] == ["a.md", "changelog.md", "code/a.py.md", "deep/b.md"]
    assert (tmp_path / "out" / "deep" / "b.md").read_text() == "[the code](../code/a.py.md)\n"
    assert "```python\nx = 1\n```" in (tmp_path / "out" / "code" / "a.py.md").read_text()


def test_a_picture_opens_in_its_full_size(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n")
    (tmp_path / "docs" / "a.png").touch()
    (tmp_path / "docs" / "a.md").write_text("![what is seen](a.png)\n\n`![x](a.png)`\n")
    documentation.write_pages(tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "a.md").read_text() == (
        "[![what is seen](a.png)](a.png)\n\n`![x](a.png)`\n"
    )


@pytest.mark.parametrize("link", ["gone.md", "../src", "../../elsewhere.md", "../README.md"])
def test_a_link_that_leads_nowhere_names_its_page(link, tmp_path):
    (tmp_path / "README.md").touch()
    (tmp_path / "src").mkdir()
    with pytest.raises(documentation.BrokenLink, match=r"docs/a\.md"):
        documentation.linked(Path("docs/a.md"), f"[x]({link})", tmp_path)


def test_what_pages_load_from_a_network_is_found_and_links_are_not(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.html").write_text(
        '<link href="../a.css"><a href="https://b.org">b</a><script defer src="https://c.org/c.js">'
    )
    assert documentation.loaded(tmp_path) == ["https://c.org/c.js"]
