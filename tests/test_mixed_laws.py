"""Logs in which a column, a sensor's zero or the interval is otherwise in some episodes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from made_oscillators import oscillator_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.mixed_laws import mixed_laws, mixed_rewards
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

EPISODES, STEPS = 20, 60
EPISODE = np.arange(EPISODES * STEPS) // STEPS
SOME = {
    "every second": EPISODE % 2 == 1,
    "a few here and there": np.isin(EPISODE, [2, 3, 9, 11, 16]),
    "the first ones": EPISODE < 8,
}
ACCEPT = ["unflagged-ends", "broken-successors"]


def named(log: Log) -> str:
    """What an inspection says; a run says the same of the kind."""
    texts = [f.text for f in findings(summarize(log)) if f.name == "two-laws"]
    notes = [n for n in check_log_for_run(from_log(log), None, accept=ACCEPT) if "[two-laws]" in n]
    assert len(texts) == len(notes)
    return texts[0] if texts else ""


def told(log: Log) -> str:
    return mixed_laws(log, log.terminated | log.truncated)


def changed(where: np.ndarray, *, stored=True, seed=0, obs=(1.0, 1.0), action=1.0, zero=(0.0, 0.0)):
    """The oscillator's log with columns scaled, or with other zeros, in some rows."""
    log, rows = oscillator_log(EPISODES, STEPS, stored=stored, seed=seed), where[:, None]
    now, after = (
        None if x is None else np.where(rows, x * obs + zero, x) for x in (log.obs, log.next_obs)
    )
    return replace(
        log, obs=now, next_obs=after, action=np.where(rows, action * log.action, log.action)
    )


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("where", SOME.values(), ids=SOME)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"obs": (-1.0, 1.0)}, "observation 0 has the other sign"),
        ({"action": -1.0}, "action 0 has the other sign"),
        ({"obs": (1.0, 3.6)}, "observation 1 is about 3"),
        ({"action": 0.5}, "action 0 is about 0.5 times as large"),
        ({"zero": (0.0, 2.0)}, "observation 1 seems to read +2"),
    ],
)
def test_what_some_episodes_have_otherwise_is_named(change, words, where, stored):
    text = told(changed(where, stored=stored, **change))
    assert words in text
    assert f"in {len(np.unique(EPISODE[where]))} of 20 episodes" in text
    first = int(text.partition("about row ")[2].partition(" ")[0].replace(",", ""))
    assert where[first] and first % STEPS == 0


def test_an_inspection_and_a_run_say_it_with_a_remedy():
    text = named(changed(SOME["every second"], action=-1.0))
    assert "in 10 of 20 episodes" in text and "change these rows back" in text


@pytest.mark.parametrize("where", SOME.values(), ids=SOME)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: -r, "rewards are of the other sign"),
        (lambda r: 3.6 * r, "rewards are about 3.6 times as large"),
        (lambda r: 5 - 2 * r, "rewards are of the other sign and about 2 times as large"),
    ],
)
def test_rewards_of_another_sign_or_size_in_some_episodes_are_named(change, words, where):
    log = oscillator_log(EPISODES, STEPS)
    log = replace(log, reward=np.where(where, change(log.reward), log.reward))
    text = mixed_rewards(log, log.truncated)
    assert f"in {len(np.unique(EPISODE[where]))} of 20 episodes" in text and text.endswith(words)


def test_rewards_of_another_goal_in_some_episodes_are_no_other_sign():
    log = oscillator_log(EPISODES, STEPS)
    goal = np.where(SOME["every second"], 0.5, -0.5)
    assert mixed_rewards(replace(log, reward=-np.abs(log.obs[:, 0] - goal)), log.truncated) == ""


def backwards(log: Log, where: np.ndarray) -> Log:
    """The log without stored successors, with the rows of some episodes in the other order."""
    rows = np.arange(log.size).reshape(EPISODES, STEPS)
    rows = np.where(where.reshape(EPISODES, STEPS), rows[:, ::-1], rows).reshape(-1)
    obs, action, reward = (x[rows] for x in (log.obs, log.action, log.reward))
    return replace(log, obs=obs, action=action, reward=reward, next_obs=None)


@pytest.mark.parametrize("where", SOME.values(), ids=SOME)
@pytest.mark.parametrize("seed", [0, 1])
def test_episodes_whose_rows_run_backwards_in_time_are_told(where, seed):
    text = told(backwards(oscillator_log(EPISODES, STEPS, seed=seed), where))
    assert f"in {len(np.unique(EPISODE[where]))} of 20 episodes" in text
    assert text.endswith("rows run backwards in time, against those of the rest")
    text = told(backwards(line(lambda episode: 1, seed=seed), where))
    assert text.endswith("rows run backwards in time, against those of the rest")


