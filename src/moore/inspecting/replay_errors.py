"""How far a simulator's steps are from the logged ones, and whether the log fits the simulator."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-3  # of the scale: float32 and another MuJoCo build stay below, other physics do not
_ENOUGH, _TERMINAL_ENOUGH = 0.99, 0.95  # share of rows
_CLOSE = 0.1  # of the scale, in 90% of the rows
_WORST = 1e9  # stands for what is not finite
_EDGES = np.linspace(-9, 3, 37)  # of the histogram, log10 of the error


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class StepResults:
    """Logged rows, or the simulator's results from their states and actions."""

    next_obs: np.ndarray  # (m, obs) float64
    reward: np.ndarray  # (m,)
    terminated: np.ndarray  # (m,) bool


@dataclass(frozen=True, eq=False)
class Scales:
    """The typical changes; errors are given as shares of them."""

    obs: np.ndarray  # (obs,) standard deviation of one-step changes
    reward: float  # standard deviation


def scales(obs: np.ndarray, next_obs: np.ndarray, reward: np.ndarray) -> Scales:
    """Scales from rows (m, obs), each at least a thousand times the resolution of float32."""
    steps = (next_obs - obs).std(axis=0)
    least = 1e-3 * np.abs(obs).max(axis=0)
    floor = 1e-3 * float(np.abs(reward).max()) + 1e-9
    return Scales(np.maximum(steps, least) + 1e-9, max(float(reward.std()), floor))


def compare(
    logged: StepResults, made: StepResults, scale: Scales, *, known: np.ndarray, extra: np.ndarray
) -> dict:
    """Errors of next observation, reward and terminal flag.

    Args:
        logged: the log's rows.
        made: the simulator's rows.
        scale: scales of the errors.
        known: (m,) bool, rows whose logged next observation is the true successor.
        extra: (m,) bool, rows taken because they are terminal; left out of the distributions.
    """
    obs = _finite(np.abs(made.next_obs - logged.next_obs) / scale.obs)
    reward = _finite(np.abs(made.reward - logged.reward) / scale.reward)
    agree = made.terminated == logged.terminated
    uniform, terminal = known & ~extra, logged.terminated
    found = {
        "obs": distribution(obs[uniform].max(axis=1)),
        "obs_p99_per_dim": np.quantile(obs[uniform], 0.99, axis=0).tolist(),
        "reward": distribution(reward[~extra]),
        "terminal_reward": distribution(reward[terminal]) if terminal.any() else None,
        "flags_agree": float(agree[~extra].mean()),
        "terminal_rows": int(terminal.sum()),
        "terminal_flags_agree": float(agree[terminal].mean()) if terminal.any() else None,
        "reward_line": _line(made.reward[~extra], logged.reward[~extra], scale.reward),
    }
    found["worst_dim"] = int(np.argmax(found["obs_p99_per_dim"]))
    return found | {"fits": _fits(found), "close": _close(found)}


def distribution(errors: np.ndarray) -> dict:
    """Quantiles of errors (m,), the share within `TOLERANCE`, and their histogram."""
    quantiles = np.quantile(errors, [0.5, 0.9, 0.99, 1.0]).tolist()
    counts, _ = np.histogram(np.log10(np.clip(errors, 1e-9, 1e3)), _EDGES)
    return {
        **dict(zip(("median", "p90", "p99", "max"), quantiles, strict=True)),
        "within": float((errors <= TOLERANCE).mean()),
        "log10_histogram": {"edges": _EDGES.tolist(), "counts": counts.tolist()},
    }


def fits_all(found: dict) -> bool:
    """Whether observation, reward and flags all fit."""
    return all(found["fits"].values())


def quality(found: dict) -> tuple:
    """A number that is higher for a better fit, to order candidates."""
    return sum(found["fits"].values()), found["obs"]["within"], found["reward"]["within"]


def misfits(found: dict) -> str:
    """What does not fit, in words; empty if everything fits."""
    parts = []
    for key, name in (("obs", "next observation"), ("reward", "reward")):
        if not found["fits"][key]:
            parts.append(f"{name} off by {error_text(found[key])}")
    if not found["fits"]["terminal_reward"]:
        parts.append(f"reward of terminal rows off by {error_text(found['terminal_reward'])}")
    if not found["fits"]["flags"]:
        agree, on_terminals = found["flags_agree"], found["terminal_flags_agree"]
        also = "" if on_terminals is None else f", of terminal ones in {on_terminals:.1%}"
        parts.append(f"terminal flags agree in {agree:.1%} of the rows{also}")
    return "; ".join(parts)


def error_text(errors: dict) -> str:
    """Errors in words, as shares of a typical change."""
    return (
        f"{errors['median']:.1e} in the median and {errors['p99']:.1e} in 99% of a typical change, "
        f"within {TOLERANCE:g} in {errors['within']:.1%} of the rows"
    )


def line_text(line: Sequence[int | float]) -> str:
    """In words, the linear function that turns the environment's reward into the logged one."""
    slope, shift = line
    return f"{slope:.4g} times the environment's" + (f" {shift:+.4g}" if shift else "")


def _finite(errors: np.ndarray) -> np.ndarray:
    return np.minimum(np.nan_to_num(errors, nan=_WORST, posinf=_WORST), _WORST)


def _fits(found: dict) -> dict[str, bool]:
    terminal = found["terminal_reward"]
    on_terminals = found["terminal_flags_agree"]
    flags = on_terminals is None or on_terminals >= _TERMINAL_ENOUGH
    return {
        "obs": found["obs"]["within"] >= _ENOUGH,
        "reward": found["reward"]["within"] >= _ENOUGH,
        "terminal_reward": terminal is None or terminal["within"] >= _TERMINAL_ENOUGH,
        "flags": found["flags_agree"] >= _ENOUGH and flags,
    }


def _close(found: dict) -> bool:
    """Whether a small difference would explain what does not fit."""
    errors = [found[key] for key in ("obs", "reward", "terminal_reward") if found[key]]
    on_terminals = found["terminal_flags_agree"]
    flags = found["flags_agree"] >= 0.95 and (on_terminals is None or on_terminals >= 0.8)
    return flags and all(e["p90"] < _CLOSE for e in errors)


def _line(made: np.ndarray, logged: np.ndarray, scale: float) -> list[float] | None:
    """(slope, shift) of the line that turns the simulator's rewards into the logged ones.

    It is None if no line does, if the rewards already agree, or if all are equal.
    """
    if not np.isfinite(made).all() or made.std() < 1e-9:
        return None
    slope, shift = np.polyfit(made, logged, 1)
    exact = np.abs(slope * made + shift - logged) <= TOLERANCE * scale
    same = abs(slope - 1) < TOLERANCE and abs(shift) < TOLERANCE * scale
    if same or exact.mean() < _ENOUGH:
        return None
    return [float(slope), 0.0 if abs(shift) < TOLERANCE * scale else float(shift)]
