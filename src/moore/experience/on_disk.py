"""D_off on disk: the rows that a group of updates has drawn are read before the group is run.

Which rows are drawn is decided as for a log in memory, by `moore.replay.sampler.sample_rows` from
the sizes alone. What is drawn is then put into a small buffer, and the joint indices are changed
to places in it, so that the compiled programs need not know where the log lies.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from moore.data.row_file import RowFile
from moore.replay.buffer import Counts, Replay, Transition

# Converts records of the file to NumPy transitions in the agents' units.
Convert = Callable[[np.ndarray], Transition]


@dataclass(frozen=True, eq=False)
class DiskLog:
    """The rows of a log on disk, in the agents' units.

    Attributes:
        file: all rows.
        convert: see `Convert`.
        holdout_rows: (h,) int64, the rows that are held out, ascending; their successors are known.
        range: lowest and highest value of every entry of the observations and the next ones.
    """

    file: RowFile
    convert: Convert
    holdout_rows: Int[np.ndarray, " h"]
    range: tuple[Float[Array, " obs"], Float[Array, " obs"]]

    @property
    def counts(self) -> Counts:
        """Number of all rows, and of those that models may be fitted to."""
        size = self.file.size
        trained = size - self.file.facts["unknown_successors"] - len(self.holdout_rows)
        return Counts(jnp.asarray(size, jnp.int32), jnp.asarray(trained, jnp.int32), size)

    def pool(self, rows: Int[Array, "*shape"]) -> tuple[Replay, Int[Array, "*shape"]]:
        """A buffer of the logged ones among these joint rows, and the joint rows in it.

        The buffer has as many rows as are given, so that its shape does not depend on the draws,
        and no split: it serves for the given rows alone.
        """
        joint = np.asarray(rows).reshape(-1)
        logged = joint < self.file.size
        if logged.all():
            drawn = self.file.take(joint)
        else:
            drawn = np.zeros(len(joint), self.file.type)
            drawn[logged] = self.file.take(joint[logged])
        online = len(joint) + joint - self.file.size
        places = np.where(logged, np.arange(len(joint)), online).reshape(np.shape(rows))
        none = np.zeros(0, np.int64)
        pool = _buffer(self.convert(drawn), len(joint), none, none)
        return pool, jnp.asarray(places, jnp.int32)

    def window(self, key: PRNGKeyArray, count: int) -> Replay:
        """`count` independent uniform draws of rows to fit models to, and the holdout.

        A fit draws from it as it would from the whole log; every fit gets another one.
        """
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        rows = rng.integers(0, self.file.size, count)
        drawn = self.file.take(rows)
        while True:
            again = np.flatnonzero(self._is_held(rows) | ~drawn["successor_known"])
            if not len(again):
                break
            rows[again] = rng.integers(0, self.file.size, len(again))
            drawn[again] = self.file.take(rows[again])
        records = np.concatenate([drawn, self.file.take(self.holdout_rows)])
        held = count + np.arange(len(self.holdout_rows))
        return _buffer(self.convert(records), count, np.arange(count), held)

    def _is_held(self, rows: np.ndarray) -> np.ndarray:
        if not len(self.holdout_rows):
            return np.zeros(len(rows), bool)
        held = self.holdout_rows.astype(
            rows.dtype
        )  # a search in another type takes ten times as long
        place = np.minimum(np.searchsorted(held, rows), len(held) - 1)
        return held[place] == rows


def _buffer(data: Transition, size: int, train: np.ndarray, held: np.ndarray) -> Replay:
    """A buffer on the device whose first `size` rows count, with this split."""
    train_rows = np.zeros(len(data.reward), np.int32)
    train_rows[: len(train)] = train
    counts = {"size": size, "train_size": len(train), "holdout_size": len(held)}
    return Replay(
        data=jax.tree.map(jnp.asarray, data),
        train_rows=jnp.asarray(train_rows),
        holdout_rows=jnp.asarray(held if len(held) else np.zeros(1), jnp.int32),
        **{name: jnp.asarray(count, jnp.int32) for name, count in counts.items()},
    )
