"""Other ways to the ensemble's matrix products on a CPU: forms of the product, and XLA's flags.

    python benchmarks/products_tried.py --out docs/results/products-tried.csv
    python benchmarks/products_tried.py --clock processor --rounds 5

What is timed is a gradient of the ensemble at the paper's sizes, 7 members with 256 rows each. Each
set of flags has a process of its own; processes take turns, and so do the forms within one. Beside
them stand the same products alone in NumPy.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from processor import processor_name, usable_cores, use_clock
from rows_file import write_rows

MEMBERS, BATCH, WIDTHS = 7, 256, (14, 200, 200, 200, 200, 24)
# Gradients of a call, and rows that are imagined from at a time.
CALLS, ROWS = 10, 10_000
BLOCKS = (10_000, 2_000, 500, 250)
FLAGS = {
    "none": "",
    "oneDNN calls": "--xla_cpu_experimental_onednn_custom_call=true",
    "oneDNN": "--xla_cpu_use_onednn=true",
    "XNNPACK": "--xla_cpu_use_xnnpack=true",
    "XNNPACK products": "--xla_cpu_experimental_xnn_fusion_type=LIBRARY_FUSION_TYPE_DOT",
    "YNNPACK products": "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT",
    "no YNNPACK": "--xla_cpu_experimental_ynn_fusion_type=",
    "vectors of 512 bits": "--xla_cpu_prefer_vector_width=512",
    "no concurrent schedule": "--xla_cpu_enable_concurrency_optimized_scheduler=false",
    "fast mathematics": "--xla_cpu_enable_fast_math=true",
}
FORMS = (
    "batched",
    "each product by itself",
    "weights turned",
    "each member by itself",
    "a loop over members",
)
COLUMNS = ("flags", "form", "milliseconds", "least", "most", "ratio", "gigaflop_per_second", "note")


def forms() -> dict[str, Callable]:
    """Name -> (weights, x) -> outputs of the networks of all members."""
    import jax
    import jax.numpy as jnp

    def network(product: Callable) -> Callable:
        def outputs(weights, x):
            for place, weight in enumerate(weights):
                x = product(x, weight)
                if place < len(weights) - 1:
                    x = jax.nn.swish(x)
            return x

        return outputs

    def one_by_one(x, w):
        return jnp.stack([x[member] @ w[member] for member in range(MEMBERS)])

    def turned(x, w):
        return jnp.einsum("koi,kbi->kob", w.swapaxes(1, 2), x).swapaxes(1, 2)

    def unrolled(weights, x):
        alone = network(jnp.matmul)
        return jnp.stack([alone([w[m] for w in weights], x[m]) for m in range(MEMBERS)])

    return {
        "batched": network(jnp.matmul),
        "each product by itself": network(one_by_one),
        "weights turned": network(turned),
        "each member by itself": unrolled,
        "a loop over members": lambda w, x: jax.lax.map(lambda m: network(jnp.matmul)(*m), (w, x)),
    }


def gradient(form: Callable) -> Callable:
    """CALLS steps down the gradient of a squared error of all members."""
    import jax
    import jax.numpy as jnp

    def loss(weights, x, y):
        return jnp.mean((form(weights, x) - y) ** 2)

    def steps(weights, x, y):
        def step(_, weights):
            found = jax.grad(loss)(weights, x, y)
            return [w - 1e-3 * g for w, g in zip(weights, found, strict=True)]

        return jax.lax.fori_loop(0, CALLS, step, weights)

    return jax.jit(steps)


def blocks(form: Callable, size: int) -> Callable:
    """The outputs for ROWS rows, so many at a time."""
    import jax
    import jax.numpy as jnp

    def outputs(weights, x):
        def some(part):
            return form(weights, jnp.broadcast_to(part, (MEMBERS, *part.shape)))

        if size == ROWS:
            return some(x)
        made = jax.lax.map(some, x.reshape(-1, size, x.shape[-1]))
        return made.swapaxes(0, 1).reshape(MEMBERS, ROWS, -1)

    return jax.jit(outputs)


def worker(clock: str, names: list) -> None:
    """A process: a request a line is a form, the answer its milliseconds a gradient."""
    import jax
    import numpy as np
    from products import forward, gigaflop, numpy_products, to_inputs, to_weights

    use_clock(clock)
    rng = np.random.default_rng(0)
    weights = [
        jax.numpy.asarray(0.05 * rng.standard_normal((MEMBERS, n, m), np.float32))
        for n, m in itertools.pairwise(WIDTHS)
    ]
    x, y = (
        jax.numpy.asarray(rng.standard_normal((MEMBERS, BATCH, width), np.float32))
        for width in (WIDTHS[0], WIDTHS[-1])
    )
    rows = jax.numpy.asarray(rng.standard_normal((ROWS, WIDTHS[0]), np.float32))
    made, sums = {}, {}
    for name in names:
        kind, size = name if isinstance(name, list) else (name, None)
        of = (weights, x, y) if size is None else (weights, rows)
        program = gradient(forms()[kind]) if size is None else blocks(forms()[kind], size)
        compiled = program.lower(*of).compile()
        key = name if size is None else f"{size} rows"
        made[key] = partial(compiled, *of)
        sums[key] = float(jax.tree.leaves(compiled(*of))[-1].sum())
    one = forward(WIDTHS, BATCH) + to_weights(WIDTHS, BATCH) + to_inputs(WIDTHS, BATCH)[1:]
    products = MEMBERS * one
    plain = numpy_products(products, CALLS)
    flop = {"gigaflop": gigaflop(products), "of_rows": gigaflop(MEMBERS * forward(WIDTHS, ROWS))}
    print(json.dumps(flop | {"sums": sums}), flush=True)
    for line in sys.stdin:
        name = json.loads(line)
        begin = time.perf_counter()
        if name == "NumPy":
            plain()
        else:
            jax.block_until_ready(made[name]())
        units = 1 if name.endswith("rows") else CALLS
        print(json.dumps(1e3 * (time.perf_counter() - begin) / units), flush=True)


class Process:
    """A worker with some flags, or why there is none."""

    def __init__(self, flags: str, clock: str, names: list):
        kept = os.environ.get("XLA_FLAGS", "") if not flags else ""
        surroundings = os.environ | {"XLA_FLAGS": flags or kept, "JAX_PLATFORMS": "cpu"}
        # A program of other flags is not to be taken from the cache.
        surroundings.pop("JAX_COMPILATION_CACHE_DIR", None)
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker", clock, json.dumps(names)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=surroundings,
        )  # fmt: skip
        line = self._process.stdout.readline()
        self.about = json.loads(line) if line else None

    def ask(self, name: str) -> float:
        """Milliseconds of a gradient."""
        self._process.stdin.write(json.dumps(name) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> str:
        """Ends it; the last line of its complaints."""
        self._process.stdin.close()
        said = self._process.stderr.read().strip().splitlines()
        self._process.wait()
        return said[-1][-120:] if said else ""


def measure(clock: str, rounds: int, asked: list[str]) -> list[dict]:
    """A row for each form and block without flags, and for the batched form with each set of flags.

    The gradients are compared with the batched form, the blocks with all rows at once.
    """
    first, *others = FORMS
    sizes = [f"{size} rows" for size in BLOCKS]
    plain = Process("", clock, [*FORMS, *([first, size] for size in BLOCKS)])
    rows, sums = [], plain.about["sums"]

    def compared(to: str, name: str) -> dict:
        base, times = _in_turn((plain, to), (plain, name), rounds)
        flop = plain.about["of_rows" if to in sizes else "gigaflop"]
        return _row("none", name, times, base, flop, sums.get(name))

    rows += [compared(first, name) for name in (first, *others, "NumPy")]
    rows += [compared(sizes[0], name) for name in sizes]
    for name in asked:
        process = Process(FLAGS[name], clock, [first])
        if process.about is None:
            rows.append({"flags": name, "form": first, "note": process.end()})
            continue
        base, times = _in_turn((plain, first), (process, first), rounds)
        flop, total = plain.about["gigaflop"], process.about["sums"][first]
        rows.append(_row(name, first, times, base, flop, total))
        process.end()
    plain.end()
    return rows


def _in_turn(one: tuple, other: tuple, rounds: int) -> tuple[list[float], list[float]]:
    found = [(one[0].ask(one[1]), other[0].ask(other[1])) for _ in range(1 + rounds)]
    first, second = zip(*found[1:], strict=True)
    return list(first), list(second)


def _row(flags, form, times, base, flop, total) -> dict:
    median = statistics.median(times)
    ratio = statistics.median(b / t for b, t in zip(base, times, strict=True))
    return {
        "flags": flags,
        "form": form,
        "milliseconds": round(median, 3),
        "least": round(min(times), 3),
        "most": round(max(times), 3),
        "ratio": round(ratio, 3),
        "gigaflop_per_second": round(1e3 * flop / median, 1),
        "note": "" if total is None else f"sum {total:.6g}",
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flags", nargs="*", choices=list(FLAGS), default=list(FLAGS)[1:])
    parser.add_argument("--rounds", type=int, default=5, help="calls that count (5)")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--out", type=Path, help="CSV that the rows are written into")
    chosen = parser.parse_args(argv)
    rows = measure(chosen.clock, chosen.rounds, chosen.flags)
    about = {"processor": processor_name(), "threads": len(usable_cores()), "clock": chosen.clock}
    for row in rows:
        print(row)
    if chosen.out:
        write_rows(chosen.out, [*COLUMNS, *about], (row | about for row in rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
