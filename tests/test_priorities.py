"""Priorities that differ from row to row: drawn exactly, checked, and never silently replaced."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from moore.errors import InputError
from moore.replay.buffer import Transition, append, empty_replay, full_replay
from moore.replay.draws import Groups, each_row, shift
from moore.replay.priorities import PriorityRows, RowScheme, cumulate, from_array, load_scheme
from moore.replay.schemes import moore, parse_scheme, uniform
from moore.runs.run import run
from moore.runs.setup import prepare
from steps import imagine
from tiny import ENV, tiny_config, tiny_log

N_OFF, N_ON = 40, 12


def numbered(first: int, count: int) -> Transition:
    """Row i observes i and earns i; episodes of 5 rows, the last one timed out."""
    row = np.arange(first, first + count, dtype=np.float32)
    return Transition(
        obs=row[:, None],
        action=np.zeros((count, 1), np.float32),
        reward=row,
        next_obs=row[:, None] + 1,
        terminated=np.zeros(count, bool),
        truncated=row % 5 == 4,
    )


@pytest.fixture(scope="module")
def buffers():
    offline = full_replay(
        numbered(0, N_OFF),
        np.ones(N_OFF, bool),
        jax.random.key(0),
        holdout_fraction=0.2,
        max_holdout=8,
    )
    online = empty_replay(30, 1, 1, max_holdout=5)
    add = jax.jit(append, static_argnames="holdout_fraction")
    for i in range(N_ON):
        row = jax.tree.map(lambda x: x[0], numbered(100 + i, 1))
        online = add(online, row, jax.random.key(i), holdout_fraction=0.3)
    return offline, online


def counts(rows, offline):
    """How often each row was drawn, the log's first."""
    rows = np.asarray(rows).reshape(-1)
    item = np.where(rows >= offline.capacity, rows - offline.capacity + N_OFF, rows)
    return np.bincount(item, minlength=N_OFF + N_ON)


def by_age(d: PriorityRows, t: int) -> np.ndarray:
    return 1.0 / (1.0 + d.age / t)


# --- What is drawn ---


def test_draws_follow_the_priorities(buffers):
    offline, _ = buffers
    drawn = each_row(RowScheme("age", by_age), 3, *buffers, N_ON)
    age = np.r_[np.arange(N_OFF)[::-1], np.arange(N_ON)[::-1]]
    p = 1.0 / (1.0 + age / 3)
    found = counts(drawn.rows(jax.random.key(1), (60_000,)), offline)
    assert stats.chisquare(found, 60_000 * p / p.sum()).pvalue > 1e-4
    assert drawn.online_share() == pytest.approx(p[N_OFF:].sum() / p.sum())


def test_the_chi_square_would_notice_the_priorities_of_another_epoch(buffers):
    offline, _ = buffers
    drawn = each_row(RowScheme("age", by_age), 2, *buffers, N_ON)
    age = np.r_[np.arange(N_OFF)[::-1], np.arange(N_ON)[::-1]]
    p = 1.0 / (1.0 + age / 3)
    found = counts(drawn.rows(jax.random.key(1), (60_000,)), offline)
    assert stats.chisquare(found, 60_000 * p / p.sum()).pvalue < 1e-10


def test_with_the_papers_f_they_are_the_two_group_sampler(buffers):
    """f(d, t) = 1 / (alpha t) for the log and 1 online, row by row."""
    scheme = RowScheme("f", lambda d, t: np.where(d.online, 1.0, 1.0 / (0.5 * t)))
    rowwise = each_row(scheme, 4, *buffers, N_ON)
    groups = Groups(moore(0.5), 4, *buffers)
    assert rowwise.online_share() == pytest.approx(groups.online_share())
    train = [d.online_share(train_only=True) for d in (rowwise, groups)]
    assert train[0] == pytest.approx(train[1])
    offline, _ = buffers
    found = [counts(d.rows(jax.random.key(2), (40_000,)), offline) for d in (rowwise, groups)]
    assert stats.chi2_contingency(found).pvalue > 1e-4


