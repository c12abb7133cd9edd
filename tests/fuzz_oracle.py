"""What the rows of a log mean, one by one: slow rules of their own for the fast readers.

Nothing is shared with `moore.data`, but for the limit of 1000 steps and the way in which a seed
draws episodes, which are promises.
"""

import math
import re
from dataclasses import dataclass, field

import numpy as np

LIMIT = 1000  # where the environment's is not known
REFERENCES = {
    "HalfCheetah": (-280.178953, 12135.0), "Hopper": (-20.272305, 3234.3),
    "Walker2d": (1.629008, 4592.3),
}  # fmt: skip


class Wrong(Exception):
    """The file cannot be right, or cannot be read: an InputError is due."""


@dataclass
class Rows:
    """A log before its derivation, each entry a list with one item a row."""

    obs: list
    action: list
    reward: list  # numbers as stored
    terminated: list
    truncated: list | None
    next_obs: list | None = None
    known: list | None = None
    stated: tuple | None = None  # returns and lengths of the complete episodes, as stored
    limit: int = LIMIT  # steps, where there are no time-outs


@dataclass
class Expected:
    """Transitions, the statistics of the complete episodes, and what the file is of."""

    rows: list = field(default_factory=list)  # (obs, action, reward, next_obs, known, term, trunc)
    returns: list = field(default_factory=list)
    lengths: list = field(default_factory=list)
    scale: list = field(default_factory=list)  # of the rounding of each return
    env_id: object = None
    reference: tuple | None = None
    sha256: str | None = None
    doubt: str = ""  # why an InputError would do as well


# --- numbers ---


def _number(x):
    with np.errstate(all="ignore"):
        return np.float32(x)


def flag(x):
    if isinstance(x, float | np.floating) and not math.isfinite(x):
        raise Wrong("a flag is not a number")
    return bool(x != 0)


def flags(values):
    if len({x for x in values if x != 0}) > 2:
        raise Wrong("flags have three values")
    return [flag(x) for x in values]


def matrix(x, what):
    if x.ndim != 2 or 0 in x.shape:
        raise Wrong(f"{what} has shape {x.shape}")
    return [tuple(row) for row in x]


def vector(x, what):
    if x.ndim == 2 and 1 in x.shape:
        x = x.reshape(-1)
    if x.ndim != 1 or len(x) == 0:
        raise Wrong(f"{what} has shape {x.shape}")
    return list(x.view(np.uint8) if x.dtype == bool else x)


def numeric(x, what):
    if not isinstance(x, np.ndarray | np.generic) or x.dtype.kind not in "biuf":
        raise Wrong(f"{what} is no array of numbers")
    return np.asarray(x)


