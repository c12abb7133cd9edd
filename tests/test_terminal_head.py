"""The end of an episode, learned from the log: known answers, calibration, and real logs."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore.config import Config
from moore.dynamics.ensemble import Dense
from moore.dynamics.terminal import (
    TerminalHead,
    TerminalNetworks,
    init_half_spaces,
    learned_rule,
    probability,
)
from moore.dynamics.terminal_fit import fit_terminal
from moore.dynamics.terminal_rows import MIN_EPISODES, draws, split_rows
from moore.dynamics.terminal_scores import best_threshold, score
from moore.dynamics.terminal_train import (
    OUT_OF_REACH,
    MemberTraining,
    Sample,
    TerminalConfig,
    without_idle_units,
)
from moore.envs import termination
from moore.errors import InputError
from moore.formats.load import load_dataset
from moore.replay.buffer import Transition
from moore.runs import termination_choice
from moore.runs.termination_choice import make_rule
from tiny import tiny_log

pytestmark = pytest.mark.optimised

LOGS = Path(__file__).resolve().parents[2] / "shared" / "data"
KEY = jax.random.key(0)
QUICK = TerminalConfig(
    members=3,
    units=4,
    hidden=(32, 32),
    half_spaces=MemberTraining(learning_rate=3e-2, batch_size=256, steps=1000),
    networks=MemberTraining(learning_rate=1e-2, batch_size=256, steps=600),
)
LOW, HIGH = np.array([-2.0], np.float32), np.array([2.0], np.float32)


def walks(chance, episodes: int = 300, length: int = 40, seed: int = 0) -> Transition:
    """Random walks in two dimensions from |x| < 0.5; each step ends with `chance(next_obs)`."""
    rng = np.random.default_rng(seed)
    obs = rng.uniform(-0.5, 0.5, (episodes, 1, 2))
    steps = 0.2 * rng.normal(size=(episodes, length, 2))
    path = np.concatenate([obs, obs + np.cumsum(steps, axis=1)], axis=1)
    terminated = rng.random((episodes, length)) < chance(path[:, 1:])
    # Rows up to the first terminal.
    kept = (np.cumsum(terminated, axis=1) - terminated) == 0
    truncated = np.zeros_like(terminated)
    truncated[:, -1] = ~terminated[:, -1]
    action = rng.uniform(-2, 2, (episodes, length, 1))
    columns = path[:, :-1], action, 0.0 * kept, path[:, 1:], terminated, truncated
    columns = [column[kept] for column in columns]
    return Transition(*(c if c.dtype == bool else c.astype(np.float32) for c in columns))


def outside(next_obs):
    """Ends where |x| > 1; the second entry plays no part."""
    return (np.abs(next_obs[..., 0]) > 1.0).astype(float)


def known(data: Transition) -> np.ndarray:
    return np.ones(len(data.terminated), bool)


def judged(head: TerminalHead, states) -> list[bool]:
    states = jnp.asarray(states, jnp.float32)
    rule = learned_rule(head)
    return jax.vmap(lambda s: rule(s, jnp.zeros(1), s))(states).tolist()


@pytest.fixture(scope="module")
def box():
    data = walks(outside)
    return data, *fit_terminal(data, known(data), KEY, QUICK)


def test_a_plain_rule_is_found_again(box):
    _, _, report = box
    assert (report["rule"], report["kind"]) == ("learned", "half-spaces")
    test = report["test"]
    assert test["precision"] > 0.95 and test["recall"] > 0.95
    assert test["terminals"] > 20 and test["calibration_error"] < 0.01


def test_what_lies_past_a_border_has_ended_however_far_past_it_is(box):
    _, head, _ = box
    for x in (1.1, 2.0, 10.0, 1e4, 1e37):
        assert judged(head, [[x, 0.0], [-x, 0.0], [x, 3.0], [-x, -3.0]]) == [True] * 4, x
    # Also where no row is: the walks hardly reach |y| = 4.
    assert judged(head, [[x, y] for x in (-0.9, 0.0, 0.9) for y in (-4.0, 0.0, 4.0)]) == [False] * 9


def test_what_is_not_finite_has_ended(box):
    _, head, _ = box
    bad = [[np.nan, 0.0], [0.0, np.nan], [np.inf, 0.0], [0.0, np.inf], [0.0, -np.inf]]
    assert judged(head, bad) == [True] * 5
    assert judged(head, [[0.0, 0.0]]) == [False]


def test_a_head_depends_on_the_log_and_the_key_alone(box):
    data, head, report = box
    again, report_again = fit_terminal(data, known(data), KEY, QUICK)
    for a, b in zip(jax.tree.leaves(head), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert report_again | {"seconds": 0} == report | {"seconds": 0}
    parts, other = (split_rows(data, known(data), k)[0] for k in (KEY, jax.random.key(1)))
    assert set(parts["test"].episode) != set(other["test"].episode)


def test_ends_inside_a_region_are_left_to_networks():
    def in_goal(next_obs):
        return (np.linalg.norm(next_obs - [0.8, 0.0], axis=-1) < 0.4).astype(float)

    data = walks(in_goal, episodes=600)
    head, report = fit_terminal(data, known(data), KEY, QUICK)
    assert report["kind"] == "networks"
    assert report["test"]["f1"] > 0.7
    assert judged(head, [[0.8, 0.0], [0.8, 1.5], [-0.8, 0.0], [1.6, 0.0]]) == [True] + 3 * [False]


def test_probabilities_are_those_of_ends_that_are_chance():
    """p(end) = sigmoid(3 (x - 1)): within 0.02 in the mean, within 0.12 of it where it is large."""

    def chance(next_obs):
        return 1.0 / (1.0 + np.exp(-3.0 * (next_obs[..., 0] - 1.0)))

    data = walks(chance, episodes=1000)
    one_kind = dataclasses.replace(QUICK, good_f1=0.0)
    head, report = fit_terminal(data, known(data), KEY, one_kind)
    fresh = walks(chance, episodes=1000, seed=1)
    p = np.asarray(probability(head, fresh.obs, fresh.action, fresh.next_obs))
    truth = chance(fresh.next_obs)
    assert np.mean(np.abs(p - truth)) < 0.02
    assert abs(p.mean() - fresh.terminated.mean()) < 0.015
    for low, high in ((0.1, 0.3), (0.3, 0.6), (0.6, 1.0)):
        rows = (truth >= low) & (truth < high)
        assert rows.sum() > 20 and abs(np.mean(p[rows] - truth[rows])) < 0.12, low
    assert report["test"]["calibration_error"] < 0.03


# --- Rows ---


def test_no_episode_is_in_two_parts_and_no_row_is_lost():
    data = walks(outside)
    parts, counts = split_rows(data, known(data), KEY)
    episodes = [set(rows.episode) for rows in parts.values()]
    assert not (episodes[0] & episodes[1] or episodes[0] & episodes[2] or episodes[1] & episodes[2])
    assert sum(len(rows.obs) for rows in parts.values()) == len(data.obs)
    assert [c["rows"] for c in counts.values()] == [len(rows.obs) for rows in parts.values()]
    assert [c["episodes"] for c in counts.values()] == [len(part) for part in episodes]
    ended = sum(c["terminals"] for c in counts.values())
    assert ended == data.terminated.sum()
    for name in ("calibration", "test"):
        assert counts[name]["terminals"] == np.ceil(0.15 * ended)


def test_thinned_rows_stand_for_those_that_are_left_out(monkeypatch):
    monkeypatch.setattr("moore.dynamics.terminal_rows.MAX_ROWS", 50)
    data = walks(outside)
    parts, counts = split_rows(data, known(data), KEY)
    assert len(parts["train"].obs) == 150 and len(parts["test"].obs) == counts["test"]["rows"]
    for name, rows in parts.items():
        assert rows.weight.sum() == pytest.approx(counts[name]["rows"])
        assert rows.terminals == pytest.approx(counts[name]["terminals"])


def test_draws_are_balanced_and_their_weights_undo_it():
    data = walks(outside)
    rows = split_rows(data, known(data), KEY)[0]["train"]
    cumulative, weight = draws(rows, 400, KEY)
    chance = np.diff(cumulative, prepend=0.0, axis=1)
    assert chance[:, rows.group == 0].sum(axis=1) == pytest.approx(0.5, abs=0.1)
    # Over many bootstraps the weighted draws are the log.
    np.testing.assert_allclose((chance @ (weight * rows.terminated)).mean(), rows.terminals, 0.02)
    np.testing.assert_allclose((chance @ weight).mean(), rows.weight.sum(), 0.03)
    # A member has an episode as a whole or not at all, and about 63% of them.
    has = np.array([chance[0, rows.episode == e] > 0 for e in set(rows.episode)], dtype=object)
    assert all(h.all() or not h.any() for h in has)
    assert 0.5 < np.mean([h.all() for h in has]) < 0.75


def test_units_that_explain_nothing_are_moved_out_of_reach():
    """Three units: x > 1, its twin, and one beyond the data. One of the twins stays."""
    x = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    members = init_half_spaces(KEY, 2, members=1, units=3, log_odds=-3.0)
    members = dataclasses.replace(
        members,
        normal=jnp.array([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]),
        log_sharpness=jnp.full((1, 3), 3.0),
        offset=jnp.array([[1.0, 1.0, 5.0]]),
    )
    train = Sample(jnp.asarray(x), jnp.asarray(x[:, 0] > 1.0, jnp.float32), jnp.ones(500))
    offset = without_idle_units(members, train).offset[0]
    assert sorted(offset.tolist()) == [1.0, OUT_OF_REACH, OUT_OF_REACH]
    assert offset[2] == OUT_OF_REACH


# --- Scores, worked by hand ---


def test_the_threshold_is_the_middle_of_the_best_cut():
    p, y = np.array([0.9, 0.7, 0.6, 0.2, 0.1]), np.array([1, 1, 0, 1, 0])
    # Cuts below 0.9, 0.7, 0.6, 0.2: F1 = 2/4, 4/5, 4/6, 6/7.
    threshold, f1 = best_threshold(p, y, np.ones(5))
    assert (threshold, f1) == (pytest.approx(0.15), pytest.approx(6 / 7))
    # The third row now stands for ten: F1 = 2/4, 4/5, 4/15, 6/16.
    threshold, f1 = best_threshold(p, y, np.array([1, 1, 10, 1, 1]))
    assert (threshold, f1) == (pytest.approx(0.65), pytest.approx(4 / 5))


def test_scores_worked_by_hand():
    result = score(np.array([0.9, 0.8, 0.3, 0.0]), np.array([1, 0, 1, 0]), 0.5)
    assert (result["precision"], result["recall"], result["f1"]) == (0.5, 0.5, 0.5)
    assert (result["hits"], result["false_alarms"]) == (1, 1)
    assert result["brier"] == pytest.approx((0.01 + 0.64 + 0.49) / 4)
    # Every row has a bin of its own.
    assert result["calibration_error"] == pytest.approx((0.1 + 0.8 + 0.7) / 4)
    nothing = score(np.zeros(3), np.zeros(3), 0.5)
    assert nothing["precision"] is None and nothing["recall"] is None and nothing["f1"] is None


# --- The rule of a run ---


def log_of(data: Transition, **changes):
    """A data set with these rows; only what a rule looks at."""
    columns = {name: np.asarray(value) for name, value in vars(data).items()}
    fields = columns | {"successor_known": known(data)} | changes
    return dataclasses.replace(tiny_log(1), **fields)


def learn(log):
    return make_rule(Config(termination="learned"), log, "Plant-v0", 2, LOW, HIGH, KEY)


def test_a_log_without_terminals_teaches_never():
    rule, report = learn(log_of(walks(lambda s: 0.0 * s[..., 0], episodes=20)))
    assert report == {"rule": "never", "terminals": 0, "rows": 800}
    assert not rule(jnp.zeros(2), jnp.zeros(1), jnp.full(2, 1e6))


def test_too_few_terminals_are_refused():
    data = walks(outside, episodes=8)
    ended = int(data.terminated.sum())
    assert 0 < ended < MIN_EPISODES
    with pytest.raises(InputError, match="--termination module:function, or never") as raised:
        learn(log_of(data))
    assert f"{ended} terminated episodes" in str(raised.value) and "\n" not in str(raised.value)


def test_terminals_without_successors_are_refused():
    data = walks(outside)
    with pytest.raises(InputError, match="D4RL v0 and v1 store none") as raised:
        learn(log_of(data, successor_known=~data.terminated))
    assert "\n" not in str(raised.value)


def by_action() -> TerminalHead:
    """Ends where the action, in the environment's units, is above 1."""
    weight = jnp.zeros((1, 5, 1)).at[0, 4, 0].set(1.0)
    one = jnp.ones(())
    return TerminalHead(
        members=TerminalNetworks((Dense(weight, jnp.full((1, 1), -1.0)),)),
        mean=jnp.zeros(5),
        std=jnp.ones(5),
        slope=one,
        intercept=0.0 * one,
        threshold=0.5 * one,
    )


