"""A small file that tells how a session stands, for a page that watches it from elsewhere.

Nothing is read from it by the session itself, so it is left out where the disk refuses.
"""

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from moore.numbers import with_nulls

NAME = "status.json"
# Seconds between two times that it is written, and number of the newest actions that are timed.
_PERIOD, _TIMED = 1.0, 1000


class Bulletin:
    """Writes the file, at most once a second, and times the actions."""

    def __init__(self, folder: Path):
        self._path = folder / NAME
        self._next = -np.inf
        self._took: deque[float] = deque(maxlen=_TIMED)

    def took(self, seconds: float) -> None:
        """An action took so long."""
        self._took.append(seconds)

    def tell(self, standing: Callable[[], dict[str, Any]], *, closed: bool = False) -> None:
        """Writes the file, if it is time; `closed` writes it now.

        Args:
            standing: makes what is told, for JSON.
            closed: whether the session ends.
        """
        if not closed and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PERIOD
        told = standing() | {"time": time.time(), "closed": closed, "latency": self._latency()}
        partial = self._path.with_name(f".{NAME}.partial")
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps(with_nulls(told)), encoding="utf-8")
            os.replace(partial, self._path)

    def _latency(self) -> dict[str, float] | None:
        """Seconds that the newest actions took; None before the first."""
        if not self._took:
            return None
        median, late = np.quantile(self._took, [0.5, 0.99]).tolist()
        return {"median": median, "late": late, "most": max(self._took), "actions": len(self._took)}
