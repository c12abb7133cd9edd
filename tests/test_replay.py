"""Buffers against plain lists, and the two-group sampler against proportional sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from moore.replay import buffer, sampler
from moore.replay.buffer import (
    Transition,
    append,
    empty_replay,
    empty_ring,
    full_replay,
    with_room,
)
from moore.replay.schemes import moore

push, gather = jax.jit(buffer.push), jax.jit(sampler.gather)
sample_ring = jax.jit(sampler.sample_ring, static_argnames="count")
sample_rows = jax.jit(sampler.sample_rows, static_argnames=("shape", "train_only"))


def numbered(first: int, count: int) -> Transition:
    """Transitions that carry their own number in every float."""
    number = jnp.arange(first, first + count, dtype=jnp.float32)
    return Transition(
        obs=jnp.stack([number, -number], axis=1),
        action=number[:, None],
        reward=number,
        next_obs=jnp.stack([number + 0.5, -number], axis=1),
        terminated=number % 2 == 0,
        truncated=number % 3 == 0,
    )


def log(size: int, *, known=None, held: int = 0, fraction: float = 0.2):
    known = np.ones(size, bool) if known is None else known
    return full_replay(
        numbered(0, size), known, jax.random.key(0), holdout_fraction=fraction, max_holdout=held
    )


push, with_room = jax.jit(push), jax.jit(with_room)


class TestRing:
    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=8))
    def test_holds_the_newest_rows_like_a_list(self, batches):
        ring, model, first = empty_ring(7, 2, 1), [], 0
        for keep in batches:
            ring = push(ring, numbered(first, 5), jnp.asarray(keep))
            model += [first + i for i, kept in enumerate(keep) if kept]
            first += 5
        newest = model[-7:]
        assert int(ring.size) == len(newest)
        held = np.sort(np.asarray(ring.data.reward)[: len(newest)])
        np.testing.assert_array_equal(held, newest)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(5, 12)), min_size=1, max_size=8))
    def test_keeps_the_newest_rows_when_its_room_changes(self, changes):
        ring, model, first = empty_ring(12, 2, 1), [], 0
        for count, room in changes:
            ring = push(ring, numbered(first, 5), jnp.arange(5) < count)
            model = [*model, *range(first, first + count)][-int(ring.room) :]
            first += count
            ring, model = with_room(ring, jnp.asarray(room)), model[-room:]
            assert int(ring.size) == len(model) and int(ring.room) == room
            held = np.sort(np.asarray(ring.data.reward)[: len(model)])
            np.testing.assert_array_equal(held, model)

    def test_every_column_of_a_row_moves_together(self):
        ring = push(empty_ring(4, 2, 1), numbered(0, 3), jnp.asarray([True, False, True]))
        ring = push(ring, numbered(10, 3), jnp.asarray([True, True, True]))
        reward = np.asarray(ring.data.reward)
        assert sorted(reward) == [2, 10, 11, 12], "the oldest row, 0, went first"
        np.testing.assert_array_equal(ring.data.next_obs[:, 0], reward + 0.5)
        np.testing.assert_array_equal(ring.data.action[:, 0], reward)
        np.testing.assert_array_equal(ring.data.truncated, reward % 3 == 0)

    def test_refuses_rows_that_would_overwrite_one_another(self):
        with pytest.raises(ValueError, match="do not fit"):
            push(empty_ring(2, 2, 1), numbered(0, 3), jnp.ones(3, bool))

    def test_is_sampled_only_where_it_is_filled(self):
        ring = push(empty_ring(1000, 2, 1), numbered(1, 3), jnp.ones(3, bool))
        drawn = sample_ring(jax.random.key(1), 500, ring).reward
        assert set(np.asarray(drawn).tolist()) == {1.0, 2.0, 3.0}


class TestReplay:
    def test_a_log_holds_out_a_fifth_up_to_the_limit(self):
        assert int(log(100, held=1000).holdout_size) == 20
        assert int(log(100, held=5).holdout_size) == 5

    def test_the_split_covers_the_known_rows_once_and_no_other(self):
        known = np.arange(50) % 7 != 0
        replay = log(50, known=known, held=10)
        train = np.asarray(replay.train_rows)[: int(replay.train_size)]
        held = np.asarray(replay.holdout_rows)[: int(replay.holdout_size)]
        np.testing.assert_array_equal(np.sort([*train, *held]), np.flatnonzero(known))

    def test_online_rows_join_one_list_each_until_the_holdout_is_full(self):
        replay, add = (
            empty_replay(200, 2, 1, max_holdout=20),
            jax.jit(append, static_argnames="holdout_fraction"),
        )
        for i in range(200):
            row = jax.tree.map(lambda x: x[0], numbered(i, 1))
            key = jax.random.fold_in(jax.random.key(3), i)
            replay = add(replay, row, key, holdout_fraction=0.2)
        train = np.asarray(replay.train_rows)[: int(replay.train_size)]
        held = np.asarray(replay.holdout_rows)[: int(replay.holdout_size)]
        assert len(held) == 20 and held.max() < 199, "a full holdout takes no more rows"
        np.testing.assert_array_equal(np.sort([*train, *held]), np.arange(200))
        np.testing.assert_array_equal(replay.data.reward, np.arange(200))


def sample(key, count, offline, online, share):
    """Transitions drawn from both groups."""
    rows = sample_rows(key, (count,), offline, online, jnp.float32(share), train_only=False)
    return gather(offline, online, rows)


class TestTwoGroups:
    N_OFF, N_ON = 30, 10

    def buffers(self):
        online, add = (
            empty_replay(16, 2, 1, max_holdout=4),
            jax.jit(append, static_argnames="holdout_fraction"),
        )
        for i in range(self.N_ON):
            row = jax.tree.map(lambda x: x[0], numbered(100 + i, 1))
            online = add(online, row, jax.random.key(i), holdout_fraction=0.3)
        return log(self.N_OFF, held=5), online

    @pytest.mark.parametrize(("epoch", "alpha"), [(1, 1.0), (3, 1.0), (2, 0.25), (5, 4.0)])
    def test_equals_proportional_sampling_by_priority(self, epoch, alpha):
        """Chi-square against p_i / sum p over all items, with priorities 1 / (alpha t) and 1."""
        offline, online = self.buffers()
        priority = np.r_[np.full(self.N_OFF, 1 / (alpha * epoch)), np.ones(self.N_ON)]
        share = moore(alpha).online_share(epoch, self.N_ON, self.N_OFF)
        draws = 40_000
        drawn = sample(jax.random.key(7), draws, offline, online, share).reward
        item = np.asarray(drawn).astype(int)
        item = np.where(item >= 100, item - 100 + self.N_OFF, item)
        counts = np.bincount(item, minlength=self.N_OFF + self.N_ON)
        assert stats.chisquare(counts, draws * priority / priority.sum()).pvalue > 1e-4

    def test_the_chi_square_would_notice_a_wrong_share(self):
        offline, online = self.buffers()
        drawn = sample(jax.random.key(7), 40_000, offline, online, 0.30).reward
        counts = np.asarray([(drawn < 100).sum(), (drawn >= 100).sum()])
        expected = 40_000 * np.asarray([0.75, 0.25])
        assert stats.chisquare(counts, expected).pvalue < 1e-10

    def test_training_draws_leave_out_held_out_rows(self):
        offline, online = self.buffers()
        rows = sample_rows(
            jax.random.key(1), (5000,), offline, online, jnp.float32(0.5), train_only=True
        )
        held_off = np.asarray(offline.holdout_rows)[: int(offline.holdout_size)]
        held_on = np.asarray(online.holdout_rows)[: int(online.holdout_size)] + offline.capacity
        assert len(held_off) and len(held_on)
        assert not set(np.asarray(rows).tolist()) & {*held_off.tolist(), *held_on.tolist()}

    def test_an_empty_online_buffer_is_never_drawn_from(self):
        offline, online = log(5), empty_replay(8, 2, 1, max_holdout=2)
        drawn = sample(jax.random.key(0), 1000, offline, online, 0.0).reward
        assert set(np.asarray(drawn).tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}

    def test_joint_rows_gather_the_right_transitions(self):
        offline, online = self.buffers()
        found = gather(offline, online, jnp.asarray([0, 29, 30, 39]))
        np.testing.assert_array_equal(found.reward, [0, 29, 100, 109])
        np.testing.assert_array_equal(found.obs[:, 1], [0, -29, -100, -109])
