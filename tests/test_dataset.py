"""The data set: D4RL layouts, archives, checks, and successors that are true or marked unknown."""

import json
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.data.dataset import Dataset, concatenate, from_flat_arrays, from_log, validate
from moore.data.log import Log
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores
from moore.formats import load
from moore.formats.load import check_against_spaces, load_dataset, read_log
from moore.formats.npz import write_npz

# Seven rows: an episode of 3 that terminates, one of 2 that times out, 2 rows of a third, cut off.
# Row i observes (i, -i) and earns i; the true successor of an episode's last row is i + 0.5.
ROWS = np.arange(7.0)
RAW = {
    "observations": np.stack([ROWS, -ROWS], axis=1),
    "actions": np.full((7, 1), 0.5),
    "rewards": ROWS,
    "terminals": np.array([0, 0, 1, 0, 0, 0, 0], bool),
    "timeouts": np.array([0, 0, 0, 0, 1, 0, 0], bool),
}
SUCCESSOR = np.array([1, 2, 2.5, 4, 4.5, 6, 6.5])
STORED = {"next_observations": np.stack([SUCCESSOR, -SUCCESSOR], axis=1)}


def write_hdf5(path, arrays, **attributes):
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value
        file["infos/qpos"] = np.zeros(3)
        file.attrs.update(attributes)
    return path


def without(arrays, *keys):
    return {key: value for key, value in arrays.items() if key not in keys}


def small(**changes) -> Dataset:
    flat = from_flat_arrays(
        RAW["observations"],
        RAW["actions"],
        reward=RAW["rewards"],
        terminals=RAW["terminals"],
        timeouts=RAW["timeouts"],
    )
    base = Dataset(**flat, name="small", env_id=None, sha256="0", reference=None, metadata={})
    return replace(base, **changes)


def refuses(match, function, *args, **kwargs):
    with pytest.raises(InputError, match=match) as raised:
        function(*args, **kwargs)
    assert "\n" not in str(raised.value)


def test_v2_layout_keeps_every_row_with_its_stored_successor(tmp_path):
    data = load_dataset(write_hdf5(tmp_path / "v2.hdf5", RAW | STORED))
    np.testing.assert_array_equal(data.obs[:, 0], ROWS)
    np.testing.assert_array_equal(data.next_obs[:, 0], SUCCESSOR)
    np.testing.assert_array_equal(data.next_obs[:, 1], -SUCCESSOR)
    assert data.successor_known.all() and data.has_terminals
    np.testing.assert_array_equal(data.terminated, RAW["terminals"])
    np.testing.assert_array_equal(data.truncated, RAW["timeouts"])
    np.testing.assert_array_equal(data.episode_returns, [0 + 1 + 2, 3 + 4])
    np.testing.assert_array_equal(data.episode_lengths, [3, 2])
    assert (data.size, data.obs_dim, data.action_dim) == (7, 2, 1)
    assert {data.obs.dtype, data.action.dtype, data.reward.dtype} == {np.dtype(np.float32)}


def test_v1_layout_derives_successors_inside_episodes_only(tmp_path):
    data = load_dataset(write_hdf5(tmp_path / "v1.hdf5", RAW))
    # Rows 4 (time-out) and 6 (last) have no successor and are dropped, so 3 and 5 end their parts.
    np.testing.assert_array_equal(data.obs[:, 0], [0, 1, 2, 3, 5])
    np.testing.assert_array_equal(data.next_obs[:, 0], [1, 2, 2, 4, 6])
    np.testing.assert_array_equal(data.successor_known, [True, True, False, True, True])
    np.testing.assert_array_equal(data.terminated, [False, False, True, False, False])
    np.testing.assert_array_equal(data.truncated, [False, False, False, True, True])
    np.testing.assert_array_equal(data.episode_returns, [3, 7])
    np.testing.assert_array_equal(data.episode_lengths, [3, 2])
    assert data.metadata["file_rows"] == 7