def _upright(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Matrices with a row for each entry of the vectors: MATLAB writes them lying."""
    matrices = {k: x for k, x in arrays.items() if k in ("obs", "action", "next_obs")}
    vectors = {k: x for k, x in arrays.items() if k not in matrices}
    if any(x.ndim not in (1, 2) for x in arrays.values()):
        return arrays
    counts = {x.size for x in vectors.values() if x.ndim == 1 or 1 in x.shape}
    if len(counts) != 1 or counts <= {0, 1}:
        # Then a vector that lies is no vector.
        return {k: x[None] if k in vectors and x.ndim == 2 and x.shape[0] == 1 != x.shape[1] else x
                for k, x in arrays.items()}  # fmt: skip
    rows = counts.pop()
    lying = [k for k, x in matrices.items() if x.ndim == 2 and x.shape[1] == rows != x.shape[0]]
    return arrays | {k: matrices[k].T for k in lying}


def parse(arrays: dict[str, np.ndarray]) -> Rows:
    parsed = {}
    for key, value in _upright({k: numeric(x, k) for k, x in arrays.items()}).items():
        read = matrix if key in ("obs", "action", "next_obs") else vector
        parsed[key] = read(numeric(value, key), key)
    counts = {len(rows) for rows in parsed.values()}
    if len(counts) > 1:
        raise Wrong(f"rows differ: {counts}")
    for key in ("terminated", "truncated"):
        if key in parsed:
            parsed[key] = flags(parsed[key])
    if "next_obs" in parsed and len(parsed["next_obs"][0]) != len(parsed["obs"][0]):
        raise Wrong("next_obs and obs differ")
    return Rows(**({"truncated": None} | parsed))


# --- D4RL's rules ---


def _breaks(rows: Rows) -> list | None:
    """Without time-outs: where a stored successor is not the next row; None: that says nothing."""
    if rows.truncated is not None or rows.next_obs is None:
        return None
    count, apart = len(rows.obs), []
    for i in range(count - 1):
        same = tuple(map(_number, rows.next_obs[i])) == tuple(map(_number, rows.obs[i + 1]))
        known = rows.known is None or bool(rows.known[i])
        apart.append(not same and known and not rows.terminated[i])
    if not 0 < sum(apart) <= 0.2 * count:
        return None
    ends = [i for i in range(count - 1) if apart[i] or rows.terminated[i]]
    ends += [count - 1] * rows.terminated[-1]
    longest = max(b - a for a, b in zip([-1, *ends], ends, strict=False))
    last = not rows.terminated[-1] and count - 1 - ends[-1] == longest
    return [*apart, last]


def _cuts(rows: Rows, *, by_steps: bool = False) -> list:
    """Time-outs: those logged where the row is not terminal, or what stands for them."""
    cuts, steps = [], 0
    if not by_steps and (breaks := _breaks(rows)) is not None:
        return breaks
    for i, terminated in enumerate(rows.terminated):
        steps += 1
        over = steps == rows.limit if rows.truncated is None else rows.truncated[i]
        cuts.append(over and not terminated)
        if terminated or (rows.truncated is None and over):
            steps = 0
    return cuts


def _episodes(rows: Rows, *, by_steps: bool = False) -> list:
    """(first, stop) of the complete ones."""
    found, first, cuts = [], 0, _cuts(rows, by_steps=by_steps)
    for i, (terminated, cut) in enumerate(zip(rows.terminated, cuts, strict=True)):
        if terminated or cut:
            found.append((first, i + 1))
            first = i + 1
    return found


def drawn(lengths: list, rows: int, load: dict) -> list | None:
    """The numbers of the episodes that a budget takes; None: all rows."""
    limit = rows
    if "max_rows" in load:
        limit = load["max_rows"]
    if "fraction" in load:
        limit = math.floor(load["fraction"] * rows)
    if limit >= rows:
        return None
    if not lengths or min(lengths) > limit:
        raise Wrong("no episode fits")
    chosen, used = [], 0
    for episode in np.random.default_rng(load["seed"]).permutation(len(lengths)):
        if not chosen and lengths[episode] > limit:
            continue
        if used + lengths[episode] > limit:
            break
        chosen.append(int(episode))
        used += lengths[episode]
    return sorted(chosen)


def _part(rows: Rows, load: dict) -> Rows:
    episodes = _episodes(rows, by_steps=True)
    chosen = drawn([stop - first for first, stop in episodes], len(rows.obs), load)
    if chosen is None:
        return rows
    kept = [i for episode in chosen for i in range(*episodes[episode])]
    values = {}
    for key in ("obs", "action", "reward", "terminated", "truncated", "next_obs", "known"):
        column = getattr(rows, key)
        values[key] = None if column is None else [column[i] for i in kept]
    stated = part_of_stated(rows.stated, chosen, len(episodes))
    return Rows(**values, stated=stated, limit=rows.limit)


def part_of_stated(stated, chosen: list, complete: int):
    """What the source states of the chosen episodes; nothing where it is not of every one."""
    if stated is None or any(value.shape != (complete,) for value in stated):
        return None
    return tuple(value[chosen] for value in stated)


def _transitions(rows: Rows) -> list:
    cuts, count, found = _cuts(rows), len(rows.obs), []
    for i in range(count):
        ends, cut, known = rows.terminated[i] or cuts[i], cuts[i], True
        if rows.next_obs is None:
            known = not ends and i + 1 < count
            if not known and not rows.terminated[i]:
                continue  # no successor, and its value would be needed
            following = rows.obs[i + 1] if known else rows.obs[i]
            if known and not rows.terminated[i + 1]:
                cut = cuts[i + 1] or i + 2 == count  # the next row is not kept
        else:
            known = rows.known is None or rows.known[i]
            following = rows.next_obs[i] if known else rows.obs[i]
            if not known and not rows.terminated[i]:
                raise Wrong("a successor is unknown")
        numbers = (rows.obs[i], rows.action[i], (rows.reward[i],), following)
        obs, action, reward, after = (tuple(map(_number, values)) for values in numbers)
        if not all(math.isfinite(x) for x in obs + action + reward + after):
            raise Wrong(f"row {i} is not finite")
        found.append((obs, action, reward[0], after, known, rows.terminated[i], cut))
    if not found:
        raise Wrong("no row is left")
    return found


def _statistics(rows: Rows, expected: Expected) -> None:
    for first, stop in _episodes(rows):
        rewards = [float(x) for x in rows.reward[first:stop]]
        try:
            total, scale = math.fsum(rewards), math.fsum(map(abs, rewards))
        except (OverflowError, ValueError):
            raise Wrong("a return is not finite") from None
        expected.returns.append(total)
        expected.lengths.append(stop - first)
        expected.scale.append(scale)
    if rows.stated is not None:
        own, lengths = expected.returns, expected.lengths
        expected.returns, expected.lengths = _stated(*rows.stated)
        size = 1e-3 * max([1e-6, *map(abs, own)])
        pairs = zip(own, expected.returns, strict=False)
        if lengths == expected.lengths and any(abs(a - b) > size for a, b in pairs):
            raise Wrong("returns are not those of the rewards")
        expected.scale = [0.0] * len(expected.returns)
    if not expected.returns or not all(map(math.isfinite, expected.returns)):
        raise Wrong("no complete episode, or a return is not finite")


def expect(rows: Rows, load: dict) -> Expected:
    rows = _part(rows, load)
    if rows.known is not None:
        rows.known = flags(rows.known)
    expected = Expected(rows=_transitions(rows))
    _statistics(rows, expected)
    return expected


def _stated(returns, lengths) -> tuple:
    """Statistics that the source states; they must be numbers of as many episodes."""
    returns, lengths = numeric(returns, "returns"), numeric(lengths, "lengths")
    if returns.ndim != 1 or returns.shape != lengths.shape:
        raise Wrong("statistics have different shapes")
    if not all(math.isfinite(x) and x == int(x) and x >= 1 for x in lengths):
        raise Wrong("a length is no whole number")
    return [float(x) for x in returns], [int(x) for x in lengths]


def name_of(env_id):
    """None, or text that can be printed."""
    if isinstance(env_id, str) and not env_id.isprintable():
        raise Wrong("env_id cannot be printed")
    return env_id if isinstance(env_id, str) else None


def reference(low, high, env_id):
    if low is None or high is None:
        match = re.fullmatch(r"(HalfCheetah|Hopper|Walker2d)-v\d+", env_id or "")
        return REFERENCES[match[1]] if match else None
    if not (math.isfinite(low) and math.isfinite(high) and low != high):
        raise Wrong("reference scores define no score")
    return float(low), float(high)
