"""What is stored at the ends of episodes: true next states, padding, or another episode's start.

All counts here are counts of ends. A share of all rows would say nothing, because ends are few.
"""

import numpy as np

from moore.data.checks import as_float32
from moore.data.log import stored_successors
from moore.findings.resets import SystemSteps, resets_itself
from moore.findings.steps import SAMPLE, AnyLog, UsualSteps, changes, usual_steps
from moore.findings.terminal_states import terminals_like_others

_MANY = 0.1  # of the ends of one kind: fewer equal ones are chance
_MOST = 0.5
_AT_LEAST = 2
_FEW_TERMINALS = 5


def summarize_ends(log: AnyLog, terminated: np.ndarray, ends: np.ndarray) -> dict:
    """Counts of impossible next states at ends of episodes, and of terminals that are time-outs.

    `padded_successors` are ends whose next_obs is not the next state; `padded_as` says what it is,
    and `padded_surely` whether that is certain, or only that no step leads so far. `far_resets` are
    ends with the first obs of the next episode, if that is far from the usual change of a step (it
    is not in a system that goes on without a reset). `alike_resets` says whether they lie where
    other episodes begin, though they are not the next one's first obs. `timed_terminals` are
    terminal rows at the longest length, `timed_length`, if many episodes share it; the count is 0
    if states or rewards distinguish these rows from others. `terminals_alike` says whether that is
    so of terminal rows at any length, where nearly all ends are terminal.

    Args:
        log: the rows.
        terminated: (n,) bool.
        ends: (n,) bool, last rows of the episodes.
    """
    found = {"padded_successors": 0, "padded_as": "", "padded_surely": False}
    found |= {"far_resets": 0, "alike_resets": False, "known_ends": 0}
    found |= {"first_rows": {"padded_successors": None, "far_resets": None}}
    if log.next_obs is not None:
        known = ends.copy()
        if log.successor_known is not None:
            known &= log.successor_known.astype(bool, copy=False)
        usual = usual_steps(log, ends)
        padded, said = _padded(log, ends, known & terminated, known & ~terminated, usual)
        far = _far_resets(log, np.flatnonzero(known), usual)
        surely = len(padded) > 0
        if not surely:
            padded, said = _far_cuts(log, np.flatnonzero(known & ~terminated), usual, without=far)
        found |= {"known_ends": int(known.sum()), "far_resets": len(far)}
        found |= {"padded_successors": len(padded), "padded_as": said, "padded_surely": surely}
        if not surely and len(far) <= _MANY * known.sum():
            steps = SystemSteps(log.obs, log.action, log.next_obs)
            found["alike_resets"] = resets_itself(steps, known & terminated, known & ~terminated)
        firsts = {"padded_successors": padded, "far_resets": far}
        found["first_rows"] = {k: int(rows.min()) if len(rows) else None for k, rows in
                               firsts.items()}  # fmt: skip
    padded_ends = bool(found["padded_successors"])
    found |= _timed_terminals(log, terminated, ends, padded=padded_ends)
    alike = not found["timed_terminals"] and terminals_like_others(
        log, terminated, ends, padded=padded_ends
    )
    return found | {"terminals_alike": alike}


def _padded(
    log: AnyLog, ends: np.ndarray, terminal: np.ndarray, cut: np.ndarray, usual: UsualSteps
) -> tuple[np.ndarray, str]:
    """The terminal and the cut ends whose next_obs is padding, and what the padding is."""
    rows, said = [np.zeros(0, int)], []
    first = _first_rows(ends)
    for group in (np.flatnonzero(terminal), np.flatnonzero(cut)):
        for find in (_constant, _own, _before, _own_first):
            found, what = find(log, group, usual, first)
            if len(found):
                rows.append(found)
                said.append(what)
                break
    return np.concatenate(rows), " or ".join(dict.fromkeys(said))