def test_training_rows_are_mixed_and_leave_out_held_out_ones(buffers):
    offline, online = buffers
    drawn = each_row(RowScheme("age", by_age), 1, *buffers, N_ON)
    rows = np.asarray(drawn.rows(jax.random.key(3), (4, 2000), train_only=True))
    held = set(np.asarray(offline.holdout_rows)[: int(offline.holdout_size)].tolist())
    held_on = np.asarray(online.holdout_rows)[: int(online.holdout_size)] + offline.capacity
    assert held and len(held_on)
    assert not set(rows.reshape(-1).tolist()) & (held | set(held_on.tolist()))
    # Every member draws on its own, and no stretch of its draws is all log or all online.
    shares = (rows.reshape(4, 20, 100) >= offline.capacity).mean(axis=2)
    assert (shares.min(axis=1) > 0).all() and (shares.max(axis=1) < 1).all()
    assert (rows[0] != rows[1]).any()


def test_all_training_rows_up_to_the_newest_may_be_drawn_and_no_others(buffers):
    offline, online = buffers
    of_log = np.asarray(offline.train_rows)[: int(offline.train_size)]
    of_system = np.asarray(online.train_rows)[: int(online.train_size)]
    newest = int(of_system.max())
    for n_on in (newest + 1, newest):
        seen = of_system[of_system < n_on] + offline.capacity
        alike = each_row(RowScheme("one", lambda d, t: np.ones(len(d.age))), 1, *buffers, n_on)
        rows = np.asarray(alike.rows(jax.random.key(4), (2000,), train_only=True))
        assert set(rows.tolist()) == {*of_log.tolist(), *seen.tolist()}
    grouped = Groups(uniform(), 1, *buffers).rows(jax.random.key(4), (2000,), train_only=True)
    assert set(np.asarray(grouped).tolist()) == {*of_log, *(of_system + offline.capacity)}


def test_rows_to_fit_are_shuffled_and_others_come_in_the_order_of_the_rows(buffers):
    drawn = each_row(RowScheme("age", by_age), 1, *buffers, N_ON)
    for train_only in (False, True):
        rows = np.asarray(drawn.rows(jax.random.key(5), (400,), train_only=train_only))
        assert (np.diff(rows) < 0).any() == train_only


@pytest.mark.parametrize(("shape", "train_only"), [((300,), True), ((3, 100), False)])
def test_shuffled_rows_are_those_that_were_drawn_and_another_key_draws_others(
    buffers, shape, train_only
):
    drawn = each_row(RowScheme("age", by_age), 1, *buffers, N_ON)
    table = drawn.train if train_only else drawn.all
    one, same, other = (
        np.asarray(drawn.rows(jax.random.key(seed), shape, train_only=train_only)).reshape(-1)
        for seed in (6, 6, 7)
    )
    np.testing.assert_array_equal(one, same)
    seed = np.asarray(jax.random.key_data(jax.random.key(6)))
    in_order = table.draw(np.random.default_rng(seed), 300)
    np.testing.assert_array_equal(np.sort(one), in_order)
    assert (np.sort(one) != np.sort(other)).any()
    # Sorted rows have as good as no neighbours that fall, and reversed ones none that rise.
    assert 0.3 < (np.diff(one) < 0).mean() < 0.7


def test_every_batch_is_drawn_from_all_rows(buffers):
    offline, _ = buffers
    drawn = each_row(RowScheme("age", by_age), 2, *buffers, N_ON)
    batches = drawn.rows(jax.random.key(4), (5, 4000))
    found = [counts(batch, offline) for batch in batches]
    assert stats.chi2_contingency(found).pvalue > 1e-4


def test_rows_of_priority_zero_are_never_drawn(buffers):
    scheme = RowScheme("one", lambda d, t: (d.reward == 7).astype(float))
    rows = each_row(scheme, 1, *buffers, N_ON).rows(jax.random.key(0), (500,))
    assert set(np.asarray(rows).tolist()) == {7}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0, allow_infinity=False), min_size=1, max_size=30).filter(any),
    st.integers(0, 2**32 - 1),
)
@example([5e-324], 0)
@example([1.7e308, 0.0, 1.7e308], 0)
def test_every_draw_is_a_row_with_priority(values, seed):
    priorities = np.asarray(values)
    rows = np.arange(len(values))
    table = cumulate(rows, priorities, rows % 2 == 0)
    drawn = table.draw(np.random.default_rng(seed), 200)
    assert (priorities[drawn] > 0).all()
    assert (np.diff(drawn) >= 0).all()
    np.testing.assert_allclose(table.probabilities(len(rows)).sum(), 1.0)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([1e-9, 0.1, 1.0, 3.0, 1e9]), min_size=1, max_size=60),
    st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=20),
)
def test_the_guided_search_is_a_search(values, shares):
    table = cumulate(np.arange(len(values)), np.asarray(values), np.zeros(len(values), bool))
    edges = np.r_[0.0, table.sums[:-1], np.nextafter(table.sums, 0.0)]
    points = np.r_[np.asarray(shares) * table.sums[-1], edges]
    points = points[points < table.sums[-1]]
    expected = np.searchsorted(table.sums, points, side="right")
    np.testing.assert_array_equal(table._find(points), expected)


