"""What is wrong with a log beyond its numbers: names, levels, and that a run stops at the worst."""

import re
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from made_plant_logs import plant_log, save_hdf5, save_npz, with_ends
from moore.config import Config, from_dict, read_toml
from moore.data.dataset import from_log
from moore.data.precision import lost_in_float32
from moore.envs.simulator import env_facts
from moore.errors import InputError
from moore.findings.defect_table import DEFECTS
from moore.findings.defects import NAMES, check_accepted, findings
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import builtin_names, load_dataset
from moore.inspecting.summary import summarize
from moore.runs.setup import prepare


def levels(log) -> dict[str, str]:
    """The findings of `moore inspect`, and those of a run, which must not be worse."""
    found = {f.name: f.level for f in findings(summarize(log))}
    try:
        check_log_for_run(from_log(log), None)
        stopped = False
    except InputError as error:
        stopped = True
        assert any(f"--accept {name}" in str(error) or f" {name}" in str(error) for name in found)
    assert stopped == ("ruins" in found.values()), "a run does what inspect says of it"
    return found


def test_a_sound_log_stops_no_run_and_every_finding_has_a_name_of_its_own():
    assert set(levels(plant_log()).values()) == {"note"}
    assert len(set(NAMES)) == len(NAMES)
    assert all(name == name.lower() and " " not in name for name in NAMES)


def test_every_finding_has_a_row_in_the_document():
    table = (Path(__file__).parents[1] / "docs" / "log-findings.md").read_text(encoding="utf-8")
    named = {name for line in table.splitlines() if line.startswith("| `")
             for name in re.findall(r"`([a-z-]+)`( ●)?", line.split("|")[1])}  # fmt: skip
    assert {(d.name, " ●" if d.in_run else "") for d in DEFECTS} <= named


# --- Ends of episodes ---


def padding(kind, log):
    own, last = log.obs, np.flatnonzero(log.terminated | log.truncated)
    first = np.concatenate([[0], last[:-1] + 1])
    return {
        "zeros": 0.0,
        "own": own[last],
        "before": own[last - 1],
        "first": own[first],
        "minus one": -1.0,
        "sentinel": 999.0,
        "one vector": np.array([7.0, -3.0]),
    }[kind]


PADDING = ("zeros", "own", "before", "first", "minus one", "sentinel", "one vector")


@pytest.mark.parametrize("kind", PADDING)
@pytest.mark.parametrize("end", ["truncated", "terminated"])
def test_padded_successors_are_counted_among_the_ends(kind, end):
    log = plant_log(length=150, end=end)  # 20 of 3000 rows
    padded = with_ends(log, next_obs=padding(kind, log))
    summary = summarize(padded)
    assert (summary["padded_successors"], summary["known_ends"]) == (20, 20)
    assert levels(padded)["padded-successors"] == "ruins"
    assert summarize(log)["padded_successors"] == 0


def test_padding_of_some_ends_alone_is_found():
    log = plant_log(length=40)
    some = log.next_obs.copy()
    some[39::200] = 0.0  # every fifth end
    assert summarize(replace(log, next_obs=some))["padded_successors"] == 4


def test_a_goal_that_is_one_state_and_a_system_at_rest_are_no_padding():
    steps = np.tile(np.arange(10.0), 20)
    last = steps == 9
    walk = replace(
        plant_log(length=10),
        obs=steps[:, None],
        next_obs=steps[:, None] + 1,
        reward=last * 1.0,
        terminated=last,
        truncated=~last & False,
    )
    assert summarize(walk)["padded_successors"] == 0, "the goal is a usual step away"
    rest = plant_log(length=50)
    held = np.where(np.arange(1000)[:, None] % 50 > 25, rest.obs, rest.next_obs)
    assert summarize(replace(rest, next_obs=held))["padded_successors"] == 0, "as inside episodes"


def test_the_first_state_of_the_next_episode_stops_a_run_where_it_is_far():
    log = plant_log()
    reset = with_ends(log, next_obs=np.roll(log.obs, -1, 0)[log.truncated])
    assert levels(reset)["reset-successors"] == "ruins"
    going_on = np.cumsum(np.random.default_rng(0).normal(size=(1001, 2)), axis=0)
    day = replace(log, obs=going_on[:-1], next_obs=going_on[1:])
    assert levels(day)["reset-successors"] == "note", "a plant that is cut into days, without reset"


