"""Texts, figures and pages about runs and logs."""

import contextlib
import os
import sys


def _import_matplotlib_without_its_backend() -> None:
    """Figures here are drawn without a backend, so none needs to be there.

    A notebook gives its own to every program that it starts (MPLBACKEND), and matplotlib cannot be
    imported where that is not installed. Where it is, it stays the backend of this process.
    """
    backend = os.environ.pop("MPLBACKEND")
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = backend
    # Of a package that is not installed: matplotlib chooses one if it is asked for one.
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = backend


if "MPLBACKEND" in os.environ and "matplotlib" not in sys.modules:
    _import_matplotlib_without_its_backend()