def test_the_rule_of_a_run_takes_scaled_actions(monkeypatch):
    monkeypatch.setattr(
        termination_choice, "fit_terminal", lambda *args: (by_action(), {"rule": "learned"})
    )
    rule, report = learn(log_of(walks(outside, episodes=20)))
    assert report == {"rule": "learned"}
    state = jnp.zeros(2)
    judged = [bool(rule(state, jnp.array([a]), state)) for a in (-1.0, 0.0, 0.45, 0.55, 1.0)]
    assert judged == [False, False, False, True, True]


def test_the_fit_has_a_stream_of_its_own(monkeypatch):
    used = []
    monkeypatch.setattr(
        termination_choice,
        "fit_terminal",
        lambda data, known, key: used.append(key) or (by_action(), {}),
    )
    learn(log_of(walks(outside, episodes=20)))
    [key] = map(jax.random.key_data, used)
    for taken in jax.random.key_data(jax.random.split(KEY, 1000)):
        assert not np.array_equal(key, taken)


def test_given_rules_are_reported_by_no_one():
    for spec in ("never", "Hopper-v5", "auto"):
        config = Config(termination=spec)
        rule, report = make_rule(config, None, "Hopper-v5", 11, LOW, HIGH, KEY)
        assert report is None
        assert bool(rule(jnp.zeros(2), jnp.zeros(1), jnp.zeros(2))) == (spec != "never")


