"""The rows from which the end of an episode is learned: split by episodes, thinned and weighted."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from moore.errors import InputError
from moore.replay.buffer import Transition

# Shares of the episodes for calibration and for test; training has the rest.
SHARE = 0.15
# Fewer terminated episodes than this leave nothing to calibrate or to test with.
MIN_EPISODES = 10
# Rows this close before a terminal, in steps, are drawn more often: they show where the border is.
NEAR = 10
# Most rows of each group (terminals, rows near one, others) that training or calibration keeps.
MAX_ROWS = 20_000

TRAIN, CALIBRATION, TEST = "train", "calibration", "test"
PARTS = (TRAIN, CALIBRATION, TEST)


@dataclass(frozen=True, eq=False)
class TerminalRows:
    """Some rows of a log, as NumPy arrays.

    Attributes:
        obs, action, next_obs: (rows, ...).
        terminated: (rows,) float32, 0 or 1.
        weight: (rows,) number of rows of the log that each row represents.
        group: (rows,) 0 for a terminal, 1 for a row near a terminal, 2 for others.
        episode: (rows,) number of the row's episode in the log.
    """

    obs: np.ndarray
    action: np.ndarray
    next_obs: np.ndarray
    terminated: np.ndarray
    weight: np.ndarray
    group: np.ndarray
    episode: np.ndarray

    @property
    def terminals(self) -> float:
        """Number of terminals in the log."""
        return float(self.weight @ self.terminated)

    @property
    def log_odds(self) -> float:
        """Log-odds of a terminal in the log; half a row is added, so that they are finite."""
        others = self.weight.sum() - self.terminals
        return float(np.log((self.terminals + 0.5) / (others + 0.5)))


def split_rows(
    data: Transition, successor_known: np.ndarray, key: PRNGKeyArray
) -> tuple[dict[str, TerminalRows], dict[str, dict[str, int]]]:
    """The rows of each part, and how many rows, terminals and episodes it has in the log.

    Training and calibration keep at most `MAX_ROWS` of each group, test keeps every row. Terminated
    and other episodes are split separately, so that every part has terminals.

    Args:
        data: (n, ...) rows, episode after episode.
        successor_known: (n,) bool; rows without a known successor are left out.
        key: random key of the split and of the thinning.

    Raises:
        InputError: no terminal has a known successor, or too few episodes are terminated.
    """
    terminated, truncated = np.asarray(data.terminated), np.asarray(data.truncated)
    ends = terminated | truncated
    episode = np.cumsum(np.concatenate([[0], ends[:-1]]))
    known = np.asarray(successor_known)
    with_terminal = np.zeros(episode[-1] + 1, bool)
    with_terminal[episode[terminated & known]] = True
    _check(int(with_terminal.sum()), int((terminated & ~known).sum()))
    group = np.where(terminated, 0, np.where(_near(terminated, episode), 1, 2))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    part = _parts(with_terminal, rng)[episode]

    rows, counts = {}, {}
    for number, name in enumerate(PARTS):
        mine = known & (part == number)
        counts[name] = {
            "rows": int(mine.sum()),
            "terminals": int((mine & terminated).sum()),
            "episodes": len(np.unique(episode[mine])),
        }
        groups = [np.flatnonzero(mine & (group == g)) for g in range(3)]
        most = len(mine) if name == TEST else MAX_ROWS
        kept = [np.sort(rng.choice(g, min(len(g), most), replace=False)) for g in groups]
        weights = [
            np.full(len(k), len(g) / max(len(k), 1)) for k, g in zip(kept, groups, strict=True)
        ]
        i = np.concatenate(kept)
        obs, action, next_obs = (np.asarray(x)[i] for x in (data.obs, data.action, data.next_obs))
        rows[name] = TerminalRows(
            obs,
            action,
            next_obs,
            terminated[i].astype(np.float32),
            np.concatenate(weights),
            group[i],
            episode[i],
        )
    return rows, counts


def draws(rows: TerminalRows, members: int, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """How training draws rows: (members, rows) cumulative probabilities, and (rows,) weights.

    Half of the draws are terminals; the other half is shared by rows near a terminal and all other
    rows. With the weights, the mean over the draws is the sum over the part of the log. Each
    member's probabilities come from a bootstrap of the episodes.
    """
    mass = np.array([0.5, 0.25, 0.25])
    counts = np.bincount(rows.group, minlength=3)
    each = np.where(counts > 0, mass, 0.0) / np.maximum(counts, 1)
    chance = (each / (each * counts).sum())[rows.group]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    cumulative = np.cumsum(chance * _bootstraps(rows, members, rng), axis=1)
    weight = rows.weight / chance
    return cumulative / cumulative[:, -1:], weight


def _bootstraps(rows: TerminalRows, members: int, rng: np.random.Generator) -> np.ndarray:
    """(members, rows) how often each member has a row; terminated episodes are drawn apart."""
    count = np.zeros((members, rows.episode.max() + 1))
    ended = np.unique(rows.episode[rows.terminated > 0])
    for ids in (ended, np.setdiff1d(rows.episode, ended)):
        if len(ids):
            chance = np.full(len(ids), 1.0 / len(ids))
            count[:, ids] = rng.multinomial(len(ids), chance, size=members)
    return count[:, rows.episode]


def _check(episodes: int, unknown: int) -> None:
    advice = "give --termination module:function, or never"
    if episodes == 0 and unknown:
        raise InputError(
            f"--termination learned: none of the {unknown} terminated rows has a next_obs (D4RL v0 "
            f"and v1 store none); expected successors of terminals; use a log that has them, or "
            f"{advice}"
        )
    if episodes < MIN_EPISODES:
        raise InputError(
            f"--termination learned: the log has {episodes} terminated episodes with a known last "
            f"next_obs; expected at least {MIN_EPISODES}; use a larger log, or {advice}"
        )


def _near(terminated: np.ndarray, episode: np.ndarray) -> np.ndarray:
    """Rows at most NEAR steps before the terminal of their episode, and the terminal itself."""
    ends = np.flatnonzero(terminated)
    index = np.arange(len(terminated))
    ahead = np.searchsorted(ends, index)
    following = ends[np.minimum(ahead, len(ends) - 1)]
    same = (ahead < len(ends)) & (episode[following] == episode)
    return same & (following - index <= NEAR)


def _parts(with_terminal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(episodes,) the part of each episode, as an index into PARTS."""
    part = np.zeros(len(with_terminal), np.int8)
    for ids in (np.flatnonzero(with_terminal), np.flatnonzero(~with_terminal)):
        ids = rng.permutation(ids)
        size = int(np.ceil(SHARE * len(ids)))
        part[ids[:size]], part[ids[size : 2 * size]] = 1, 2
    return part