def test_small_priorities_survive_beside_two_million_rows():
    """Float32 sums would lose them: 1e-3 beside 2e6 is below its resolution."""
    priorities = np.r_[np.ones(2_000_000), np.full(2000, 1e-3)]
    table = cumulate(np.arange(len(priorities)), priorities, np.zeros(len(priorities), bool))
    np.testing.assert_allclose(table.probabilities(len(priorities))[-2000:], 1e-3 / 2_000_002.0)


# --- What a function sees ---


def test_a_function_sees_both_groups_and_what_it_needs(buffers):
    seen = {}

    def look(d, t):
        seen.update(d=d, t=t)
        return np.ones(len(d.reward))

    each_row(RowScheme("look", look), 5, *buffers, 10)
    d = seen["d"]
    assert seen["t"] == 5 and len(d.reward) == N_OFF + 10, "the first ten online rows"
    np.testing.assert_array_equal(d.online, np.arange(50) >= N_OFF)
    np.testing.assert_array_equal(d.age[[0, 39, 40, 49]], [39, 0, 9, 0])
    np.testing.assert_array_equal(d.reward, np.r_[np.arange(40), np.arange(100, 110)])
    returns = [np.arange(5 * (i // 5), 5 * (i // 5) + 5).sum() for i in range(40)]
    online = [sum(range(100, 105))] * 5 + [sum(range(105, 110))] * 5
    np.testing.assert_array_equal(d.episode_return, returns + online)


def test_an_open_episode_at_the_end_of_the_log_does_not_run_on_into_the_online_data(buffers):
    """Rows 35 to 39 earn 185 and online rows 100 to 104 earn 510, not both of them 695."""
    offline, online = buffers
    still_open = np.asarray(offline.data.truncated) & (np.arange(offline.capacity) != N_OFF - 1)
    data = dataclasses.replace(offline.data, truncated=jnp.asarray(still_open))
    seen = []

    def look(d, t):
        seen.append(d.episode_return)
        return np.ones(len(d.reward))

    each_row(RowScheme("look", look), 1, dataclasses.replace(offline, data=data), online, N_ON)
    np.testing.assert_array_equal(seen[0][35:45], [185.0] * 5 + [510.0] * 5)


# --- Shift ---


def test_the_shift_is_the_total_variation_over_the_rows(buffers):
    offline, online = buffers
    scheme = RowScheme("f", lambda d, t: np.where(d.online, 1.0, 1.0 / t))
    for epoch, new in ((1, N_ON), (2, 4), (3, 4)):
        assert shift(scheme, epoch, offline, online, new) == pytest.approx(
            shift(moore(1.0), epoch, offline, online, new)
        )
    # In epoch 2 from 8 of 48 draws online, with f = 1, to 12 of 32, with f = 1/2.
    assert shift(scheme, 2, offline, online, 4) == pytest.approx((5 + 2 + 3) / 48)
    assert shift(uniform(), 1, offline, online, N_ON) == pytest.approx(12 / 52)


def test_the_shift_at_epoch_2_is_from_the_rows_and_the_priorities_of_epoch_1(buffers):
    """Of a priority that goes by age: four new rows make all online rows before them older."""
    ages = lambda n_on: np.r_[np.arange(N_OFF)[::-1], np.arange(n_on)[::-1]]  # noqa: E731
    old, new = 1.0 / (1.0 + ages(8) / 1), 1.0 / (1.0 + ages(12) / 2)
    old, new = np.r_[old / old.sum(), np.zeros(4)], new / new.sum()
    expected = 0.5 * np.abs(new - old).sum()
    assert shift(RowScheme("age", by_age), 2, *buffers, 4) == pytest.approx(expected)


# --- In a run ---


def near_the_middle(d, t):
    return np.exp(-np.abs(d.obs[:, 0])) * np.where(d.online, 1.0, 1.0 / t)


def test_a_run_draws_by_a_users_function(tmp_path):
    config = tiny_config()
    name = f"{__name__}:near_the_middle"
    online = dataclasses.replace(config.online, scheme=name, real_ratio=0.25)
    offline = dataclasses.replace(config.offline, epochs=1)
    config = dataclasses.replace(config, online=online, offline=offline)
    assert str(parse_scheme(name)) == name
    short = {"until": lambda row, state: row["epoch"] == 2, "quiet": True}
    result = run(config, dataset=tiny_log(), env=ENV, out=tmp_path / "run", **short)
    assert result.summary["scheme"] == name
    setup = prepare(config, dataset=tiny_log(), env=ENV)
    state = setup.learner.hand_over(setup.learner.init(setup.key))
    _, metrics = imagine(setup.learner, state, 1, 200)
    assert float(metrics["replay/online_share"]) == 0.0


# --- What is wrong is said ---


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda d, t: np.ones(3), r"shape \(3,\) for 52 transitions; expected \(52,\)"),
        (lambda d, t: np.ones((52, 1)), r"shape \(52, 1\)"),
        (lambda d, t: 1.0, r"shape \(\)"),
        (lambda d, t: np.where(d.reward == 3, -1.0, 1.0), r"row 3 the priority -1"),
        (lambda d, t: np.where(d.reward == 4, np.nan, 1.0), r"row 4 the priority nan"),
        (lambda d, t: np.where(d.reward == 4, np.inf, 1.0), r"row 4 the priority inf"),
        (lambda d, t: np.zeros(52), r"every row priority 0 at epoch 2"),
        (lambda d, t: d.no_such_column, r"fails at epoch 2: AttributeError"),
        (lambda d, t: ["a"] * 52, r"holds text; expected real numbers"),
        (lambda d, t: np.ones(52) * 1j, r"holds complex numbers"),
        (lambda d, t: np.ma.array(np.ones(52), mask=d.reward == 4), r"row 4 the priority nan"),
    ],
)
def test_a_function_that_returns_nonsense(buffers, function, words):
    with pytest.raises(InputError, match=f"scheme own .*{words}"):
        each_row(RowScheme("own", function), 2, *buffers, N_ON)


