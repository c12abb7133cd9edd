"""The processor: its name, the cores that may be used, how busy it is, and what time is."""

import os
import platform
import time


def processor_name() -> str:
    """Name of the processor, as the system tells it."""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if "model name" in line:
                    return line.split(":", 1)[1].strip()
    return platform.processor()


def usable_cores() -> list[int]:
    """The cores that this process may run on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def load() -> float:
    """Load of the last minute: how many processes ran or waited for a core."""
    return round(os.getloadavg()[0], 2)


def use_clock(name: str) -> None:
    """From now on the clock of this process counts seconds of a wall, or of its processor.

    On a machine that others share, processor time with one thread is what an idle core would take,
    but for what others leave in its caches.
    """
    if name == "processor":
        time.perf_counter = time.process_time