def test_v0_layout_cuts_an_episode_at_the_time_limit(tmp_path):
    path = write_hdf5(tmp_path / "v0.hdf5", without(RAW, "timeouts"))
    data = from_log(read_log(path), max_episode_steps=2)
    # Episodes by a limit of 2: rows 0-1 (cut), 2 (terminal), 3-4 (cut), 5-6 (cut).
    np.testing.assert_array_equal(data.obs[:, 0], [0, 2, 3, 5])
    np.testing.assert_array_equal(data.next_obs[:, 0], [1, 2, 4, 6])
    np.testing.assert_array_equal(data.successor_known, [True, False, True, True])
    np.testing.assert_array_equal(data.episode_lengths, [2, 1, 2, 2])
    np.testing.assert_array_equal(data.episode_returns, [1, 2, 7, 11])
    np.testing.assert_array_equal(load_dataset(path).episode_lengths, [3])


def test_a_terminal_on_the_last_allowed_step_is_no_time_out():
    flat = from_flat_arrays(
        np.zeros((4, 1)),
        np.zeros((4, 1)),
        reward=np.ones((4, 1)),
        terminals=np.array([[0], [1], [0], [0]]),
        max_episode_steps=2,
    )
    np.testing.assert_array_equal(flat["episode_lengths"], [2, 2])
    np.testing.assert_array_equal(flat["terminated"], [False, True, False])
    assert flat["reward"].shape == (3,)


def test_a_row_with_both_flags_is_terminal(tmp_path):
    both = RAW | STORED | {"timeouts": RAW["timeouts"] | RAW["terminals"]}
    data = load_dataset(write_hdf5(tmp_path / "both.hdf5", both))
    assert data.terminated[2] and not data.truncated[2]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_known_successors_are_the_true_ones(draw):
    limit = draw.draw(st.integers(1, 6), "limit")
    # Each episode: its length, and whether it terminates; without a terminal it ends at the limit.
    ending = st.tuples(st.integers(1, limit), st.booleans())
    episodes = draw.draw(st.lists(ending, min_size=1, max_size=8), "episodes")
    rows, true_next, terminals, timeouts, state = [], [], [], [], 0
    for length, terminal in episodes:
        steps = length if terminal else limit
        rows += range(state, state + steps)
        true_next += range(state + 1, state + steps + 1)
        terminals += [False] * (steps - 1) + [terminal]
        timeouts += [False] * (steps - 1) + [not terminal or draw.draw(st.booleans())]
        state += steps + 1  # the last successor is no row, and its number belongs to nobody else
    cut = draw.draw(st.integers(0, len(rows) - 1), "rows lost at the end of the file")
    obs, following = (np.array(x[: len(rows) - cut], float)[:, None] for x in (rows, true_next))
    flat = from_flat_arrays(
        obs,
        np.zeros_like(obs),
        reward=obs[:, 0],
        terminals=np.array(terminals[: len(obs)]),
        timeouts=draw.draw(st.sampled_from([None, np.array(timeouts[: len(obs)])]), "timeouts"),
        next_obs=draw.draw(st.sampled_from([None, following]), "next_obs"),
        max_episode_steps=limit,
    )
    known = flat["successor_known"]
    np.testing.assert_array_equal(flat["next_obs"][known], flat["obs"][known] + 1)
    np.testing.assert_array_equal(flat["next_obs"][~known], flat["obs"][~known])
    assert not (~known & ~flat["terminated"]).any()
    assert not (flat["terminated"] & flat["truncated"]).any()
    # No episode runs on into another: where no flag stands, the next row continues this one.
    goes_on = ~(flat["terminated"] | flat["truncated"])[:-1]
    np.testing.assert_array_equal(flat["next_obs"][:-1][goes_on], flat["obs"][1:][goes_on])
    assert flat["episode_lengths"].sum() <= len(obs)
    assert flat["episode_lengths"].max(initial=0) <= limit