# --- Real logs, where they lie beside the repository ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "borders"),
    [
        ("hopper-medium-replay", ("low", "forward", "backward")),
        ("hopper-medium", ("low",)),
        ("hopper-random", ("backward",)),
    ],
)
def test_hoppers_rule_is_found_in_its_logs(name, borders):
    """Of the borders (height, pitch forward and backward) a log shows some, and these are found."""
    path = LOGS / f"{name}.hdf5"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the repository (../shared/data)")
    log = load_dataset(path)
    data = Transition(*(getattr(log, field) for field in vars(walks(outside, episodes=1))))
    head, report = fit_terminal(data, log.successor_known, KEY)
    test = report["test"]
    print(f"{name}: {report['kind']}, " + ", ".join(f"{k} {v:.4g}" for k, v in test.items()))
    assert test["precision"] > 0.95 and test["recall"] > 0.9
    assert test["calibration_error"] < 0.003

    states = log.next_obs[np.random.default_rng(0).choice(log.size, 2000)].copy()
    pushes = {
        "low": (0, np.linspace(0.69, 0.2, 2000)),
        "forward": (1, np.linspace(0.21, 0.8, 2000)),
        "backward": (1, np.linspace(-0.21, -0.8, 2000)),
    }
    rule = jax.jit(jax.vmap(learned_rule(head)))
    action = jnp.zeros((2000, log.action_dim))
    for border in borders:
        index, values = pushes[border]
        pushed = states.copy()
        pushed[:, index] = values
        assert np.mean(rule(states, action, pushed)) > 0.97, border
    # Around the border: the last rows of the episodes, disturbed.
    near = log.next_obs[np.flatnonzero(log.terminated)[:, None] - np.arange(5)].reshape(-1, 11)
    near = near + 0.1 * log.next_obs.std(axis=0) * np.random.default_rng(1).normal(size=near.shape)
    near = jnp.asarray(near, jnp.float32)
    action = jnp.zeros((len(near), log.action_dim))
    agree = rule(near, action, near) == jax.vmap(termination.hopper)(near, action, near)
    assert np.mean(agree) > 0.97
