"""A scheme applied to both buffers at one moment: which rows are drawn (lines 8, 13 and 15)."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from moore.replay.buffer import Counts, Replay, Transition
from moore.replay.priorities import PriorityRows, RowScheme, Table, cumulate
from moore.replay.sampler import sample_rows
from moore.replay.schedule import sampling_tv
from moore.replay.schemes import Scheme


@runtime_checkable
class UsersUnits(Protocol):
    """Converts stored transitions back to the units of the log; see `moore.units.Units`."""

    def transition_out(self, seen: Transition) -> Transition:
        """The transitions in the user's units."""


_sample_rows = jax.jit(sample_rows, static_argnames=("shape", "train_only"))


@dataclass(frozen=True)
class Groups:
    """Draws of a scheme that has one priority for the log and one for the online data.

    Attributes:
        scheme, epoch: f and t.
        offline, online: D_off, or the sizes of one on disk, and D_on.
    """

    scheme: Scheme
    epoch: int
    offline: Replay | Counts
    online: Replay

    def online_share(self, *, train_only: bool = False) -> float:
        """Probability that a draw is an online row; with `train_only`, among training rows."""
        sizes = [r.train_size if train_only else r.size for r in (self.online, self.offline)]
        return self.scheme.online_share(self.epoch, *map(int, sizes))

    def rows(
        self, key: PRNGKeyArray, shape: tuple[int, ...], *, train_only: bool = False
    ) -> Int[Array, "..."]:
        """Independent draws as joint indices; see `sample_rows`."""
        # The one number that a draw brings to the device; a transfer guard lets it pass.
        share = jax.device_put(np.float32(self.online_share(train_only=train_only)))
        return _sample_rows(key, shape, self.offline, self.online, share, train_only=train_only)


@dataclass(frozen=True, eq=False)
class EachRow:
    """Draws of a scheme with a priority for every row.

    Attributes:
        all, train: tables of all rows, and of the rows that the models may be fitted to.
    """

    all: Table
    train: Table

    def online_share(self, *, train_only: bool = False) -> float:
        return (self.train if train_only else self.all).online_share

    def rows(
        self, key: PRNGKeyArray, shape: tuple[int, ...], *, train_only: bool = False
    ) -> Int[Array, "..."]:
        """Independent draws as joint indices.

        A one-dimensional draw is sorted by row. Draws of batches, and of rows to fit
        (`train_only`), are shuffled.
        """
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        table = self.train if train_only else self.all
        drawn = table.draw(rng, int(np.prod(shape)))
        if train_only or len(shape) > 1:  # a table draws all of them in the order of the rows
            drawn = rng.permutation(drawn)
        return jnp.asarray(drawn.reshape(shape))


Draws = Groups | EachRow


def each_row(
    scheme: RowScheme,
    epoch: int,
    offline: Replay,
    online: Replay,
    n_on: int,
    units: UsersUnits | None = None,
) -> EachRow:
    """The draws of a scheme at epoch t from the log and the first `n_on` online rows.

    The scheme sees the rows in the user's `units`; with None, as they are stored.

    Raises:
        InputError: the number or the sign of the priorities is wrong, or nothing can be drawn.
    """
    n_off = int(offline.size)
    priorities = scheme(_rows(offline, online, n_off, n_on, units), epoch)
    joint = np.concatenate([np.arange(n_off), offline.capacity + np.arange(n_on)])
    is_online = np.arange(n_off + n_on) >= n_off
    train = np.zeros(n_off + n_on, bool)
    train[np.asarray(offline.train_rows[: int(offline.train_size)])] = True
    trained_online = np.asarray(online.train_rows[: int(online.train_size)])
    train[n_off + trained_online[trained_online < n_on]] = True
    return EachRow(
        all=cumulate(joint, priorities, is_online),
        train=cumulate(joint[train], priorities[train], is_online[train]),
    )


def shift(
    scheme: Scheme | RowScheme,
    epoch: int,
    offline: Replay | Counts,
    online: Replay,
    new: int,
    units: UsersUnits | None = None,
) -> float:
    """How far epoch t has moved the sampling distribution, as total variation over the rows.

    Args:
        scheme: f.
        epoch: t. The distribution at its end is compared with that of the epoch before; epoch 1 is
            compared with uniform draws from the log.
        offline, online: D_off and D_on as they are now.
        new: number of online rows that the epoch has added.
        units: units in which a scheme with a priority for every row sees the rows; with None, it
            sees them as they are stored.
    """
    n_off, now = int(offline.size), int(online.size)
    before = now - new
    if isinstance(scheme, Scheme):
        shares = (scheme.online_share(t, n, n_off) for t, n in ((epoch - 1, before), (epoch, now)))
        return sampling_tv(next(shares), before, next(shares), now)

    assert isinstance(offline, Replay)  # of a log on disk there are no priorities row by row

    def probabilities(t: int, n_on: int) -> np.ndarray:
        drawn = each_row(scheme, t, offline, online, n_on, units)
        return drawn.all.probabilities(n_off + now)

    old = np.append(np.full(n_off, 1.0 / n_off), np.zeros(now))
    if epoch > 1:
        old = probabilities(epoch - 1, before)
    new_draws = probabilities(epoch, now)
    return 0.5 * float(np.abs(new_draws - old).sum())


def _rows(
    offline: Replay, online: Replay, n_off: int, n_on: int, units: UsersUnits | None
) -> PriorityRows:
    """Both buffers as one set of columns in the user's units, for the user's priority function."""
    parts = [(offline, n_off), (online, n_on)]

    def column(name: str) -> np.ndarray:
        return np.concatenate([np.asarray(getattr(r.data, name))[:size] for r, size in parts])

    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
    stored = Transition(*map(column, names))
    columns = vars(stored if units is None else units.transition_out(stored))
    ends = columns["terminated"] | columns["truncated"]
    ends[n_off - 1 : n_off] = True  # no episode runs on from the log into the online data
    return PriorityRows(
        **columns,
        online=np.arange(n_off + n_on) >= n_off,
        age=np.concatenate([np.arange(size)[::-1] for _, size in parts]),
        episode_return=_episode_returns(columns["reward"], ends),
    )


def _episode_returns(reward: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """For every row the return of its episode, float64."""
    if not len(reward):
        return np.zeros(0)
    first = np.concatenate([[0], np.flatnonzero(ends[:-1]) + 1])
    sums = np.add.reduceat(reward.astype(np.float64), first)
    return np.repeat(sums, np.diff(np.append(first, len(reward))))
