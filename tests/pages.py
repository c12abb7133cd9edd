"""The pages of runs, for most tests without their figures."""

import contextlib
from collections.abc import Iterator

_wanted = False


def leave_out_figures() -> None:
    """From now on the pages of this process have no figures, except within `drawn`."""
    from moore.reports import html

    figures = html._figures
    html._figures = lambda *args: figures(*args) if _wanted else {}


@contextlib.contextmanager
def drawn() -> Iterator[None]:
    """Pages have their figures."""
    global _wanted
    before, _wanted = _wanted, True
    try:
        yield
    finally:
        _wanted = before