def test_attributes_become_metadata_and_references(tmp_path):
    path = tmp_path / "log.hdf5"
    write_hdf5(path, RAW, env_id="Hopper-v5", seed=3, algorithm=np.bytes_(b"SAC"), curve=[1, 2])
    data = load_dataset(path)
    expected = {"env_id": "Hopper-v5", "seed": 3, "algorithm": "SAC", "file_rows": 7}
    assert data.metadata == expected and json.dumps(data.metadata)
    assert data.env_id == "Hopper-v5"
    assert data.reference.expert == 3234.3
    write_hdf5(path, RAW, env_id="Hopper-v5", ref_min_score=1, ref_max_score=np.float32(9))
    reference = load_dataset(path).reference
    assert (reference.random, reference.expert) == (1.0, 9.0)
    assert load_dataset(write_hdf5(path, RAW)).reference is None


def test_relative_files_are_found_in_d4rls_folders(tmp_path, monkeypatch):
    write_hdf5(tmp_path / "there.hdf5", RAW)
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path))
    assert load_dataset("there.hdf5").name == "there.hdf5"
    refuses(r"absent.hdf5: no such file \(looked for .*\.d4rl", load_dataset, "absent.hdf5")


def test_unreadable_hdf5_files_are_refused(tmp_path):
    whole = write_hdf5(tmp_path / "whole.hdf5", RAW | STORED)
    (tmp_path / "cut.hdf5").write_bytes(whole.read_bytes()[:-1000])
    (tmp_path / "text.hdf5").write_text("observations, actions")
    (tmp_path / "empty.hdf5").write_bytes(b"")
    (tmp_path / "folder.hdf5").mkdir()
    for name in ("cut", "text", "empty"):
        refuses("cannot be read as HDF5", load_dataset, tmp_path / f"{name}.hdf5")
    refuses("is a folder", load_dataset, tmp_path / "folder.hdf5")
    refuses("no such file", load_dataset, tmp_path / "absent.hdf5")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rewards": None}, "rewards missing; the file has actions, infos, observations, term"),
        ({"actions": np.array([b"left"] * 7)}, "action has dtype .S4; expected numbers"),
        ({"actions": np.zeros((6, 1))}, "lengths differ: .*'action': 6"),
        ({"actions": np.zeros(7)}, r"action has shape \(7,\); expected \(rows, dim\)"),
        ({"rewards": np.zeros((7, 2))}, r"reward has shape \(7, 2\); expected \(rows,\)"),
        ({"next_observations": np.zeros((7, 3))}, r"next_obs has shape \(7, 3\) but obs \(7, 2\)"),
        ({"terminals": np.zeros(7), "timeouts": np.zeros(7)}, "no complete episode in 6 rows"),
        ({"rewards": np.where(ROWS == 5, 1e39, 0)}, "reward holds 1 values.*first: row 4"),
        ({"rewards": np.where(ROWS == 4, np.nan, 0)}, "episode_returns holds 1 .*first: row 1"),
        ({"observations": np.full((7, 2), np.nan)}, "obs holds 10 values that are NaN.*row 0"),
        ({key: RAW[key][:0] for key in RAW}, "no rows"),
    ],
)
def test_unusable_arrays_are_refused(tmp_path, change, match):
    arrays = {key: value for key, value in (RAW | change).items() if value is not None}
    refuses(match, load_dataset, write_hdf5(tmp_path / "bad.hdf5", arrays))


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 255.0, -1.0, 0.5]), min_size=7, max_size=7))
def test_what_has_more_values_than_flags_is_none(values):
    flags = np.array(values)
    arrays = {"reward": RAW["rewards"], "terminals": flags, "timeouts": RAW["timeouts"]}
    make = lambda: from_flat_arrays(RAW["observations"], RAW["actions"], **arrays)  # noqa: E731
    if len(set(values) - {0.0}) > 2:
        with pytest.raises(InputError, match=r"terminated holds .*expected flags"):
            make()
    else:
        assert make()["terminated"].sum() == (flags != 0).sum()