def test_priorities_that_leave_nothing_to_train_on(buffers):
    offline, _ = buffers
    held = int(offline.holdout_rows[0])
    scheme = RowScheme("held", lambda d, t: (d.reward == held).astype(float))
    with pytest.raises(InputError, match="every usable row has priority 0"):
        each_row(scheme, 1, *buffers, N_ON)


def test_an_array_has_a_priority_for_every_row_of_the_log(buffers, tmp_path):
    np.save(tmp_path / "p.npy", np.arange(N_OFF))
    scheme = load_scheme(str(tmp_path / "p.npy"))
    share = each_row(scheme, 9, *buffers, N_ON).online_share()
    assert share == pytest.approx(N_ON / (N_ON + np.arange(N_OFF).sum()))
    with pytest.raises(InputError, match=r"shape \(39,\); the log has 40 rows"):
        each_row(from_array(np.ones(39)), 1, *buffers, N_ON)


def test_without_online_rows_the_log_alone_is_drawn(buffers):
    drawn = each_row(RowScheme("age", by_age), 1, *buffers, 0)
    assert drawn.online_share() == drawn.online_share(train_only=True) == 0.0
    assert int(jnp.max(drawn.rows(jax.random.key(0), (500,)))) < N_OFF


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere:near", "module nowhere cannot be imported"),
        ("math:near", "math has no function near"),
        ("math:pi", "math has no function pi"),
        ("not a module:near", "expected module:function"),
        ("nowhere.npy", "cannot be read"),
    ],
)
def test_a_scheme_that_is_nowhere(text, words):
    with pytest.raises(InputError, match=words):
        load_scheme(text)
