"""Compiled programs are shared by the tests, and by the processes that they start."""

import os
import tempfile

# Set before jax is imported, and inherited by child processes.
_CACHE = os.path.join(tempfile.gettempdir(), f"moore-tests-{os.getuid()}-xla")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
