"""Runs cells on a Ray cluster: each is a task, placed on a node that has what it needs.

All nodes see the folder of the sweep at the same path. A cell whose node or process is lost is
started again by Ray, on another node if need be, and goes on from its last checkpoint.
"""

import math
from typing import Any

from moore.errors import InputError
from moore.sweeps.cell import Cell, limit_threads, run_cell
from moore.sweeps.needs import Needs

# Times that a cell is started again after its node or its process was lost.
_RETRIES = 10
# Share of a GPU's part that JAX takes at once; the rest is for what the driver needs.
_OF_GPU = 0.9


class RayPool:
    """A pool of tasks on a Ray cluster.

    Args:
        address: address of the cluster, or "local" for one on this machine.
        needs: what each cell needs.

    Raises:
        InputError: Ray is not installed, there is no cluster, or no node of a local one has what a
            cell needs.
    """

    pause = 0.5

    def __init__(self, address: str, needs: Needs):
        try:
            import ray
        except ImportError:
            raise InputError('--ray needs Ray: pip install "moore-rl[ray]".') from None
        self._ray, self._needs = ray, needs
        try:
            ray.init(
                address=None if address == "local" else address,
                log_to_driver=False,
                runtime_env={"env_vars": environment(needs)},
            )
        except (ConnectionError, ValueError) as error:
            raise InputError(f"--ray {address}: no cluster there ({error}).") from None
        if address == "local" and not self._places():
            ray.shutdown()
            raise InputError(
                f"--ray local: this machine has not {needs}, which every cell needs; lower --cpus "
                "or --gpus."
            )
        options = {"num_cpus": needs.cpus, "num_gpus": needs.gpus, "max_retries": _RETRIES}
        self._remote = ray.remote(**options)(run_cell)

    @property
    def room(self) -> int:
        """Number of cells that the nodes can hold now, and one that waits for a node to join."""
        return self._places() + 1

    def _places(self) -> int:
        return sum(self._needs.fit(n["Resources"]) for n in self._ray.nodes() if n["Alive"])

    def start(self, cell: Cell) -> Any:
        return self._remote.remote(cell)

    def ended(self, task: Any) -> str | None:
        """None while the task runs or waits, "" if it succeeded, else what it raised."""
        ready, _ = self._ray.wait([task], timeout=0)
        if not ready:
            return None
        try:
            self._ray.get(task)
        except Exception as error:  # whatever happened over there
            return str(error).strip() or repr(error)
        return ""

    def close(self) -> None:
        self._ray.shutdown()


def environment(needs: Needs) -> dict[str, str]:
    """Environment variables of a cell: threads for its CPUs, and its part of a GPU's memory."""
    found = limit_threads(max(math.floor(needs.cpus), 1))
    if not needs.gpus:
        return found | {"JAX_PLATFORMS": "cpu"}  # on a node with GPUs they belong to others
    if needs.gpus < 1:
        found["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_OF_GPU * needs.gpus:.3f}"
    return found
