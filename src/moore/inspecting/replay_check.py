"""Does a log belong to an environment? Its states are put back and its actions repeated.

Each row is replayed by itself, so errors do not add up over time. They would in the replay of a
whole episode, which never agrees between two builds of MuJoCo (google-deepmind/mujoco#1700).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np

from moore.data.dataset import Dataset
from moore.data.known_files import closest_env
from moore.data.log import Log
from moore.envs.make import make_env
from moore.envs.simulator import quiet_mujoco
from moore.errors import InputError
from moore.inspecting.replay_errors import (
    Scales,
    StepResults,
    compare,
    error_text,
    fits_all,
    line_text,
    misfits,
    quality,
    scales,
)
from moore.inspecting.states import set_joints, way_back
from moore.inspecting.summary import as_log

OFFSETS = (-1, 0, 1)  # rows from an observation to its stored state; see Farama-Foundation/D4RL#172
_PROBES = 200  # rows that the offset is found on, and that other explanations are tried on

Place = Callable[[gym.Env, int], None]  # sets the bare environment to the state of a row


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class _Sample:
    """The rows of the log that are replayed."""

    rows: np.ndarray  # (m,) ascending within each part: uniform ones, then more terminal ones
    extra: np.ndarray  # (m,) bool: of the second part
    known: np.ndarray  # (m,) bool: whose next observation is true
    logged: StepResults
    scale: Scales

    def take(self, keep: np.ndarray) -> "_Sample":
        logged = StepResults(**{key: value[keep] for key, value in vars(self.logged).items()})
        parts = {key: getattr(self, key)[keep] for key in ("rows", "extra", "known")}
        return replace(self, **parts, logged=logged)


def replay_check(
    log: Log | Dataset, *, env_id: str | None = None, rows: int = 1000, seed: int = 0
) -> dict:
    """Error distributions of single steps from logged states, and a verdict; JSON-able.

    States come from `infos` qpos and qvel if the log has them (one row earlier or later, if that
    fits better), else from the observations. Errors are given as shares of a typical change, which
    is the standard deviation of one-step changes in each dimension (a row's error is that of its
    worst dimension), and of the reward. "Fits" means within 1e-3 in 99% of the rows; Ant's reward
    is only close, since it uses a position that lags the joints. If the log does not fit, other
    versions of the environment, actions shifted by a row and actions scaled to [-1, 1] are tried as
    explanations.

    Args:
        log: raw rows, read with `infos` if there are any, or a data set.
        env_id: id of the environment; None for the one that the log names.
        rows: number of rows to draw, without replacement; terminal rows are drawn in addition.
        seed: seed of the draw.

    Raises:
        InputError: no environment is named, its states cannot be set, or no row can be replayed.
    """
    log = as_log(log)
    env_id = _checked_id(log, env_id, rows)
    ends = log.terminated.astype(bool)
    if log.truncated is not None:
        ends = ends | log.truncated.astype(bool)
    with quiet_mujoco():
        env = _bare(env_id, log)
        offset, offset_errors = _find_offset(log, env, ends, seed)
        place = _from_infos(log, offset) if offset is not None else _from_obs(log, env_id)
        sample, drawn = _draw(log, ends, env_id, rows=rows, seed=seed, offset=offset)
        found = _measure(env, place, sample, log.action[sample.rows])
        others = [] if fits_all(found) else list(_explanations(log, env_id, place, sample, ends))
    source = "observation" if offset is None else "infos qpos and qvel"
    return {
        "env_id": env_id,
        "rows": int((~sample.extra).sum()),
        "seed": seed,
        "skipped": drawn,
        "state_from": source,
        "infos_offset": offset,
        "infos_offset_errors": offset_errors,
        **found,
        "fits_all": fits_all(found),
        "explanations": [{"name": name, **other} for name, other in others],
        "verdict": _verdict(env_id, found, others, offset),
    }


def _checked_id(log: Log, env_id: str | None, rows: int) -> str:
    if rows < 1:
        raise InputError(f"rows is {rows}; expected at least 1 row to replay")
    named = env_id or log.env_id
    if named is None:
        raise InputError(
            f"{log.name}: the log names no environment to replay it in; give one with --env-id"
        )
    return env_id or closest_env(named)


def _bare(env_id: str, log: Log) -> gym.Env:
    """The environment without wrappers: no time limit, actions in its own units."""
    wrapped = make_env(env_id)
    given = (log.obs.shape[1], log.action.shape[1])
    expected = (wrapped.obs_dim, wrapped.bounds.low.size)
    if given != expected:
        raise InputError(
            f"{log.name}: rows have {given[0]} observation and {given[1]} action dimensions, those "
            f"of {env_id} {expected[0]} and {expected[1]}; give the environment that was recorded"
        )
    env = wrapped.unwrapped
    env.reset(seed=0)
    return env


def _from_obs(log: Log, env_id: str) -> Place:
    put = way_back(env_id).put
    return lambda env, row: put(env, log.obs[row].astype(np.float64))


def _from_infos(log: Log, offset: int) -> Place:
    qpos, qvel = log.infos["qpos"], log.infos["qvel"]
    return lambda env, row: set_joints(env, qpos[row + offset], qvel[row + offset])


def _find_offset(
    log: Log, env: gym.Env, ends: np.ndarray, seed: int
) -> tuple[int | None, dict[str, float]]:
    """The offset in rows at which the stored states match the logged observations.

    It is None if there are no states, or if no offset matches. The second result has the error of
    each offset: the median over rows of the mean over dimensions, in standard deviations, at most
    1. It need not be 0, since some observations lag the joints.
    """
    qpos, qvel = (log.infos.get(key) for key in ("qpos", "qvel"))
    if qpos is None or qvel is None or not hasattr(env, "set_state"):
        return None, {}
    assert hasattr(env, "model") and hasattr(env, "_get_obs")  # as all environments of MuJoCo
    if (qpos.shape[1:], qvel.shape[1:]) != ((env.model.nq,), (env.model.nv,)):
        return None, {}
    inner = np.flatnonzero(~ends[:-2] & ~ends[1:-1]) + 1  # the neighbours are of the same episode
    if len(inner) == 0:
        return None, {}
    probes = np.random.default_rng(seed).choice(inner, min(_PROBES, len(inner)), replace=False)
    logged = log.obs[probes].astype(np.float64)
    scale = np.maximum(logged.std(axis=0), 1e-3 * np.abs(logged).max(axis=0)) + 1e-9
    errors = {}
    for offset in OFFSETS:
        place, shown = _from_infos(log, offset), []
        for row in probes:
            place(env, row)
            shown.append(env._get_obs())
        off = np.nan_to_num(np.abs(np.array(shown) - logged) / scale, nan=1.0)
        errors[offset] = float(np.median(np.minimum(off, 1.0).mean(axis=1)))
    best, second = sorted(errors, key=errors.__getitem__)[:2]
    told = {str(offset): error for offset, error in errors.items()}
    return (best if errors[best] < 0.3 * errors[second] else None), told


def _draw(
    log: Log, ends: np.ndarray, env_id: str, *, rows: int, seed: int, offset: int | None
) -> tuple[_Sample, dict[str, int]]:
    """The rows to replay, and for each reason the number of rows that were left out."""
    rng = np.random.default_rng(seed)
    looked_at = np.sort(rng.choice(log.size, min(log.size, 4 * rows), replace=False))
    terminal = np.flatnonzero(log.terminated.astype(bool))
    most = max(20, rows // 10)
    more = np.sort(rng.choice(terminal, min(len(terminal), most), replace=False))
    good, reasons = _usable(log, looked_at, ends, env_id, offset)
    uniform = looked_at[good]
    uniform = np.sort(rng.choice(uniform, min(rows, len(uniform)), replace=False))
    more = np.setdiff1d(more[_usable(log, more, ends, env_id, offset)[0]], uniform)
    why = ", ".join(f"{key.replace('_', ' ')}: {n}" for key, n in reasons.items())
    if len(uniform) == 0 or not _known(log, uniform, ends).any():
        raise InputError(
            f"{log.name}: none of {len(looked_at)} rows looked at can be replayed ({why}); "
            "expected finite rows with a known state and successor; repair the log first"
        )
    chosen = np.concatenate([uniform, more])
    known = _known(log, chosen, ends)
    after = _after(log, chosen)
    logged = StepResults(
        after, log.reward[chosen].astype(float), log.terminated[chosen].astype(bool)
    )
    inside = known & (np.arange(len(chosen)) < len(uniform))
    scale = scales(log.obs[chosen][inside].astype(float), after[inside], logged.reward)
    extra = np.arange(len(chosen)) >= len(uniform)
    return _Sample(chosen, extra, known, logged, scale), {"looked_at": len(looked_at), **reasons}


def _usable(
    log: Log, rows: np.ndarray, ends: np.ndarray, env_id: str, offset: int | None
) -> tuple[np.ndarray, dict[str, int]]:
    """Which rows can be replayed, and why the others cannot."""
    finite = np.isfinite(log.reward[rows])
    for values in (log.obs[rows], log.action[rows], _after(log, rows)):
        finite &= np.isfinite(values).all(axis=1)
    if offset is None:
        whole = way_back(env_id).whole(log.obs[rows])
    else:
        whole = _same_episode(rows, offset, ends)
    reason = "clipped_velocity" if offset is None else "no_state"
    counts = {"not_finite": int((~finite).sum()), reason: int((finite & ~whole).sum())}
    return finite & whole, counts


def _known(log: Log, rows: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Whether the next observation of a row is its true successor."""
    if log.next_obs is None:
        return ~ends[rows] & (rows < log.size - 1)
    if log.successor_known is None:
        return np.ones(len(rows), bool)
    return log.successor_known[rows] != 0


