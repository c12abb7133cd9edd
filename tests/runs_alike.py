"""Whether two run folders hold the same run, but for the clock."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from moore.runs.checkpoint import newest_first

_CLOCK = ("time", "updates_per_second", "dataset")


def rows(folder: Path) -> list[dict]:
    """The metrics without the clock."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if not key.startswith("time/")}
        for line in lines
    ]


def final_state(folder: Path) -> dict[str, np.ndarray]:
    return load_file(newest_first(folder / "checkpoints")[0] / "state.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    """Metrics, summary, policy and the newest checkpoint are the same."""
    assert rows(one) == rows(other)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (one, other)]
    for summary in summaries:
        for name in _CLOCK:
            summary.pop(name, None)
    assert summaries[0] == summaries[1]
    policies = [load_file(folder / "policy" / "policy.safetensors") for folder in (one, other)]
    for a, b in ((final_state(one), final_state(other)), tuple(policies)):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
