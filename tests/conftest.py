"""Compiled programs are shared by the tests, and by the processes that they start.

Property tests draw the same examples every time, so that a suite that passed passes again;
`pytest --hypothesis-profile=search` draws new ones.
"""

import gc
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Set before jax is imported, and inherited by child processes.
_CACHE = os.path.join(tempfile.gettempdir(), f"moore-tests-{os.getuid()}-xla")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None)
settings.load_profile("repeat")

# A process may have 65,530 of them (Linux, vm.max_map_count). Every compiled program has several,
# and where there are no more, jaxlib dies of a segmentation fault.
_MOST_MAPS = 15_000


@pytest.fixture(scope="module", autouse=True)
def few_memory_maps():
    """After a file of tests compiled programs are dropped, if the process has very many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > _MOST_MAPS:
        import jax  # not before the cache's place is set, and not for tests without it

        jax.clear_caches()
        gc.collect()
