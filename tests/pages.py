"""The pages of runs, for most tests without their figures."""

import contextlib
import functools
from collections.abc import Callable, Iterator

_wanted = False


def leave_out_figures() -> None:
    """From now on the pages of this process have no figures, except within `drawn`."""
    from moore.reports import assess_page, html

    for page in (html, assess_page):
        page._figures = functools.partial(_if_wanted, page._figures)


def _if_wanted(figures: Callable[..., dict], *args) -> dict:
    return figures(*args) if _wanted else {}


@contextlib.contextmanager
def drawn() -> Iterator[None]:
    """Pages have their figures."""
    global _wanted
    before, _wanted = _wanted, True
    try:
        yield
    finally:
        _wanted = before
