"""What is compared of two runs with options of the hand-over."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def rows(folder: Path, stage: str | None = None) -> list[dict]:
    """The metrics without the clock."""
    parsed = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [
        {key: value for key, value in row.items() if not key.startswith("time/")}
        for row in parsed
        if stage in (None, row["stage"])
    ]


def arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The state in a checkpoint."""
    return load_file(folder / "checkpoints" / name / "state.safetensors")


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
