"""What the system tells of its processor."""

from pathlib import Path


def processor_facts(*names: str) -> list[str]:
    """The lines of /proc/cpuinfo that begin with one of these names; empty where there are none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.startswith(names)]
