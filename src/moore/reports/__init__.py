"""Texts, figures and pages about runs and logs."""

import contextlib
import os
import sys


def _import_matplotlib_without_its_backend() -> None:
    """Imports matplotlib even if its backend is not installed; figures here need no backend.

    A notebook sets its own backend for every program that it starts (MPLBACKEND), and the import of
    matplotlib fails if that is not installed. If it is installed, it remains the backend.
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