def _constant(log: AnyLog, group: np.ndarray, usual: UsualSteps, first: np.ndarray):
    """Rows that share one next_obs, which is a far step from most of them and occurs nowhere else.

    A goal may also be a single state, but it is reached by a usual step.
    """
    next_obs = stored_successors(log)
    after = as_float32(next_obs[group[:: max(1, len(group) // SAMPLE)]])
    if len(after) < 1 or not usual.known:
        return group[:0], ""
    vectors, counts = np.unique(after, axis=0, return_counts=True)
    vector = vectors[counts.argmax()]
    same = group[(as_float32(next_obs[group]) == vector).all(axis=1)]
    one_value = len(vector) > 1 and np.all(vector == vector[0])
    if len(same) < (1 if one_value and len(group) == 1 else max(_AT_LEAST, _MANY * len(group))):
        return group[:0], ""
    inside = (as_float32(next_obs[usual.rows]) == vector).all(axis=1).mean()
    if inside > 0.01 or usual.far(changes(log, same)).mean() < _MOST:
        return group[:0], ""
    if not vector.any():
        return same, "zeros"
    if one_value:
        return same, f"the value {vector[0]:g}"
    return same, "one and the same vector"


def _own(log: AnyLog, group: np.ndarray, usual: UsualSteps, first: np.ndarray):
    """Rows whose next_obs is their obs, far more often than inside episodes."""
    if not usual.known:
        return group[:0], ""
    same = group[(changes(log, group) == 0).all(axis=1)]
    inside = float((usual.change == 0).all(axis=1).mean())
    return _if_many(same, group, inside), "the row's own obs"


def _before(log: AnyLog, group: np.ndarray, usual: UsualSteps, first: np.ndarray):
    """Rows whose next_obs is the obs of the row before them in their episode."""
    next_obs, inside = stored_successors(log), usual.rows[usual.rows > first[usual.rows]]
    group = group[group > first[group]]
    if not usual.known or len(inside) == 0:
        return group[:0], ""

    def is_before(rows: np.ndarray) -> np.ndarray:
        return (as_float32(next_obs[rows]) == as_float32(log.obs[rows - 1])).all(axis=1)

    share = float(is_before(inside).mean())
    return _if_many(group[is_before(group)], group, share), "the obs of the row before"


def _own_first(log: AnyLog, group: np.ndarray, usual: UsualSteps, first: np.ndarray):
    """Rows whose next_obs is the first obs of their own episode, and a far step away."""
    group = group[group > first[group]]
    start = as_float32(log.obs[first[group]])
    same = group[(as_float32(stored_successors(log)[group]) == start).all(axis=1)]
    if len(same) and usual.far(changes(log, same)).mean() < _MOST:
        same = same[:0]
    return _if_many(same, group, 0.0), "the first obs of their own episode"


def _if_many(same: np.ndarray, group: np.ndarray, inside: float) -> np.ndarray:
    """The rows, if they are too many of their group for chance, given the share among others."""
    many = len(same) >= max(_AT_LEAST, (_MANY + 3 * inside) * len(group))
    return same if many else same[:0]


def _far_resets(log: AnyLog, ends: np.ndarray, usual: UsualSteps) -> np.ndarray:
    """Ends with the next episode's first obs (up to rounding), if that is no usual step away."""
    ends = ends[ends < log.size - 1]
    ends = ends[usual.far(changes(log, ends))]
    with np.errstate(invalid="ignore", over="ignore"):
        after = stored_successors(log)[ends].astype(np.float64)
        off = after - log.obs[ends + 1].astype(np.float64)
    return ends[usual.near(off)]


def _far_cuts(
    log: AnyLog, cut: np.ndarray, usual: UsualSteps, *, without: np.ndarray
) -> tuple[np.ndarray, str]:
    """Time-outs with a next_obs that no step leads to, which may be padding of any kind.

    In a system that goes on without a reset they may also be the next episode's set-points.
    """
    if not usual.known or len(without):
        return cut[:0], ""
    inside = float(usual.far(usual.change).mean())
    far = _if_many(cut[usual.far(changes(log, cut))], cut, inside)
    return far, "something far beyond the usual steps"


def _timed_terminals(
    log: AnyLog, terminated: np.ndarray, ends: np.ndarray, *, padded: bool
) -> dict:
    last = np.flatnonzero(ends)
    lengths = np.diff(last, prepend=-1)
    longest = int(lengths.max(initial=0))
    at_limit = last[(lengths == longest) & terminated[last]]
    terminals = int(terminated.sum())
    few = len(at_limit) < max(_FEW_TERMINALS, _MANY * terminals)
    if few or longest < 2 or _tell_ends(log, at_limit, terminated, padded=padded):
        return {"timed_terminals": 0, "timed_share": 0.0, "timed_length": None}
    share = len(at_limit) / terminals
    return {"timed_terminals": len(at_limit), "timed_share": share, "timed_length": longest}


def _tell_ends(log: AnyLog, rows: np.ndarray, terminated: np.ndarray, *, padded: bool) -> bool:
    """Whether an observation entry or the reward distinguishes these rows from those that go on.

    It does if nine tenths of these rows lie beyond nearly all others, or in a range that few of the
    others reach.
    """
    if padded or log.next_obs is None:
        states = log.obs
    else:
        states = log.next_obs
    others = np.flatnonzero(~terminated)
    others = others[:: max(1, len(others) // SAMPLE)]
    if len(others) == 0:
        return True
    for column in (*states.T, log.reward):
        with np.errstate(invalid="ignore"):  # NaN that signals
            here, there = (column[part].astype(np.float64) for part in (rows, others))
        here, there = here[np.isfinite(here)], there[np.isfinite(there)]
        if not len(here) or not len(there):
            continue
        low, high = np.quantile(there, (0.001, 0.999))
        beyond = max(np.mean(here > high), np.mean(here < low))
        a, b = np.quantile(here, (0.05, 0.95))
        if beyond >= 0.9 or np.mean((there >= a) & (there <= b)) < 0.1:
            return True
    return False


def _first_rows(ends: np.ndarray) -> np.ndarray:
    """(n,) the first row of the episode that each row belongs to."""
    starts = np.concatenate([[0], np.flatnonzero(ends[:-1]) + 1])
    lengths = np.diff(np.concatenate([starts, [len(ends)]]))
    return np.repeat(starts, lengths)
