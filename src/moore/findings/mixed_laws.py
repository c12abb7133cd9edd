"""Columns that have another sign, size, place or zero, or another interval, in some episodes.

The laws of the episodes (see `moore.findings.law_parts`) are compared with each other. Where they
fall into two kinds that are each alike, one change is sought that makes them one: of a column, of
the order of the rows, or of the number of steps in a row. Where only what is constant in them falls
into two kinds, the zero of one sensor is sought that explains it.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.law_parts import ColumnChange, LogPart, LogParts, sums_of
from moore.findings.row_fits import numbers, standard, successors
from moore.findings.two_parts import explained, moving, rows_in, usable_rows

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_EPISODES = 24  # episodes, drawn at random, or stretches of the log
_FEW = 8  # episodes say nothing
_FEW_OF_KIND = 3
_ROWS = 500  # of an episode, evenly spaced
_ROWS_TO_COLUMN = 3
_APART = 0.25  # the least score of episodes that follow another law
_INNER = 0.2  # of this score, among those that follow the same
_LEFT = 0.1  # of it, where the steps of either are that of the other, again and again
_TIMES = (2, 3, 4, 5, 6, 8, 10)
_TWO_LEVELS = 0.9  # of the variance of what is constant
_CLEAR = 8.0  # standard errors
_LEFT_OF_ZERO, _OTHER = 0.02, 0.1  # of it, by one column at most, and by any other at least
_UNLIKE = 2.0  # the score of parts that differ by more than what is constant
_SHIFT = 0.5  # standard deviations of a column
_ALIKE = 0.9  # correlation of foretold and true rewards
_LARGER = 1.4  # times; less may be the plant's own


@np.errstate(all="ignore")  # of values that are refused elsewhere
def mixed_laws(log: "Log | Dataset", ends: np.ndarray) -> str:
    """What is otherwise in some episodes than in the others, in words; empty if nothing is.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    rows, what = _episodes(log, ends)
    columns = rows_in(log, np.concatenate(rows)) if rows else None
    if columns is None:
        return ""
    dims, acts = moving(columns)
    known = len(dims) + len(acts)
    if not len(dims) or min(map(len, rows)) < max(_ROWS_TO_COLUMN * known, _ROWS // 25):
        return ""
    chosen = np.column_stack([columns[0][:, dims], columns[1][:, acts], columns[2][:, dims]])
    middle, firsts = chosen.mean(axis=0), np.cumsum([len(part) for part in rows])[:-1]
    parts = LogParts([sums_of(part) for part in np.split(chosen - middle, firsts)], known)
    others, apart = _two_kinds(parts)
    told = ""
    if apart:
        back = _backwards(log, np.concatenate(rows), dims, acts)
        pieces = np.split(back - back.mean(axis=0), firsts)
        told = _change(parts, LogParts([sums_of(one) for one in pieces], known), others, dims, acts)
    if not told:
        others, told = _two_zeros(parts, dims)
    if not told:
        return ""
    first = rows[int(others.argmax())][0]
    return f"in {others.sum()} of {len(rows)} {what} (one from about row {first:,} on), {told}"


def _episodes(log: "Log | Dataset", ends: np.ndarray) -> tuple[list[np.ndarray], str]:
    """Rows of some episodes, or of stretches of a log that has few, and what they are."""
    usable = usable_rows(log, ends)
    last = np.flatnonzero(np.append(ends[:-1], True))
    first = np.append(0, last[:-1] + 1)
    least = _ROWS_TO_COLUMN * (log.obs.shape[1] + log.action.shape[1] + 1)
    long = np.flatnonzero(last - first >= max(least, _ROWS // 25))
    what = "episodes"
    if len(long) < _FEW:
        cuts = np.linspace(0, len(ends), _EPISODES + 1).astype(int)
        first, last, what = cuts[:-1], cuts[1:] - 1, "stretches"
        long = np.arange(_EPISODES)
    # Not evenly spaced: every second episode may be of the same kind.
    drawn = np.sort(np.random.default_rng(0).permutation(long)[:_EPISODES])
    found = []
    for one in drawn:
        rows = first[one] + np.flatnonzero(usable[first[one] : last[one] + 1])
        found.append(rows[:: max(1, -(-len(rows) // _ROWS))])
    return [rows for rows in found if len(rows)], what


@np.errstate(all="ignore")
def mixed_rewards(log: "Log | Dataset", ends: np.ndarray) -> str:
    """In which episodes rewards have another sign or size, in words; empty if they have not.

    They are foretold from observation, action and successor, with squares.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    rows, what = _episodes(log, ends)
    columns = rows_in(log, np.concatenate(rows)) if rows else None
    reward = np.asarray(log.reward)
    if columns is None or reward.size != len(ends):
        return ""
    values = numbers(reward.reshape(-1), np.concatenate(rows))
    seen = standard(np.column_stack(columns))
    seen = np.column_stack([seen, seen**2])
    few = min(map(len, rows)) < _ROWS_TO_COLUMN * seen.shape[1]
    if few or not seen.shape[1] or not np.isfinite(values).all() or not values.std() > 0:
        return ""
    chosen = np.column_stack([seen - seen.mean(axis=0), (values - values.mean()) / values.std()])
    firsts = np.cumsum([len(part) for part in rows])[:-1]
    parts = LogParts([sums_of(part) for part in np.split(chosen, firsts)], seen.shape[1])
    others, apart = _two_kinds(parts)
    if not apart or not (told := _other_rewards(parts, others)):
        return ""
    first = rows[int(others.argmax())][0]
    return (
        f"in {others.sum()} of {len(rows)} {what} (one from about row {first:,} on), rewards are "
        f"{told}"
    )


def _other_rewards(parts: LogParts, others: np.ndarray) -> str:
    """The sign or size of the rewards of the others that makes their law that of the rest."""
    law, other, known = parts.joined(~others).law, parts.joined(others), parts.known
    both = float(other.moments[:known, known] @ law[:, 0])
    foretold = float(law[:, 0] @ other.moments[:known, :known] @ law[:, 0])
    true = float(other.moments[known, known])
    if not both**2 > _ALIKE**2 * foretold * true:
        return ""
    scale = np.ones(known + 1)
    scale[known] = both / true
    turn = ColumnChange("", scale, np.arange(known + 1))
    before, inner = parts.excess(others, law), parts.excess(~others, law)
    if parts.excess_turned(others, law, turn) - inner > _LEFT * (before - inner):
        return ""
    told, times = ["of the other sign"] if both < 0 else [], abs(true / both)
    if not 1 / _LARGER < times < _LARGER:
        told.append(f"about {times:.2g} times as large")
    return " and ".join(told)


def _two_kinds(parts: LogParts) -> tuple[np.ndarray, bool]:
    """The parts (parts,) bool that follow another law than the rest, and whether they clearly do.

    The two laws are those of the two parts that are nearest to all others.
    """
    apart = parts.apart()
    one, other = np.triu_indices(len(apart), 1)
    best = int(np.minimum(apart[:, one], apart[:, other]).sum(axis=0).argmin())
    others = _fewer(apart[:, one[best]] > apart[:, other[best]])
    if others.sum() < _FEW_OF_KIND:
        return others, False
    return others, follow_another(parts, others)


def follow_another(parts: LogParts, others: np.ndarray) -> bool:
    """Whether these parts (parts,) bool clearly follow another law than the rest, which is one."""
    law = parts.joined(~others).law
    before, inner = parts.excess(others, law), parts.excess(~others, law)
    return before >= _APART and inner <= _INNER * before


def _change(
    parts: LogParts, back: LogParts, others: np.ndarray, dims: np.ndarray, acts: np.ndarray
) -> str:
    """Which change makes the law of the others that of the rest, in words; empty if none does."""
    told = explained(parts, ~others, others, dims, acts)
    if parts.elsewhere(~others, others).any():
        return told
    if _run_back(parts, back, others):
        # Of a motion without friction, speeds of the other sign look the same.
        told += f"{', or ' if told else ''}rows run backwards in time, against those of the rest"
    if not told and (times := longer_steps(parts, ~others, others, len(dims))):
        told = f"a step is as long as {times} of the others, as if rows were logged less often"
    if not told and (times := longer_steps(parts, others, ~others, len(dims))):
        told = f"{times} steps are as long as one of the others, as if rows were logged more often"
    return told


def _backwards(
    log: "Log | Dataset", rows: np.ndarray, dims: np.ndarray, acts: np.ndarray
) -> np.ndarray:
    """(m, obs + action + obs) the columns of the same steps, as if the later row came first."""
    obs, after = numbers(log.obs, rows)[:, dims], successors(log, rows)[:, dims]
    action = numbers(log.action, np.minimum(rows + 1, len(log.action) - 1))[:, acts]
    return np.column_stack([after, action, obs - after])


def _run_back(parts: LogParts, back: LogParts, others: np.ndarray) -> bool:
    """Whether the others follow the law of the rest once they are read backwards."""
    law = parts.joined(~others).law
    before, inner = parts.excess(others, law), parts.excess(~others, law)
    return back.excess(others, law) - inner <= _LEFT * (before - inner)


def longer_steps(parts: LogParts, ones: np.ndarray, others: np.ndarray, dims: int) -> int:
    """How many steps of the ones, with the action held, make a step of the others; 0: none do."""
    law = parts.joined(ones).law
    before, inner = parts.excess(others, law), parts.excess(ones, law)
    moves, pushes = law[:dims].T + np.eye(dims), law[dims:].T
    left = {}
    for times in _TIMES:
        powers = [np.linalg.matrix_power(moves, step) for step in range(times + 1)]
        held = np.vstack([powers[-1].T - np.eye(dims), (sum(powers[:-1]) @ pushes).T])
        left[times] = parts.excess(others, held) if np.isfinite(held).all() else np.inf
    best = min(left, key=lambda times: left[times])
    return best if left[best] - inner <= _LEFT * (before - inner) else 0


def _two_zeros(parts: LogParts, dims: np.ndarray) -> tuple[np.ndarray, str]:
    """The parts (parts,) bool in which a sensor has another zero, and which one, and by how much.

    A zero that moves acts on the changes of several entries as this sensor's entry does. A load
    that acts as an action does, or on a single entry, is no reason for a word.
    """
    law = _common(parts)
    if parts.excess(parts.counts > 0, law) > _UNLIKE:  # more than constants differs
        return np.zeros(len(parts.counts), bool), ""
    noise = np.sqrt(np.mean([part.least for part in parts.parts], axis=0))
    level = (parts.means[:, parts.known :] - parts.means[:, : parts.known] @ law) / noise
    law = law / noise
    others, step = _two_levels(level, parts.counts[:, None])
    if step is None:
        return others, ""
    shift = -(law @ step) / np.maximum((law**2).sum(axis=1), 1e-300)
    left = ((step + shift[:, None] * law) ** 2).sum(axis=1) / (step**2).sum()
    best = int(left[: len(dims)].argmin())
    spread = np.sqrt(np.mean([part.moments[best, best] for part in parts.parts]))
    surely = left[best] <= _LEFT_OF_ZERO and np.delete(left, best).min(initial=1.0) >= _OTHER
    if not surely or abs(shift[best]) < _SHIFT * spread:
        return others, ""
    return others, (
        f"observation {dims[best]} seems to read {shift[best]:+.3g} more, or something unseen acts "
        "on all entries as that would"
    )


def _two_levels(level: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The fewer of the parts that lie on one of two levels, and what these differ by (obs,).

    Args:
        level: (parts, obs) what is constant in the changes, in deviations of their noise.
        weight: (parts, 1) numbers of rows.

    Returns:
        None for the difference unless there are two levels, which are clear in two entries.
    """
    others = np.zeros(len(level), bool)
    about = level - (weight * level).sum(axis=0) / weight.sum()
    if level.shape[1] < 2 or not np.isfinite(about).all():
        return others, None
    score = about @ np.linalg.svd(np.sqrt(weight) * about, full_matrices=False)[2][0]
    order = np.argsort(score)
    others[order[: int(np.diff(score[order]).argmax()) + 1]] = True
    others = _fewer(others)
    if others.sum() < _FEW_OF_KIND:
        return others, None
    rows = [weight[one].sum() for one in (~others, others)]
    means = [(weight * about)[one].sum(axis=0) / weight[one].sum() for one in (~others, others)]
    within = about - np.where(others[:, None], means[1], means[0])
    share = (weight * within**2).sum() / (weight * about**2).sum()
    step, error = means[1] - means[0], np.sqrt(1 / rows[0] + 1 / rows[1])
    clear = (np.abs(step) > _CLEAR * error).sum() >= 2
    return others, step if clear and share <= 1 - _TWO_LEVELS else None


def _fewer(one: np.ndarray) -> np.ndarray:
    """One of two kinds (parts,) bool, or the other one: the rarer, or, of two halves, the later."""
    rare = 2 * one.sum() < len(one) or (2 * one.sum() == len(one) and not one[0])
    return one if rare else ~one


def _common(parts: LogParts) -> np.ndarray:
    """(known, obs): the law of all parts, each about its own means."""
    weight = parts.counts / parts.counts.sum()
    moments = sum(w * part.moments for w, part in zip(weight, parts.parts, strict=True))
    return LogPart(np.asarray(moments), parts.known).law
