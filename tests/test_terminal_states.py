"""Terminal flags that nothing in the log explains, and flags that stand in another row."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from made_oscillators import oscillator_log
from moore.data.cuts import unflagged_ends
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.readings import summarize_readings
from moore.findings.run_checks import check_log_for_run
from moore.findings.terminal_states import terminals_like_others
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

FOREVER = (4000, 4001)


def alike(log: Log) -> bool:
    return terminals_like_others(log, log.terminated, log.terminated | log.truncated)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_cuts_of_any_length_that_are_flagged_terminal_are_told(stored, seed):
    log = oscillator_log(40, (30, 120), seed=seed, stored=stored)
    wrong = replace(log, terminated=log.truncated, truncated=np.zeros_like(log.truncated))
    assert not alike(log) and alike(wrong)
    (text,) = [f.text for f in findings(summarize(wrong)) if f.name == "terminals-like-others"]
    assert "the 40 terminal rows" in text
    notes = check_log_for_run(from_log(wrong), None)
    assert any("[terminals-like-others]" in note for note in notes)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("beyond", [0.8, 1.2])
def test_a_state_that_ends_the_system_explains_its_terminals(stored, beyond):
    log = oscillator_log(30, FOREVER, falls_beyond=beyond, stored=stored)
    assert log.terminated.sum() > 20 and not alike(log)


def test_a_reward_that_only_comes_at_the_end_explains_them():
    log = oscillator_log(40, (30, 120))
    bonus = np.where(log.truncated, 10.0, 0.0)
    assert not alike(replace(log, terminated=log.truncated, reward=bonus))


def test_where_the_log_tells_time_outs_apart_or_has_few_ends_nothing_is_said():
    log = oscillator_log(60, (30, 120))
    ends = np.flatnonzero(log.truncated)
    some = np.zeros_like(log.truncated)
    some[ends[::2]] = True
    assert not alike(replace(log, terminated=some, truncated=log.truncated & ~some))
    few = oscillator_log(19, (30, 120))
    assert not alike(replace(few, terminated=few.truncated))


def test_the_built_in_logs_are_not_accused():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        log = load_dataset(f"builtin:{name}")
        assert not terminals_like_others(log, log.terminated, log.terminated | log.truncated)


# --- flags beside their row ---


@pytest.mark.parametrize("rows, sign", [(1, "late"), (-1, "early")])
@pytest.mark.parametrize("seed", range(3))
def test_flags_of_either_kind_that_slipped_by_a_row_are_told(rows, sign, seed):
    """Jumps to the first states of episodes are small: twice the fastest step or so."""
    log = oscillator_log(40, (30, 120), seed=seed, falls_beyond=1.0, stored=False)
    assert unflagged_ends(log, log.terminated | log.truncated) == {}
    assert min(log.terminated.sum(), log.truncated.sum()) > 5
    for key in ("terminated", "truncated"):
        slipped = replace(log, **{key: np.roll(getattr(log, key), rows)})
        found = unflagged_ends(slipped, slipped.terminated | slipped.truncated)
        assert found.keys() == {sign}
        (text,) = [f.text for f in findings(summarize(slipped)) if f.name == "unflagged-ends"]
        assert f"one row {'before' if sign == 'late' else 'after'}" in text


@pytest.mark.parametrize("seed", range(3))
def test_windows_of_a_process_that_goes_on_have_not_slipped(seed):
    log = oscillator_log(1, 3000, seed=seed, stored=False)
    for every in (30, 47, 100):
        cut = np.arange(3000) % every == every - 1
        assert unflagged_ends(log, cut) == {}


# --- a plant that hits a stop ---


def cart_log(name: str, seed: int) -> Log:
    """MountainCar, pushed the way it moves: it swings up to the goal, and hits the wall."""
    env = gymnasium.make(name)
    rng = np.random.default_rng(seed)
    rows = []
    for episode in range(30):
        obs, _ = env.reset(seed=seed * 1000 + episode)
        over = False
        while not over:
            push = float(np.clip(np.sign(obs[1] + 1e-9) + 0.3 * rng.normal(), -1, 1))
            discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
            action = 1 + int(np.sign(obs[1])) if discrete else np.array([push], np.float32)
            after, reward, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            rows.append((obs, np.ravel(action).astype(float), reward, terminated, truncated))
            obs = after
    env.close()
    return Log(*map(np.array, zip(*rows, strict=True)), next_obs=None, name="cart")


@pytest.mark.parametrize("name", ["MountainCar-v0", "MountainCarContinuous-v0"])
def test_a_stop_of_the_plant_is_no_end_and_no_dropped_reading(name):
    log = cart_log(name, 0)
    ends = log.terminated | log.truncated
    assert unflagged_ends(log, ends) == {} and summarize_readings(log, ends)["dropped"] == ""


def test_ends_that_lead_to_a_first_state_are_still_found_where_some_are_flagged():
    log = cart_log("MountainCar-v0", 0)
    some = log.terminated.copy()
    some[np.flatnonzero(some)[[3, 5, 8]]] = False
    assert unflagged_ends(replace(log, terminated=some), some) == {"jumps": 3}
