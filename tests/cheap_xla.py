"""The tests' many small programs are compiled in a fourth of the time, and lowered in less."""

import functools
import importlib.util
import mmap
from pathlib import Path

# XLA's newer way to make fused loops takes four times as long to compile as the older one, and the
# programs are too small to be split for several threads.
_CHEAPER = {"xla_cpu_use_fusion_emitters": "false", "xla_cpu_parallel_codegen_split_count": "1"}
# The arrays are small, too: threads would only take the other workers' cores. XLA reads no further
# than a word without dashes.
_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def flags() -> str:
    """The value of XLA_FLAGS; without those that this version of XLA would refuse to start with."""
    found = importlib.util.find_spec("jaxlib")
    folder = Path(found.origin).parent if found is not None and found.origin else Path()
    libraries = [path for path in folder.glob("libjax_common*") if path.stat().st_size]
    cheaper = [
        f"--{name}={value}"
        for name, value in _CHEAPER.items()
        if any(_holds(library, name.encode()) for library in libraries)
    ]
    return " ".join([*cheaper, _ONE_THREAD])


def _holds(library: Path, name: bytes) -> bool:
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(name) >= 0


def one_context_for_many_programs() -> None:
    """JAX lowers every program in an MLIR context of its own, and takes milliseconds to make one.

    There are thousands of programs here, most of a single operation. Their text is the same.
    """
    from jax._src.interpreters import mlir

    if hasattr(mlir, "make_ir_context"):
        mlir.make_ir_context = functools.cache(mlir.make_ir_context)


def new_context() -> None:
    """The next program makes one; a context keeps the constants of all that it was used for."""
    from jax._src.interpreters import mlir

    if hasattr(mlir, "make_ir_context"):
        mlir.make_ir_context.cache_clear()