@pytest.mark.parametrize("cut", [{"window": 86400.0}, {"episode_rows": 50}, {"continues": True}])
def test_a_column_map_that_cuts_a_log_which_goes_on_is_not_found_fault_with(cut):
    walk = np.cumsum(np.random.default_rng(0).normal(size=(1001, 2)), axis=0)
    day = replace(plant_log(), obs=walk[:-1], next_obs=walk[1:], metadata={"columns": cut})
    assert "reset-successors" not in levels(day)
    given = replace(day, metadata={"columns": cut | {"next_obs": ["a", "b"]}})
    assert levels(given)["reset-successors"] == "note", "who logs successors may log the next start"
    reset = with_ends(plant_log(), next_obs=np.roll(plant_log().obs, -1, 0)[plant_log().truncated])
    far = replace(reset, metadata={"columns": cut})
    assert levels(far)["reset-successors"] == "ruins", "a far step is one, whatever the map says"


@pytest.mark.parametrize("terminals, rule", [(10, "learned"), (9, "module:function")])
def test_a_rule_is_to_be_learned_only_from_as_many_ends_as_a_run_asks_for(terminals, rule):
    log = plant_log()
    terminated = np.isin(np.arange(log.size), np.flatnonzero(log.truncated)[:terminals])
    flagged = replace(log, terminated=terminated, truncated=log.truncated & ~terminated)
    assert f"--termination {rule}" in summarize(flagged)["run_flags"]


def test_terminals_at_one_length_in_states_like_others_are_time_outs():
    states = np.random.default_rng(0).normal(size=(1980, 3))
    log = replace(
        plant_log(episodes=20, length=99, end="terminated"),
        obs=states,
        next_obs=states + np.random.default_rng(1).normal(size=(1980, 3)),
        reward=states[:, 0],
    )
    summary = summarize(log)
    assert (summary["timed_terminals"], summary["timed_length"]) == (20, 99)
    assert levels(log)["timeouts-as-terminals"] == "ruins"
    some = log.terminated.copy()
    some[[20, 150, 333]] = True  # falls, earlier than the limit
    assert levels(replace(log, terminated=some))["timeouts-as-terminals"] == "ruins"


@pytest.mark.parametrize("sign", ["clock", "goal's reward", "region"])
def test_ends_that_can_be_seen_are_none_whatever_their_length(sign):
    states = np.random.default_rng(0).uniform(-1, 1, (1980, 3))
    last = np.arange(1980) % 99 == 98
    reward, after = states[:, 0].copy(), states + 0.01
    if sign == "clock":
        after[:, 2] = (np.arange(1980) % 99 + 1) / 99
    if sign == "goal's reward":
        reward[last] += 10
    if sign == "region":
        after[last, 1] = 0.01 * states[last, 1]
    log = replace(plant_log(episodes=20, length=99, end="terminated"), obs=states, next_obs=after,
                  reward=reward)  # fmt: skip
    assert summarize(log)["timed_terminals"] == 0


# --- Precision ---


def test_steps_that_float32_rounds_away_are_found_by_column(tmp_path):
    log = plant_log(dim=3)
    offset = np.array([5e8, 0.0, 1.7e9])
    far = replace(log, obs=log.obs + offset, next_obs=log.next_obs + offset)
    summary = summarize(far)
    assert [column["dim"] for column in summary["float32"]["obs"]] == [0, 2]
    assert levels(far)["precision-lost"] == "ruins"
    for path in (save_hdf5(tmp_path / "a.h5", far), save_npz(tmp_path / "a.npz", far)):
        loaded = load_dataset(path)
        assert [column["dim"] for column in loaded.metadata["float32"]["obs"]] == [0, 2]
        with pytest.raises(InputError, match="--accept precision-lost"):
            check_log_for_run(loaded, None)
        joined = load_dataset(f"{path},{save_npz(tmp_path / 'fine.npz', log)}")
        with pytest.raises(InputError, match="precision-lost"):
            check_log_for_run(joined, None)
        assert all(
            "precision" not in note for note in check_log_for_run(loaded, None, ["precision-lost"])
        )


