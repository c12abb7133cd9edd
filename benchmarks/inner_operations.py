"""Times the four inner operations of a run, each beside the same work in plain NumPy.

    python benchmarks/inner_operations.py --repeats 9 --threads 2

The sizes are the paper's, the data synthetic. benchmarks/README.md says how to read the table.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import jax
import jaxlib
import numpy as np
from cases import Case, Sizes, ensemble_case, rollout_case, sampling_case, update_case
from processor import load, processor_name

from moore.version import __version__

# Above this load something else is running.
MAX_LOAD = 0.5
# Seconds before each call: the threads of a BLAS go on spinning for a while after a product.
PAUSE = 0.05
# XLA sizes its pool by NPROC; the others are those of the libraries behind NumPy.
THREAD_VARIABLES = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def measure(case: Case, repeats: int) -> dict:
    """Times of one unit, ours and NumPy's in turn; the first call of each does not count."""
    times = {"ours": [], "numpy": []}

    def clock(name: str, run: Callable[[], Any]) -> None:
        time.sleep(PAUSE)
        start = time.perf_counter()
        run()
        times[name].append((time.perf_counter() - start) / case.units)

    for _ in range(1 + repeats):
        clock("ours", partial(case.ours, case.prepare()))
        clock("numpy", case.numpys)

    def side(name: str) -> dict:
        seconds = times[name][1:]
        median = statistics.median(seconds)
        rates = {f"{kind}_per_second": amount / median for kind, amount in case.work.items()}
        extremes = {"least": 1e3 * min(seconds), "most": 1e3 * max(seconds)}
        return {"milliseconds": 1e3 * median, **extremes, **rates}

    ours, numpys = side("ours"), side("numpy")
    share = numpys["milliseconds"] / ours["milliseconds"]
    return {"unit": case.unit, "work": case.work, "ours": ours, "numpy": numpys, "share": share}


def measure_all(sizes: Sizes, repeats: int) -> list[dict]:
    """One row an operation, and one a size of the draws; a case is dropped before the next one."""
    cases = [
        ("SAC update", lambda: update_case(sizes)),
        ("ensemble step", lambda: ensemble_case(sizes)),
        ("rollout transition", lambda: rollout_case(sizes)),
        *(("sampling", lambda n=n: sampling_case(sizes, n)) for n in sizes.draws),
    ]
    return [{"operation": name, **measure(make(), repeats)} for name, make in cases]


def machine(threads: int | None) -> dict:
    """What the numbers depend on, besides the sizes; the load is that of the last minute."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": threads or "all",
        "device": jax.devices()[0].device_kind,
        "load": load(),
        "moore": __version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas.get('version', '')}".strip(),
    }


def rate(side: dict) -> str:
    if "gigaflop_per_second" in side:
        return f"{side['gigaflop_per_second']:.1f} GFLOP/s"
    return f"{side['rows_per_second'] / 1e6:.2f} Mrow/s, {side['gigabyte_per_second']:.2f} GB/s"


def table(report: dict) -> Iterator[str]:
    """The report as lines."""
    yield "  ".join(f"{name}: {value}" for name, value in report["machine"].items())
    form = "{:<19} {:<19} {:>9} {:>19} {:>25} {:>9} {:>25} {:>6}"
    head = "operation", "time of", "ms", "least to most", "rate"
    yield form.format(*head, "NumPy ms", "NumPy rate", "share")
    for row in report["operations"]:
        ours, numpys = row["ours"], row["numpy"]
        yield form.format(
            row["operation"],
            row["unit"],
            f"{ours['milliseconds']:.3f}",
            f"{ours['least']:.3f} to {ours['most']:.3f}",
            rate(ours),
            f"{numpys['milliseconds']:.3f}",
            rate(numpys),
            f"{row['share']:.0%}",
        )


def use_threads(count: int) -> None:
    """Starts this script anew where needed: libraries read the variables when they are loaded."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(count))
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)


def at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0.")
    return int(text)


def env_dims(text: str) -> tuple[int, int]:
    obs, _, action = text.partition(",")
    if not (obs.isdecimal() and action.isdecimal() and int(obs) >= 2 and int(action) >= 1):
        # Hopper's termination rule looks at two entries.
        raise argparse.ArgumentTypeError(f"'{text}': expected obs,action, at least 2,1.")
    return int(obs), int(action)


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--repeats", type=at_least_one, default=9, help="calls that count (9)")
    add("--threads", type=at_least_one, help="of XLA and of NumPy's BLAS (all cores)")
    add("--env-dims", type=env_dims, default=(11, 3), metavar="OBS,ACTION", help="Hopper's: 11,3")
    add("--json", action="store_true", help="print JSON, not a table")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    if chosen.threads:
        use_threads(chosen.threads)
    about = machine(chosen.threads)
    print(f"load of the last minute: {about['load']:.2f}", file=sys.stderr)
    if about["load"] > MAX_LOAD:
        note = "something else is running, and the times will not mean much."
        print(f"warning: the load is above {MAX_LOAD}; {note}", file=sys.stderr)
    obs, action = chosen.env_dims
    sizes = Sizes(obs=obs, action=action)
    rows = measure_all(sizes, chosen.repeats)
    report = {
        "machine": about,
        "sizes": asdict(sizes),
        "repeats": chosen.repeats,
        "operations": rows,
    }
    print(json.dumps(report, indent=2) if chosen.json else "\n".join(table(report)))


if __name__ == "__main__":
    main()