def test_returns_that_are_not_those_of_the_rewards_are_refused():
    """As where rewards were changed in a file, and the returns beside them were not."""
    log = Log(
        obs=RAW["observations"],
        action=RAW["actions"],
        reward=RAW["rewards"],
        terminated=RAW["terminals"],
        truncated=RAW["timeouts"],
        next_obs=STORED["next_observations"],
        name="log",
        episode_returns=np.array([3.0, 7.0]),
        episode_lengths=np.array([3, 2]),
    )
    assert from_log(log).episode_returns.tolist() == [3, 7]
    with pytest.raises(InputError, match=r"episode_returns has 3 for episode 0.*add up to 6"):
        from_log(replace(log, reward=2 * log.reward))
    shorter = replace(log, episode_lengths=np.array([9, 9]), reward=2 * log.reward)
    assert from_log(shorter).episode_returns[0] == 3, "of rows that are not all there"


def test_validate_refuses_broken_promises():
    good = small()
    validate(good)
    spoiled = good.next_obs.copy()
    spoiled[3] = [np.inf, np.nan]
    refuses("next_obs holds 2 .*first: row 3", validate, replace(good, next_obs=spoiled))
    unknown = np.array([True, False, False, True, True])
    refuses("in 1 rows that are not terminated .first: row 1", validate,
            replace(good, successor_known=unknown))  # fmt: skip
    refuses("lengths differ", validate, replace(good, reward=good.reward[:-1]))
    refuses("no complete episode", validate, replace(good, episode_returns=np.zeros(0)))


def test_npz_gives_back_what_was_written(tmp_path):
    reference = ReferenceScores(1.0, 2.0, source="measured")
    data = small(env_id="Plant-v0", reference=reference, metadata={"seed": 4})
    write_npz(tmp_path / "a.npz", data)
    back = load_dataset(tmp_path / "a.npz")
    for key in ("obs", "action", "reward", "next_obs", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(back, key), getattr(data, key))
    np.testing.assert_array_equal(back.successor_known, data.successor_known)
    np.testing.assert_array_equal(back.episode_returns, [3, 7])
    assert (back.env_id, back.reference, back.metadata["seed"]) == ("Plant-v0", reference, 4)


def test_npz_bytes_do_not_depend_on_the_time(tmp_path, monkeypatch):
    write_npz(tmp_path / "a.npz", small())
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_npz(tmp_path / "b.npz", load_dataset(tmp_path / "a.npz"))
    write_npz(tmp_path / "c.npz", load_dataset(tmp_path / "a.npz"))
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "c.npz").read_bytes()
    assert load_dataset(tmp_path / "a.npz").sha256 == load_dataset(tmp_path / "b.npz").sha256
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.npz", "c.npz"]


