"""Balanced Replay's draws: worked priorities, what a step rewrites, and known optima."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from made_balanced import (
    LINEAR,
    LOG,
    ROOM,
    Both,
    begun,
    fresh,
    is_finite,
    learn,
    priorities,
    replay,
    shapes,
    started,
    step,
    with_priorities,
)
from moore.agents import balanced
from moore.agents.balanced_config import BalancedConfig
from moore.experience import prioritised
from moore.experience.prioritised import GroupedRows
from moore.replay import sum_tree
from moore.replay.buffer import Replay


def test_at_first_logged_rows_have_priority_one_and_new_ones_get_the_share_asked_for():
    offline, online = replay(LOG, np.zeros(6)), replay(ROOM, np.zeros(2))
    config = dataclasses.replace(LINEAR, initial_online_share=0.75, initial_rows=3)
    state = started(offline, online, config)
    np.testing.assert_array_equal(priorities(state), [1.0] * 6 + [0.0] * 7)
    first = state.priority
    assert (int(first.seen), float(first.largest)) == (0, 6.0)  # 6 * 0.75 / (0.25 * 3)
    assert is_finite(fresh()) and is_finite(state)


def test_the_authors_share_with_a_million_rows():
    config = BalancedConfig()
    found = prioritised.first_priority(
        jnp.asarray(10**6), config.initial_online_share, config.initial_rows
    )
    assert float(found) == pytest.approx(3000.0)


def test_a_share_of_one_is_refused():
    with pytest.raises(ValueError, match=r"initial_online_share = 1\.0"):
        prioritised.first_priority(jnp.asarray(3), 1.0, 10)


def test_after_the_first_online_rows_their_share_is_the_one_asked_for():
    offline, online = replay(LOG, np.zeros(6)), replay(ROOM, np.zeros(3))
    config = dataclasses.replace(LINEAR, initial_online_share=0.75, initial_rows=3)
    state = started(offline, online, config)
    _, metrics = learn(state, offline, online, jax.random.key(0), LINEAR)
    # 3 online rows at 6 against 6 logged ones at 1; of 4 segments of 6 the last 3 are online.
    tree = prioritised.admit(state.priority, offline, online).tree
    assert float(prioritised.online_share(tree, LOG)) == pytest.approx(0.75, rel=1e-6)
    assert float(metrics["online_share"]) == 0.75


@pytest.mark.parametrize("capacity", [2, 3, 8, 13])
def test_the_expected_share_is_that_of_all_priorities(capacity):
    values = np.random.default_rng(capacity).uniform(0.0, 5.0, capacity)
    tree = sum_tree.build(jnp.asarray(values, jnp.float32))
    for logged in range(capacity):
        found = float(prioritised.online_share(tree, logged))
        assert found == pytest.approx(values[logged:].sum() / values.sum(), abs=1e-6)
    assert float(prioritised.online_share(sum_tree.empty(capacity), 1)) == 0.0


# Logged rows have a = 0 and w = 1, whichever are drawn; online ones have a = 1 and w = 32, or
# a = -1 and w = 0. With T = 5 their priorities are 1, 2 and the least.


def test_a_step_rewrites_the_rows_of_its_batch_alone():
    # The four segments are [0, 2), [2, 4), [4, 6) and [6, 8): row 0 twice, row 4 or 9, row 10.
    before = np.asarray([4, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 0, 0], np.float32)
    offline, online = replay(LOG, np.zeros(6)), replay(ROOM, np.zeros(4), [1.0, -1.0, 1.0, -1.0])
    state = with_priorities(started(offline, online), before, seen=4)
    found = []
    for seed in range(12):
        after, _ = learn(state, offline, online, jax.random.key(seed), LINEAR)
        (changed,) = np.nonzero(priorities(after) != before)
        # Rows 4 and 10 become what they were, but for rounding.
        rewritten = [row for row in changed if row not in (4, 10)]
        np.testing.assert_allclose(priorities(after)[[4, 10]], [1.0, 2.0], rtol=1e-5)
        np.testing.assert_allclose(priorities(after)[rewritten], [1.0, 1e-3][: len(rewritten)])
        found.append(tuple(map(int, rewritten)))
    assert set(found) == {(0,), (0, 9)}  # where row 9 did not come up, its priority is the old one


def test_priorities_are_those_of_the_ratio_before_its_step():
    offline, online = replay(LOG, np.zeros(2)), replay(ROOM, np.zeros(2), [1.0, 1.0])
    state = started(offline, online)
    # All four rows have priority 1, so each comes up once.
    after, metrics = learn(state, offline, online, jax.random.key(0), LINEAR)
    np.testing.assert_allclose(priorities(after)[[0, 1, 8, 9]], [1.0, 1.0, 2.0, 2.0], rtol=1e-5)
    assert float(metrics["ratio_offline"]) == 1.0 and float(metrics["ratio_online"]) == 32.0
    assert float(metrics["online_share"]) == 0.5
    # Of what the next batch is drawn from: 4 of 6.
    assert float(metrics["online_share_expected"]) == pytest.approx(2 / 3, rel=1e-5)
    # After the step w is not 1 at a = 0, and the priorities would be others.
    assert abs(float(after.ensemble.ratio.layers[0].bias[0]) - 1.0) == pytest.approx(0.5, rel=1e-3)


def test_new_rows_get_the_largest_priority_so_far():
    offline, online = replay(LOG, np.zeros(2)), replay(ROOM, np.zeros(2), [1.0, 1.0])
    state = started(offline, online)
    assert float(state.priority.largest) == 1.0  # P0
    state, _ = learn(state, offline, online, jax.random.key(0), LINEAR)
    assert float(state.priority.largest) == pytest.approx(2.0, rel=1e-5)
    assert int(state.priority.seen) == 2
    grown = replay(ROOM, np.zeros(4), np.ones(4))
    admitted = prioritised.admit(state.priority, offline, grown)
    np.testing.assert_allclose(
        priorities(Both(state.ensemble, admitted))[8:], [2, 2, 2, 2, 0], rtol=1e-5
    )
    assert int(admitted.seen) == 4
    # Once more there is nothing new.
    assert eqx.tree_equal(prioritised.admit(admitted, offline, grown), admitted)


def test_the_largest_priority_never_falls_and_may_lie_past_the_range():
    offline, online = replay(LOG, np.zeros(2)), replay(ROOM, np.zeros(2), [-1.0, -1.0])
    state = eqx.tree_at(lambda s: s.priority.largest, started(offline, online), jnp.asarray(3000.0))
    after, _ = learn(state, offline, online, jax.random.key(0), LINEAR)
    assert float(after.priority.largest) == 3000.0
    # The last two of the four segments of 1500.5 lie in the second online row.
    assert priorities(after)[9] == pytest.approx(1e-3)


def test_thousands_of_rows_at_once_are_one_by_one():
    offline, online = replay(100, np.zeros(100)), replay(3000, np.zeros(2500))
    state = started(offline, online)
    at_once = jax.jit(prioritised.admit)(state.priority, offline, online)
    expected = np.zeros(3100, np.float32)
    expected[:100], expected[100:2600] = 1.0, float(state.priority.largest)
    assert eqx.tree_equal(at_once.tree, sum_tree.build(jnp.asarray(expected)))
    assert int(at_once.seen) == 2500


def test_offline_the_tree_and_the_online_rows_are_left_alone():
    nan = np.full(3, np.nan)
    offline = replay(LOG, np.ones(6), np.linspace(-1, 1, 6))
    online = replay(ROOM, nan, nan, nan)
    state = started(offline, online, is_online=False)
    after, metrics = learn(state, offline, online, jax.random.key(0), LINEAR)
    rest = lambda s: (s.priority, s.ensemble.ratio, s.ensemble.ratio_opt)  # noqa: E731
    assert eqx.tree_equal(rest(after), rest(state))
    assert is_finite((after, metrics))
    assert float(metrics["online_share"]) == float(metrics["online_share_expected"]) == 0.0
    critics = lambda s: s.ensemble.members.critics  # noqa: E731
    assert not eqx.tree_equal(critics(after), critics(state))


# Q(s, a) = w(s, a) = s is the row's number; the gaps are room.
NUMBERED = replay(LOG, [0.0, 1.0, 2.0]), replay(ROOM, [8.0, 9.0, 10.0])


@pytest.mark.parametrize("is_online", [True, False])
def test_batches_follow_the_priorities_online_and_the_others_are_uniform(is_online):
    skewed = [1, 5, 0, 0, 0, 0, 0, 0, 2, 0, 4, 0, 0]
    state = with_priorities(started(*NUMBERED, is_online=is_online), skewed, seen=3)
    how = GroupedRows(4, LOG, is_online, balanced.row_priorities, LINEAR)
    draw = lambda key: how.draw(None, state.priority, *NUMBERED, None, key)[0]  # noqa: E731
    draws = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 500))
    thirds = [{0: 1 / 3, 1: 1 / 3, 2: 1 / 3}, {8: 1 / 3, 9: 1 / 3, 10: 1 / 3}]
    by_priority = {0: 1 / 12, 1: 5 / 12, 8: 2 / 12, 10: 4 / 12}
    expected = {"batch": by_priority if is_online else thirds[0], "logged": thirds[0]}
    if is_online:
        expected["collected"] = thirds[1]
    for name, shares in expected.items():
        drawn = getattr(draws, name)
        np.testing.assert_array_equal(drawn.obs[..., 0], drawn.row)
        rows, counts = np.unique(np.asarray(drawn.row), return_counts=True)
        assert list(rows) == list(shares)
        # Stratified draws vary less than independent ones.
        assert stats.chisquare(counts, 2000 * np.asarray(list(shares.values()))).pvalue > 1e-3


def test_the_agents_learn_from_the_tree_and_the_ratio_from_uniform_rows():
    state = started(*NUMBERED, ratio=(1.0, 0.0, 0.0))
    state = with_priorities(state, [0] * 10 + [1, 0, 0], seen=3)
    found = [learn(state, *NUMBERED, jax.random.key(seed), LINEAR)[1] for seed in range(5)]
    assert [float(metrics["q_logged"]) for metrics in found] == [10.0] * 5
    for name, low, high in [("ratio_offline", 0.0, 2.0), ("ratio_online", 8.0, 10.0)]:
        means = [float(metrics[name]) for metrics in found]
        assert low <= min(means) < max(means) <= high


@pytest.mark.parametrize("is_online", [False, True])
def test_it_learns_across_a_time_limit_and_not_across_a_termination(is_online):
    online = replay(ROOM, np.ones(2), [1.0, -1.0], np.ones(2), terminated=False)
    offline = replay(LOG, -np.ones(3), [-1.0, 0.0, 1.0], np.ones(3), terminated=False)
    state = started(offline, online, is_online=is_online)

    def after(flag):
        flagged = [
            eqx.tree_at(lambda r: getattr(r.data, flag), r, jnp.ones(r.capacity, bool))
            for r in (offline, online)
        ]
        return learn(state, *flagged, jax.random.key(0), LINEAR)[0]

    plain, _ = learn(state, offline, online, jax.random.key(0), LINEAR)
    assert eqx.tree_equal(after("truncated"), plain)
    assert not eqx.tree_equal(after("terminated").ensemble, plain.ensemble)
    assert is_finite(plain)


def test_both_stages_keep_all_shapes_and_name_the_same_metrics():
    offline, online = replay(LOG, np.zeros(3)), replay(ROOM, np.zeros(2))
    states = [started(offline, online, is_online=flag) for flag in (False, True)]
    found = [learn(state, offline, online, jax.random.key(0), LINEAR) for state in states]
    for before, (after, metrics) in zip(states, found, strict=True):
        assert jax.tree.structure(before) == jax.tree.structure(after)
        assert shapes(before) == shapes(after)
        assert shapes(metrics) == shapes(found[0][1])
        assert is_finite((after, metrics))
        assert {"q_target", "q_target_max"} <= set(metrics)
    assert shapes(balanced.hand_over(states[0].ensemble, LINEAR)) == shapes(states[1].ensemble)


def test_a_run_goes_on_equal_from_a_copy_on_the_host():
    rng = np.random.default_rng(0)
    data = rng.uniform(-1, 1, (3, 4))
    offline, online = replay(LOG, *rng.uniform(-1, 1, (3, 7))), replay(ROOM, *data[:, :2])
    half, _ = learn(started(offline, online), offline, online, jax.random.key(1), LINEAR)
    restored = jax.device_put(jax.device_get(half))
    more = replay(ROOM, *data)  # rows that have come in meanwhile
    for seed in (2, 3):
        half, metrics = learn(half, offline, more, jax.random.key(seed), LINEAR)
        restored, again = learn(restored, offline, more, jax.random.key(seed), LINEAR)
        assert eqx.tree_equal(metrics, again)
    assert eqx.tree_equal(half, restored)
    assert int(half.priority.seen) == 4


SMALL = BalancedConfig(
    members=2, hidden=(32, 32), learning_rate=3e-3, offline_actor_learning_rate=3e-3,
    ratio_learning_rate=3e-3, warm_up=100, conservative_weight=2.0, sampled_actions=5,
    batch_size=64, initial_rows=16,
)  # fmt: skip
STEPS, SMALL_LOG, SMALL_ROOM = 800, 256, 128


@partial(jax.jit, donate_argnames="state")
def train(state, offline, online, seed):
    """After so many steps, as a run makes them; also the metrics of each."""
    once = lambda s, key: step(s, offline, online, key, SMALL)  # noqa: E731
    return jax.lax.scan(once, state, jax.random.split(jax.random.key(seed), STEPS))


@pytest.mark.slow
def test_logged_rows_like_the_online_ones_are_drawn_as_often_as_those():
    """A log of two states, and online data from one of them: w is 2 there and 0 elsewhere.

    Then priorities are 2 where the online data is, in the log as online: with 32 such logged rows
    and 16 online ones a third of the draws is online.
    """
    actions = np.linspace(-1.0, 1.0, 16)  # the same everywhere, so that only the state tells
    offline = replay(SMALL_LOG, np.repeat([-1.0, 1.0], 32), np.tile(actions, 4))
    online = replay(SMALL_ROOM, np.ones(16), actions)
    state = Both(balanced.hand_over(fresh(SMALL), SMALL), begun(offline, online, SMALL))
    state, metrics = train(state, offline, online, 1)
    first = float(metrics["online_share"][0])
    for seed in (2, 3):
        state, metrics = train(state, offline, online, seed)
    found = priorities(state)
    # Rows that hardly come up any more keep what they had when they last did.
    assert found[:32].mean() < 0.5 * found[32:64].mean()
    np.testing.assert_allclose(found[32:64].mean(), found[256:272].mean(), rtol=0.1)
    assert first == 0.75
    expected, drawn = (np.asarray(metrics[f"online_share{x}"])[-400:] for x in ("_expected", ""))
    assert expected.mean() == pytest.approx(1 / 3, abs=0.06)
    assert drawn.mean() == pytest.approx(expected.mean(), abs=0.01)
    assert found[64:256].max() == found[272:].max() == 0.0


def bandit(capacity, action) -> Replay:
    """One-step episodes with the best action 0.5."""
    return replay(capacity, np.ones(len(action)), action, -2 * (action - 0.5) ** 2)


def mode(state) -> float:
    return float(balanced.act_mode(balanced.policy(state.ensemble), jnp.ones(1))[0])


@pytest.mark.slow
def test_offline_it_stays_where_the_log_is_and_online_finds_the_best_action():
    actions = np.append(np.random.default_rng(0).uniform(-1.0, 1.0, 254), [-1.0, 1.0])
    log, nothing = bandit(SMALL_LOG, 0.5 * actions - 0.5), replay(SMALL_ROOM, [])
    start = Both(fresh(SMALL), begun(log, nothing, SMALL))
    offline, _ = train(start, log, nothing, 1)
    assert -0.4 < mode(offline) < 0.15
    new = bandit(SMALL_ROOM, actions[-128:])
    handed = Both(balanced.hand_over(offline.ensemble, SMALL), begun(log, new, SMALL))
    online, losses = train(handed, log, new, 2)
    assert mode(online) == pytest.approx(0.5, abs=0.1)
    assert is_finite((online, losses))