def test_a_wheel_that_turns_the_other_way_in_some_episodes_is_no_other_law():
    """It follows one law, which is not linear: at other speeds it looks like another one."""
    rng, columns = np.random.default_rng(0), ([], [], [])
    for episode in range(EPISODES):
        angle, speed = rng.uniform(-np.pi, np.pi), 8.0 if episode % 3 else -8.0
        for _ in range(STEPS):
            action = rng.uniform(-1, 1)
            columns[0].append([np.cos(angle), np.sin(angle), speed])
            columns[1].append([action])
            columns[2].append(np.cos(angle))
            angle += 0.05 * speed + 0.01 * rng.normal()
            speed += 0.1 * action + 0.01 * rng.normal()
    obs, action, reward = map(np.array, columns)
    ends = np.arange(len(obs)) % STEPS == STEPS - 1
    assert told(Log(obs, action, reward, ends & False, ends, None, name="wheel")) == ""


def line(steps: Callable[[int], int], *, seed: int = 0, load: Callable[[int], float] = lambda e: 0):
    """Two tanks in a row; `steps(episode)` of them, with the action held, are a row."""
    rng, columns = np.random.default_rng(seed), ([], [], [], [])
    for episode in range(EPISODES):
        level = rng.uniform(0, 1, 2)
        for _ in range(STEPS):
            action, seen = rng.uniform(0, 1), level
            for _ in range(steps(episode)):
                flow = np.array([action + load(episode) - level[0], level[0] - level[1]])
                level = level + 0.1 * flow + 0.002 * rng.normal(size=2)
            for column, value in zip(columns, (seen, [action], -level[1], level), strict=True):
                column.append(value)
    obs, action, reward, after = map(np.array, columns)
    ends = np.arange(len(obs)) % STEPS == STEPS - 1
    return Log(obs, action, reward, ends & False, ends, after, name="tanks")


@pytest.mark.parametrize("times", [2, 3, 5])
def test_another_interval_in_some_episodes_is_named(times):
    text = told(line(lambda episode: times if episode >= 13 else 1))
    assert text.startswith("in 7 of 20 episodes (one from about row 780 on), a step is as long as")
    assert f"{times} of the others, as if rows were logged less often" in text
    text = told(line(lambda episode: 1 if episode >= 13 else times))
    assert f"{times} steps are as long as one of the others" in text


@pytest.mark.parametrize("seed", range(4))
def test_sound_logs_say_nothing(seed):
    for how in ({}, {"stored": False}, {"falls_beyond": 1.0}, {"length": (20, 90)}):
        log = oscillator_log(seed=seed, **how)
        assert told(log) == mixed_rewards(log, log.terminated | log.truncated) == ""
    assert told(line(lambda episode: 1, seed=seed)) == ""


@pytest.mark.parametrize(
    "load", [lambda e: 0.3 * (e > 9), lambda e: 0.03 * e, lambda e: 0.3 * np.sin(e)]
)
def test_a_load_that_changes_between_episodes_is_no_other_zero(load):
    """It acts as an action does, or drifts."""
    assert told(line(lambda episode: 1, load=load)) == ""


def test_two_controllers_of_a_plant_that_is_not_linear_are_no_two_laws():
    """Of a pendulum, each sees another part of the circle."""
    rng, columns = np.random.default_rng(0), ([], [], [], [])
    for episode in range(EPISODES):
        angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(-1, 1)
        for _ in range(STEPS):
            seen = [np.cos(angle), np.sin(angle), speed]
            push = rng.uniform(-2, 2) if episode % 2 else np.clip(-9 * seen[1] - 2 * speed, -2, 2)
            speed = np.clip(speed + 0.05 * (15 * np.sin(angle) + 3 * push), -8, 8)
            angle += 0.05 * speed
            after = [np.cos(angle), np.sin(angle), speed]
            for column, value in zip(columns, (seen, [push], after[0], after), strict=True):
                column.append(value)
    obs, action, reward, after = map(np.array, columns)
    ends = np.arange(len(obs)) % STEPS == STEPS - 1
    assert named(Log(obs, action, reward, ends & False, ends, after, name="pendulum")) == ""


def test_the_built_in_logs_say_nothing():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        log = load_dataset(f"builtin:{name}")
        ends = log.terminated | log.truncated
        assert mixed_laws(log, ends) == mixed_rewards(log, ends) == ""
