"""Compiled programs are shared by the tests, and by the processes that they start.

Property tests draw the same examples every time, so that a suite that passed passes again;
`pytest --hypothesis-profile=search` draws new ones.
"""

import os
import tempfile

from hypothesis import settings

# Set before jax is imported, and inherited by child processes.
_CACHE = os.path.join(tempfile.gettempdir(), f"moore-tests-{os.getuid()}-xla")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None)
settings.load_profile("repeat")