def test_npz_without_next_obs_derives_it(tmp_path):
    names = {"obs": "observations", "action": "actions", "reward": "rewards"}
    names |= {"terminated": "terminals", "truncated": "timeouts"}
    arrays = {new: RAW[old] for new, old in names.items()}
    np.savez(tmp_path / "own.npz", **arrays)
    data = load_dataset(str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(data.next_obs[:, 0], [1, 2, 2, 4, 6])
    np.testing.assert_array_equal(data.episode_returns, [3, 7])
    assert data.env_id is None and data.reference is None


def test_unusable_npz_files_are_refused(tmp_path):
    path = tmp_path / "bad.npz"
    refuses("no such file", load_dataset, path)
    path.write_text("no archive")
    refuses("cannot be read as an .npz archive", load_dataset, path)
    np.savez(path, obs=np.array([{}], object))
    refuses("cannot be read as an .npz archive", load_dataset, path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    refuses("cannot be read as an .npz archive", load_dataset, path)
    np.savez(path, obs=np.zeros((3, 1)))
    refuses(
        "arrays action, reward, terminated, truncated missing; the file has obs", load_dataset, path
    )
    arrays = {"obs": np.zeros((2, 1)), "action": np.zeros((2, 1)), "reward": np.zeros(2)}
    arrays |= {"terminated": np.array([0, 1]), "truncated": np.zeros(2)}
    for metadata, match in {
        "{": "not JSON",
        "[1]": "expected a JSON object",
        '{"env_id": 3}': "env_id a string",
        '{"reference": {"random": 1}}': "expected two returns",
    }.items():
        np.savez(path, **arrays, metadata=metadata)
        refuses(match, load_dataset, path)


def test_concatenate_joins_in_order_without_joining_episodes():
    first = small(name="a", env_id="Plant-v0", sha256="1", truncated=np.zeros(5, bool))
    scores = ReferenceScores(0.0, 1.0, source="test")
    joined = concatenate([first, small(name="b", sha256="2", reference=scores)])
    assert (joined.name, joined.env_id, joined.size) == ("a,b", "Plant-v0", 10)
    assert joined.reference == scores
    np.testing.assert_array_equal(joined.episode_returns, [3, 7, 3, 7])
    assert joined.truncated[4] and not first.truncated[4]
    assert joined.sha256 != concatenate([small(sha256="2"), first]).sha256
    assert [part["name"] for part in joined.metadata["parts"]] == ["a", "b"]
    validate(joined)


def test_concatenate_refuses_different_environments():
    wide = small(name="wide", action=np.zeros((5, 2), np.float32))
    refuses(r"wide: \(obs_dim, action_dim\) = \(2, 2\)", concatenate, [small(), wide])
    others = [small(env_id="A-v0"), small(), small(name="b", env_id="B-v0")]
    refuses("small is of A-v0, b is of B-v0", concatenate, others)
    refuses("no data set", concatenate, [])


def test_load_dataset_takes_several_kinds_at_once(tmp_path):
    write_hdf5(tmp_path / "a.h5", RAW | STORED)
    write_npz(tmp_path / "b.npz", small())
    data = load_dataset(f"{tmp_path}/a.h5, {tmp_path}/b.npz")
    assert data.size == 12
    assert load_dataset(data) is data
    refuses("no complete", load_dataset, small(episode_returns=np.zeros(0)))


def test_load_dataset_says_what_is_possible():
    for source in ("data.csv", "", "a.npz,,b.npz", "folder"):
        with pytest.raises(InputError):
            load_dataset(source)
    refuses(
        r"'data.xlsx': unknown kind.*path.hdf5.*minari:ID, builtin:NAME", load_dataset, "data.xlsx"
    )


def test_builtin_data_sets_are_read_by_name(tmp_path, monkeypatch):
    (tmp_path / "builtin").mkdir()
    write_npz(tmp_path / "builtin" / "tiny.npz", small())
    monkeypatch.setattr(load.resources, "files", lambda package: Path(tmp_path))
    assert load_dataset("builtin:tiny").name == "builtin:tiny"
    refuses(
        "unknown built-in log .huge.; the known ones are tiny",
        load_dataset,
        "builtin:huge",
    )


@given(st.floats(-7, 7), st.floats(-100, 100), st.sampled_from([0.0, 1e-5, 0.01]))
def test_actions_are_outside_their_bounds_in_any_unit(power, offset, beyond):
    """A flow in cubic metres a second, or a temperature in kelvin."""
    unit = 10.0**power
    low, high = (np.array([unit * (offset + x)]) for x in (-1.0, 1.0))
    action = np.full((5, 1), unit * (offset + 1 + beyond), np.float32)
    check = partial(check_against_spaces, replace(small(), action=action), obs_dim=2)
    if beyond > 1e-4:
        refuses("5 of 5 actions lie outside", check, action_low=low, action_high=high)
    else:
        check(action_low=low, action_high=high)


def test_spaces_must_fit_the_log():
    data = small()
    bounds = {"action_low": np.array([-1.0]), "action_high": np.array([1.0])}
    check_against_spaces(data, obs_dim=2, **bounds)
    refuses("observations have 2 dimensions, those of P-v0 11", check_against_spaces, data,
            obs_dim=11, env_id="P-v0", **bounds)  # fmt: skip
    wide = {"action_low": -np.ones(3), "action_high": np.ones(3)}
    refuses("actions have 1 dimensions, .* 3", check_against_spaces, data, obs_dim=2, **wide)
    action = np.array([[0.0], [1.00005], [-1.7], [1.2], [0.0]], np.float32)
    refuses(r"2 of 5 actions.*-1.7 in row 2, dimension 0, expected \[-1, 1\]; rescale",
            check_against_spaces, replace(data, action=action), obs_dim=2, **bounds)  # fmt: skip
