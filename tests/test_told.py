"""What readers find out of a log is known wherever it is needed, and believed of no file."""

import json

import numpy as np
import pytest

from made_logs import write_d4rl_file
from moore.data.cuts import ends_text
from moore.data.log import ENDS, notes_of, told
from moore.data.precision import PassingWindows, lost_in_float32
from moore.envs.identity import logged_arguments
from moore.errors import InputError
from moore.findings.defects import findings
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset, read_log
from moore.inspecting.summary import summarize

ROWS, STEPS = 240, 40


def arrays(offset=0.0):
    """A walk in episodes of 40 steps, and a second column far from zero."""
    dice = np.random.default_rng(1)
    obs = dice.normal(0, 0.1, (ROWS, 2)).cumsum(axis=0) + np.array([0.0, offset])
    made = {"observations": obs, "actions": dice.uniform(-1, 1, (ROWS, 1))}
    last = np.arange(ROWS) % STEPS == STEPS - 1
    flags = {"terminals": np.zeros(ROWS, bool), "timeouts": last}
    return made | {"rewards": dice.normal(size=ROWS)} | flags


def csv_log(path, offset):
    made = arrays(offset)
    episode = np.arange(ROWS) // STEPS
    columns = [*made["observations"].T, *made["actions"].T, made["rewards"], episode]
    lines = [",".join(repr(float(value)) for value in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join(["x,y,u,r,e", *lines]) + "\n")
    return {"obs": ["x", "y"], "action": "u", "reward": "r", "episode": "e"}


# --- precision ---


def test_a_run_hears_of_the_precision_that_a_table_loses(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "log.csv"
    columns = csv_log(path, offset=1.7e9)
    data = load_dataset(path, columns=columns)
    assert [column["dim"] for column in data.metadata["float32"]["obs"]] == [1]
    exact = summarize(read_log(path, exact=True, columns=columns))
    assert exact["float32"]["obs"][0]["dim"] == 1
    with pytest.raises(InputError, match="accept precision-lost"):
        check_log_for_run(data, None)
    columns = csv_log(path, offset=0.0)
    assert "float32" not in load_dataset(path, columns=columns).metadata


@pytest.mark.parametrize("rows", [3, 500, 100_000])
def test_blocks_of_unknown_number_are_judged_like_whole_arrays(rows):
    dice = np.random.default_rng(2)
    obs = dice.normal(0, 0.1, (rows, 2)).cumsum(axis=0) + np.array([0.0, 1e8])
    windows = PassingWindows()
    for start in range(0, rows, 999):
        windows.take({"obs": obs[start : start + 999], "next_obs": None})
    ends = np.arange(rows) % 50 == 49
    found, whole = windows.lost(~ends), lost_in_float32({"obs": obs}, ends)
    assert [c["dim"] for c in found["obs"]] == [c["dim"] for c in whole["obs"]] == [1]
    assert found["obs"][0]["rounding"] == pytest.approx(whole["obs"][0]["rounding"], rel=0.3)


@pytest.mark.parametrize(
    ("size", "lost"), [(5e-324, [1.0]), (1e-200, [1.0]), (1.0, []), (1e30, []), (1e300, [])]
)
def test_steps_of_any_size_are_compared(size, lost):
    """Those too small for float32 are lost, all of them; too large ones are refused elsewhere."""
    obs = np.random.default_rng(3).normal(size=(100, 1)) * size
    found = lost_in_float32({"obs": obs}, np.zeros(100, bool)).get("obs", [])
    assert [column["wrong"] for column in found] == lost
    json.dumps(found, allow_nan=False)


# --- metadata of the same names in a file ---

STRANGE = [{"obs": 3}, {"obs": [{"dim": 0}]}, {"source": "x"}, {"every": "a"}, {"jumps": []}]
STRANGE += [[1], "text", 5, True, None, {"source": "given"}]


@pytest.mark.parametrize("key", ["float32", "ends", "unflagged_ends", "parts", "notes"])
@pytest.mark.parametrize("value", STRANGE, ids=str)
def test_metadata_of_another_form_are_nobodys_findings(key, value, tmp_path):
    attributes = {"moore_metadata": json.dumps({key: value})}
    path = write_d4rl_file(tmp_path / "log.hdf5", arrays(), attributes)
    data = load_dataset(path)
    assert (
        check_log_for_run(data, None) == []
        and logged_arguments(data) == ""
        and notes_of(data.metadata) == []
    )
    assert all(finding.level == "note" for finding in findings(summarize(read_log(path))))


def test_findings_outlive_joining_and_their_own_form_is_taken(tmp_path):
    path = write_d4rl_file(tmp_path / "log.hdf5", arrays(offset=1.7e9))
    joined = load_dataset(f"{path},{path}")
    assert told(joined.metadata, "float32") == told(load_dataset(path).metadata, "float32") != {}
    for source in ENDS:
        steps = None if source == "successors" else 40
        ends = {"source": source, "steps": steps}
        assert told({"ends": ends}, "ends") == ends and ends_text(**ends)


# --- rewards by a function ---


def test_rewards_by_a_function_leave_the_ends_where_they_are_found(tmp_path):
    made = arrays()
    made.pop("timeouts")
    path = write_d4rl_file(tmp_path / "log.hdf5", made)
    data = load_dataset(path, reward=lambda obs, action, after: after[:, 0], max_episode_steps=40)
    assert data.episode_lengths.tolist() == [STEPS - 1] * (ROWS // STEPS)
    assert told(data.metadata, "ends") == {"source": "given", "steps": 40}
    assert data.metadata["timeouts_recorded"] is False


# --- ends of episodes ---


def with_successors(change):
    made = arrays()
    start = np.arange(ROWS) // STEPS * 9.0
    made["observations"] = made["observations"] + start[:, None]
    after = made["observations"] + 0.05
    inside = np.flatnonzero(~made["timeouts"])
    after[inside] = made["observations"][inside + 1]
    ends = np.flatnonzero(made["timeouts"])[:-1]
    after[ends] = change(after[ends], made["observations"][ends + 1])
    return made | {"next_observations": after}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda after, following: following + 1e-4, ("reset-successors", "ruins")),
        (lambda after, following: np.column_stack([after[:, 0], 99 + after[:, 1]]),
         ("padded-successors", "note")),
        (lambda after, following: after, None),
    ],
)  # fmt: skip
def test_ends_that_no_step_leads_to_are_said(change, found, tmp_path):
    path = write_d4rl_file(tmp_path / "log.hdf5", with_successors(change))
    names = [(f.name, f.level) for f in findings(summarize(read_log(path, exact=True)))]
    ends = [(name, level) for name, level in names if name.endswith("-successors")]
    assert ends == ([] if found is None else [found])
    if found is not None and found[1] == "ruins":
        with pytest.raises(InputError, match=found[0]):
            check_log_for_run(load_dataset(path), None)