def _after(log: Log, rows: np.ndarray) -> np.ndarray:
    if log.next_obs is not None:
        return log.next_obs[rows].astype(np.float64)
    return log.obs[np.minimum(rows + 1, log.size - 1)].astype(np.float64)


def _same_episode(rows: np.ndarray, offset: int, ends: np.ndarray) -> np.ndarray:
    """Whether the row at distance `offset` (-1, 0 or 1) belongs to the same episode."""
    other = rows + offset
    inside = (other >= 0) & (other < len(ends))
    return inside & ((offset == 0) | ~ends[np.clip(np.minimum(rows, other), 0, None)])


def _measure(env: gym.Env, place: Place, sample: _Sample, action: np.ndarray) -> dict:
    steps = []
    for row, a in zip(sample.rows, action, strict=True):
        place(env, row)
        next_obs, reward, terminated, _, _ = env.step(a)
        steps.append((np.asarray(next_obs, np.float64), float(reward), bool(terminated)))
    made = StepResults(*map(np.array, zip(*steps, strict=True)))
    return compare(sample.logged, made, sample.scale, known=sample.known, extra=sample.extra)


def _explanations(
    log: Log, env_id: str, place: Place, sample: _Sample, ends: np.ndarray
) -> Iterator[tuple[str, dict]]:
    """Other explanations of the log, with the errors under each."""
    few = np.cumsum(~sample.extra) <= _PROBES
    sample = sample.take(few | sample.extra)
    family, _, version = env_id.rpartition("-v")
    for other in sorted(id_ for id_ in gym.registry if id_.rpartition("-v")[0] == family):
        if other.rpartition("-v")[2] != version and (env := _try_bare(other, log)) is not None:
            yield other, _measure(env, place, sample, log.action[sample.rows])
    env = _bare(env_id, log)
    for shift, name in ((-1, "the action of the row before"), (1, "the action of the row after")):
        near = sample.take(_same_episode(sample.rows, shift, ends))
        if (near.known & ~near.extra).any():
            yield name, _measure(env, place, near, log.action[near.rows + shift])
    assert isinstance(env.action_space, gym.spaces.Box)
    low, high = env.action_space.low, env.action_space.high
    if np.abs(high - 1).max() > 0.01 or np.abs(low + 1).max() > 0.01:
        action = low + 0.5 * (high - low) * (log.action[sample.rows] + 1)
        yield "the action scaled from [-1, 1] to its bounds", _measure(env, place, sample, action)


def _try_bare(env_id: str, log: Log) -> gym.Env | None:
    try:
        return _bare(env_id, log)
    except InputError:  # a version that no longer runs, or has other observations
        return None


def _verdict(env_id: str, found: dict, others: list[tuple[str, dict]], offset: int | None) -> str:
    shifted = ""
    if offset:
        side = "later" if offset > 0 else "earlier"
        shifted = f" The stored states lie one row {side} than the rows that they belong to."
    if fits_all(found):
        return (
            f"The log fits {env_id}: next observation off by {error_text(found['obs'])}.{shifted}"
        )
    degree = "is close to, but does not fit," if found["close"] else "does not fit"
    text = f"The log {degree} {env_id}: {misfits(found)}."
    name, best = max(others, key=lambda other: quality(other[1]), default=("", None))
    if best is not None and best["fits"]["obs"] and quality(best) > quality(found):
        how = "fits" if fits_all(best) else "fits better"
        text += f" Try {name}, which {how}." if "-v" in name else f" With {name} it {how}."
    elif found["fits"]["obs"] and found["reward_line"]:
        text += f" The logged reward is {line_text(found['reward_line'])}."
    return text + shifted
