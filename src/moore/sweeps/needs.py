"""What a cell of a sweep needs of the machine that it runs on."""

from collections.abc import Mapping
from dataclasses import dataclass

from moore.errors import InputError


@dataclass(frozen=True)
class Needs:
    """CPUs and GPUs of a cell; fractions let several cells share one.

    Raises:
        InputError: a number is negative or not finite, a cell needs no CPU, or several GPUs but not
            whole ones.
    """

    cpus: int | float = 1
    gpus: int | float = 0

    def __post_init__(self):
        if not 0.0 < self.cpus < float("inf"):
            raise InputError(f"--cpus is {self.cpus:g}; it must be a positive number.")
        if not 0.0 <= self.gpus < float("inf") or (self.gpus > 1 and self.gpus % 1):
            raise InputError(
                f"--gpus is {self.gpus:g}; it must be 0, a fraction of 1, or a whole number."
            )

    def fit(self, resources: Mapping[str, float]) -> int:
        """How many such cells a node with these `CPU` and `GPU` can hold."""
        count = int(resources.get("CPU", 0.0) / self.cpus + 1e-9)
        if self.gpus:
            count = min(count, int(resources.get("GPU", 0.0) / self.gpus + 1e-9))
        return count

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.cpus:g} CPUs{gpus}"
