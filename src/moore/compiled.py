"""Compiled programs are kept from one command to the next, in the user's folder of caches.

To compile takes longer than a small run. JAX keeps what it compiles only if it is told where.
"""

import contextlib
import hashlib
import os
import platform
import time
from pathlib import Path

import platformdirs

from moore.processor import processor_facts

_DAYS = 90  # what was compiled longer ago is removed, and compiled anew where it is still used
_LEAST_S = "0.1"  # JAX would keep only programs that take a second to compile


def settings_that_keep_programs() -> dict[str, str]:
    """Environment variables for JAX, to be set before it is imported.

    Empty if the user has chosen a folder (JAX_COMPILATION_CACHE_DIR) or none
    (JAX_ENABLE_COMPILATION_CACHE=0), and where the folder cannot be written.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or "JAX_ENABLE_COMPILATION_CACHE" in os.environ:
        return {}
    try:
        folder = platformdirs.user_cache_path("moore", appauthor=False) / f"compiled-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _forget_old(folder)
    except (OSError, RuntimeError):  # a user without a home among them
        return {}
    if not (folder.is_absolute() and os.access(folder, os.W_OK)):
        return {}
    least = os.environ.get("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _LEAST_S)
    return {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": least,
    }


def _forget_old(folder: Path) -> None:
    oldest = time.time() - _DAYS * 24 * 3600
    for file in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may have removed it
            if file.stat().st_mtime < oldest:
                file.unlink()


def _processor() -> str:
    """A name of the processor's kind: a program of another one may have instructions it lacks."""
    told = [platform.machine(), *sorted(set(processor_facts("model name", "flags")))]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
