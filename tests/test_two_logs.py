"""A second log of a system: columns, intervals and rewards that are otherwise in it."""

from dataclasses import replace

import numpy as np
import pytest

from moore.assessing.other_log import compared
from moore.config import Config
from moore.data.dataset import Dataset, concatenate, from_log
from moore.data.log import Log
from moore.errors import InputError
from moore.findings.two_logs import changed_between
from moore.formats.load import load_dataset
from moore.formats.npz import write_npz

STEPS = 20
MOVES = np.array([[0.9, 0.2, 0.0], [-0.2, 0.8, 0.1], [0.0, 0.1, 0.7]])
PUSHES = np.array([[0.4, 0.0], [0.0, 0.3], [0.2, -0.2]])


def made(
    seed: int, *, episodes: int = 40, gain: float = 0.3, held: int = 1, steps: int = STEPS
) -> Dataset:
    """A linear system with three sensors and two actuators, whose action is held for some steps."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(episodes):
        state = rng.normal(size=3)
        for step in range(steps):
            action = np.clip(-gain * state[:2] + 0.5 * rng.normal(size=2), -1, 1)
            after, reward = state, 0.0
            for _ in range(held):
                reward -= float(after @ after) + 0.1 * float(action @ action)
                after = MOVES @ after + PUSHES @ action + 0.02 * rng.normal(size=3)
            rows.append((state, action, reward, after, step == steps - 1))
            state = after
    obs, action, reward, after, ends = (np.array(column) for column in zip(*rows, strict=True))
    log = Log(obs, action, reward, ends & False, ends, after, name="log")
    return from_log(log)


@pytest.mark.parametrize("seed", range(6))
def test_a_sound_log_of_the_same_system_says_nothing(seed):
    others = (made(100 + seed), made(200 + seed, gain=0.9), made(300 + seed, gain=-0.1))
    assert [changed_between(made(seed), other) for other in others] == ["", "", ""]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: made(7, held=3), "a step is as long as 3, as if rows were logged less often"),
        (
            lambda: replace(made(7), action=np.float32([-1, 1]) * made(7).action),
            "action 0 has the other sign",
        ),
        (lambda: replace(made(7), reward=-made(7).reward), "rewards are of the other sign"),
        (lambda: replace(made(7), reward=60 * made(7).reward), "rewards are about 60 times as la"),
    ],
)
def test_what_is_otherwise_is_named(other, words):
    assert words in changed_between(made(0), other())


def test_rows_that_were_logged_more_often_are_told_too():
    assert "2 steps are as long as one" in changed_between(made(0, held=2), made(7))


def station(folder, name: str, seconds: int) -> str:
    """A table with times, so many seconds apart."""
    log = made(3, episodes=10)
    rows = [
        f"{seconds * i},{i // STEPS},{','.join(f'{x:.6g}' for x in (*o, *a, r))}"
        for i, (o, a, r) in enumerate(zip(log.obs, log.action, log.reward, strict=True))
    ]
    (folder / name).write_text("\n".join(["t,e,x,y,z,u,v,r", *rows]))
    (folder / name).with_suffix(".toml").write_text(
        'obs = ["x", "y", "z"]\naction = ["u", "v"]\nreward = "r"\nepisode = "e"\ntime = "t"\n'
    )
    return str(folder / name)


def test_the_times_of_tables_tell_another_interval_and_such_logs_are_not_joined(tmp_path):
    minutes, slow = (station(tmp_path, f"{s}.csv", s) for s in (60, 300))
    told = changed_between(load_dataset(minutes), load_dataset(slow))
    assert told == "there is a row every 5 min, in place of every 60 s"
    assert changed_between(load_dataset(minutes), load_dataset(minutes)) == ""
    with pytest.raises(InputError, match="a row every 5 min, in place of every 60 s in"):
        load_dataset(f"{minutes},{slow}")
    anything = replace(made(1), metadata={"row_seconds": "often"})
    assert concatenate([anything, replace(made(2), metadata={"row_seconds": 60.0})]).size


# --- A log that a policy is judged by ---


def judged_by(other: Dataset, tmp_path, accept=()):
    write_npz(tmp_path / "own.npz", made(0))
    return compared(other, Config(dataset=str(tmp_path / "own.npz")), None, accept)


def test_a_sound_held_out_log_raises_no_doubt(tmp_path):
    found = judged_by(made(7), tmp_path)
    assert (found.notes, found.doubts, found.longest) == ((), (), STEPS)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: made(7, gain=-0.4), "An episode of log earns"),
        (lambda: replace(made(7), reward=10 * made(7).reward), "rewards are about 10 times"),
        (lambda: made(7, steps=2 * STEPS), f"have up to {2 * STEPS} steps, those of the log of t"),
    ],
)
def test_after_a_doubt_the_answer_cannot_be_yes_unless_it_is_accepted(other, words, tmp_path):
    log = other()
    log = replace(log, episode_returns=log.reward.reshape(len(log.episode_lengths), -1).sum(axis=1))
    found = judged_by(log, tmp_path)
    assert words in " ".join(found.doubts) and set(found.doubts) <= set(found.notes)
    accepted = judged_by(log, tmp_path, accept=("unlike-the-log",))
    assert accepted.doubts == () and accepted.notes == found.notes
