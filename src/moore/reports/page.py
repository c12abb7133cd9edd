"""Pages that load no other files, with one style sheet and one format of numbers."""

import functools
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from moore.files import write_whole
from moore.numbers import is_finite


def render(template: str, **values: object) -> str:
    """Renders a template of this folder, which can use `style` and the filters `number` and
    `duration`."""
    return _compiled(template).render(**values, style=Markup(_read("style.css")))


@functools.cache
def _compiled(template: str) -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": number, "duration": duration}
    return environment.from_string(_read(template))


def _read(name: str) -> str:
    return resources.files("moore.reports").joinpath(name).read_text(encoding="utf-8")


def write_page(path: Path, html: str) -> Path:
    """Writes the page completely or not at all.

    Raises:
        InputError: the page cannot be written.
    """
    write_whole(path, html)
    return path


def number(value: object) -> str:
    """A number with about four digits; a dash for None, NaN and infinity; else the text."""
    missing = value is None or isinstance(value, jinja2.Undefined)
    if missing or (isinstance(value, float) and not is_finite(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    size = abs(value)
    if isinstance(value, int) or size >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.1f}" if size >= 10 else f"{value:.3g}"
    return text.replace("-", "−")


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
