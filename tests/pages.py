"""The pages of runs, for most tests without their figures; and figures that nobody lays out."""

import contextlib
import functools
from collections.abc import Callable, Iterator

_drawn = _laid_out = False


def leave_out_figures() -> None:
    """From now on the pages of this process have no figures, except within `drawn`.

    And no room is made for the words in a figure, except within `laid_out`: to find how much they
    take is half of the work.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from moore.reports import assess_page, html

    for page in (html, assess_page):
        page._figures = functools.partial(_if_drawn, page._figures)
    execute = ConstrainedLayoutEngine.execute
    ConstrainedLayoutEngine.execute = lambda *args: execute(*args) if _laid_out else None


def _if_drawn(figures: Callable[..., dict], *args) -> dict:
    return figures(*args) if _drawn else {}


@contextlib.contextmanager
def drawn() -> Iterator[None]:
    """Pages have their figures."""
    global _drawn
    before, _drawn = _drawn, True
    try:
        yield
    finally:
        _drawn = before


@contextlib.contextmanager
def laid_out() -> Iterator[None]:
    """Figures are as users see them."""
    global _laid_out
    before, _laid_out = _laid_out, True
    try:
        yield
    finally:
        _laid_out = before