def test_counters_of_whole_numbers_rewards_and_derived_successors_lose_steps_too():
    ends = np.arange(1000) % 50 == 49
    count = 10**15 + np.arange(1000) * 7  # also as float64 one may not subtract after rounding
    found = lost_in_float32({"obs": count[:, None], "reward": 1e9 + np.sin(np.arange(1000))}, ends)
    assert set(found) == {"obs", "reward"} and found["obs"][0]["wrong"] > 0.9
    ticks = (2**63 + np.arange(1000, dtype=np.uint64) * 3)[:, None]
    assert lost_in_float32({"obs": ticks}, ends)["obs"]


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 12), st.floats(-4, 2), st.integers(0, 100))
def test_what_is_found_is_what_float32_does(offset, step, seed):
    assume(step - offset > -13)  # smaller steps are the rounding of float64 itself
    steps = 10.0**step * np.random.default_rng(seed).normal(size=2000)
    values = 10.0**offset + np.cumsum(steps)
    kept = np.diff(values.astype(np.float32).astype(float))
    true = np.diff(values)
    rounding = np.sqrt(np.mean((kept - true) ** 2) / np.mean(true**2))
    found = lost_in_float32({"obs": values[:, None]}, np.zeros(2000, bool))
    assert bool(found) or rounding < 0.2
    assert not found or rounding > 0.05


def test_float32_logs_and_the_noise_of_a_computation_lose_nothing():
    log = plant_log()
    ends = log.truncated
    assert lost_in_float32({"obs": (log.obs + 1e7).astype(np.float32)}, ends) == {}
    still = 350.0 + 1e-13 * np.random.default_rng(0).integers(-1, 2, (1000, 1))
    assert lost_in_float32({"obs": still, "next_obs": still[::-1]}, ends) == {}


# --- Scales ---


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (lambda log: {"reward": 1e6 * log.reward}, "reward-scale", "order of 1e+06"),
        (lambda log: {"reward": 1e-5 * log.reward}, "reward-scale", "order of 1e-05"),
        (lambda log: {"reward": log.reward - 900}, "reward-scale", "lie around -90"),
        (lambda log: {"obs": 1e5 * log.obs}, "observation-scale", "0 (of the order of 1e+06)"),
        (lambda log: {"obs": log.obs + 900}, "observation-scale", "lie far from zero"),
    ],
)
def test_scales_far_from_order_1_are_named_and_stop_nothing(change, name, said):
    log = plant_log()
    log = replace(log, next_obs=None, **change(log))
    found = {f.name: f for f in findings(summarize(log))}
    assert found[name].level == "note" and said in found[name].text
    assert {"reward-scale", "observation-scale"} & set(levels(plant_log())) == set()
    assert any(said in note for note in check_log_for_run(from_log(log), None))


# --- A run hears it ---


@pytest.mark.parametrize("value", [-9999.0, 65535.0])
def test_values_of_a_sensor_that_failed_are_told_to_a_run(value):
    log = plant_log()
    assert "lone-observations" not in levels(log)
    obs = log.obs.copy()
    obs[[7, 400], 1] = value
    failed = replace(log, obs=obs)
    assert levels(failed)["lone-observations"] == "note"
    told = next(n for n in check_log_for_run(from_log(failed), None) if "lone-obs" in n)
    assert f"1 ({value:.6g}; others" in told


def test_the_built_in_logs_say_nothing_to_a_run():
    for name in builtin_names():
        log = load_dataset(f"builtin:{name}")
        assert check_log_for_run(log, env_facts(log.env_id)) == []


def test_a_run_stops_with_the_remedy_and_goes_on_when_told_to(desk, moore_refuses):
    last = np.arange(60) % 20 == 19
    with h5py.File("log.hdf5", "r+") as file:
        after = file["next_observations"][()]
        after[last] = 99.0
        file["next_observations"][...] = after
    line = moore_refuses("run tiny.toml --out new")
    assert "3 of 3 ends" in line and "Store the observation after the last action" in line
    assert "--accept padded-successors" in line
    config = from_dict({"accept": ["padded-successors"]}, base=read_toml(desk / "tiny.toml"))
    assert prepare(config).dataset.size == 60


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"accept is 'nonsense'.*padded-successors.*hand-over"):
        from_dict({"accept": ["nonsense"]})
    check_accepted(NAMES)
    assert Config(accept=("reset-successors",)).accept == ("reset-successors",)


def test_a_large_log_is_heeded_in_a_blink():
    rng = np.random.default_rng(0)
    rows = 300_000
    obs = rng.random((rows + 1, 17), np.float32)
    log = from_log(
        replace(
            plant_log(episodes=1),
            obs=obs[:-1],
            next_obs=obs[1:],
            action=1 - obs[:-1, :6],
            reward=1 - obs[:-1, 0],
            terminated=np.zeros(rows, bool),
            truncated=np.arange(rows) % 1000 == 999,
        )
    )
    start = time.process_time()  # whatever else the machine has to do
    check_log_for_run(log, None)
    assert time.process_time() - start < 1, "a million rows take less than a second"
