"""The calls of a session as messages: what each takes in either form, and what it gives."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from moore.data.dataset import Dataset, from_log
from moore.data.log import Log
from moore.formats.live_steps import Unit
from moore.serving import forms
from moore.serving.forms import invalid
from moore.sessions.session import Session

Entries = dict[str, Any]
Numbers = Float[np.ndarray, " numbers"]


@dataclass(frozen=True)
class Sizes:
    """How many numbers stand for a state and for an action of the session's system.

    Attributes:
        obs, action: number of entries of an observation and of an action.
    """

    obs: int
    action: int


@dataclass(frozen=True)
class SessionCall:
    """A call of the session.

    Attributes:
        make: takes the session and the entries; returns what stands in the answer.
        binary: makes the entries of a binary body, its query and the sizes; None: JSON only.
        is_long: whether it may take longer than a control cycle should.
    """

    make: Callable[..., dict[str, Any]]
    binary: Callable[[Numbers, dict[str, list[str]], Sizes], Entries] | None = None
    is_long: bool = False

    def entries(self, given: Entries) -> Entries:
        """The entries in the types that the session takes.

        Raises:
            Refusal: one is missing, is unknown or has another type.
        """
        known = _needs(self.make)
        for name in given.keys() - known.keys():
            listed = ", ".join(known) or "none"
            raise invalid(f"The message has {name!r:.50}; the known entries are: {listed}.")
        for name, is_needed in known.items():
            if is_needed and given.get(name) is None:
                raise invalid(f"The message has no {name}.")
        there = {name: value for name, value in given.items() if value is not None}
        return {name: _TYPES[name](name, value) for name, value in there.items()}


@functools.cache
def _needs(make: Callable) -> dict[str, bool]:
    """The entries that a call takes, and whether it needs them."""
    _, *entries = inspect.signature(make).parameters.values()
    return {entry.name: entry.default is entry.empty for entry in entries}


_TYPES: dict[str, Callable[[str, Any], Any]] = {
    "obs": forms.array, "next_obs": forms.array, "action": forms.array, "reward": forms.rewards,
    "terminated": forms.flags, "truncated": forms.flags, "unit": forms.units, "step": forms.count,
    "log_density": forms.array, "policy": forms.text, "updates": forms.count,
    "seconds": forms.seconds, "mode": forms.text, "signals": forms.signals,
    "observed_at": forms.seconds,
}  # fmt: skip


def units_named(entries: Entries, *, default: Unit | None = None) -> list[Unit]:
    """The units that the entries are about."""
    unit = entries.get("unit", default)
    if unit is None:
        obs = entries.get("obs")
        return list(range(len(obs))) if obs is not None and obs.ndim == 2 else [0]
    return unit if isinstance(unit, list) else [unit]


# --- What they do ---


def _act(session: Session, obs, unit=None, observed_at=None) -> dict[str, Any]:
    return {"action": session.act(obs, unit=unit, observed_at=observed_at)}


def _observe(
    session: Session, reward=None, next_obs=None, terminated=False, truncated=False, unit=None,
    signals=None,
) -> dict[str, Any]:  # fmt: skip
    told = {"reward": reward, "next_obs": next_obs, "unit": unit, "signals": signals}
    return {"step": session.observe(**told, terminated=terminated, truncated=truncated)}


def _reward(session: Session, step, reward) -> dict[str, Any]:
    _check_single(reward=reward)
    session.reward(step, reward)
    return {}


def _gap(session: Session, unit=None) -> dict[str, Any]:
    _check_single(unit=unit)
    session.gap(unit=unit)
    return {}


def _episode(
    session: Session, obs, action, reward, terminated=False, truncated=None, policy=None,
    log_density=None, unit="episodes",
) -> dict[str, Any]:  # fmt: skip
    _check_single(terminated=terminated, truncated=truncated, unit=unit)
    if log_density is not None:
        log_density = [float(x) if np.isfinite(x) else None for x in np.ravel(log_density)]
    steps = session.observe_episode(
        obs, action, reward, terminated=terminated, truncated=truncated, policy=policy,
        log_density=log_density, unit=unit,
    )  # fmt: skip
    return {"step": steps}


def _log(
    session: Session, obs, action, reward, terminated, truncated=None, next_obs=None,
    unit="episodes",
) -> dict[str, Any]:  # fmt: skip
    _check_single(unit=unit)
    rows = _dataset(obs, action, reward, terminated, truncated, next_obs)
    return {"steps": session.add_log(rows, unit=unit)}


def _check_single(**entries: Any) -> None:
    for name, value in entries.items():
        if isinstance(value, list):
            raise invalid(f"{name} is a list; this call takes one.")


def _dataset(obs, action, reward, terminated, truncated, next_obs) -> Dataset:
    """A log of rows that came with the request."""
    if truncated is None and next_obs is None:
        raise invalid("The message has neither truncated nor next_obs; give one or both.")
    log = Log(
        obs=obs, action=action, reward=np.asarray(reward, np.float64),
        terminated=np.asarray(terminated), next_obs=next_obs, name="the rows",
        truncated=np.zeros(obs.shape[:1], bool) if truncated is None else np.asarray(truncated),
    )  # fmt: skip
    return from_log(log)


def _mode(session: Session, mode) -> dict[str, Any]:
    session.set_mode(mode)
    return {"mode": session.mode}


def _trust(session: Session) -> dict[str, Any]:
    session.trust_again()
    return {}


def _save(session: Session) -> dict[str, Any]:
    session.save()
    return {}


# --- Their binary forms ---


def _rows(values: Numbers, width: int, what: str) -> Float[np.ndarray, "rows width"]:
    if not len(values) or len(values) % width:
        raise invalid(f"The body has {len(values)} numbers; expected {width} for each {what}.")
    return values.reshape(-1, width)


def _act_rows(values: Numbers, query: dict[str, list[str]], sizes: Sizes) -> Entries:
    """obs of each unit."""
    rows, unit = _rows(values, sizes.obs, "unit"), forms.units_in_query(query.get("unit", []))
    return {"obs": rows[0] if len(rows) == 1 else rows, "unit": unit}


def _observe_rows(values: Numbers, query: dict[str, list[str]], sizes: Sizes) -> Entries:
    """reward, terminated, truncated and next_obs of each unit."""
    rows, unit = _rows(values, 3 + sizes.obs, "unit"), forms.units_in_query(query.get("unit", []))
    flags = rows[:, 1:3]
    if not np.isin(flags, (0.0, 1.0)).all():
        raise invalid("A flag in the body is neither 0 nor 1.")
    late = "late" in query and forms.flag_in_query("late", query["late"])
    entries: Entries = {"unit": unit}
    entries |= {"reward": None if late else rows[:, 0].astype(float).tolist()}
    entries |= {"terminated": (flags[:, 0] == 1).tolist(), "truncated": (flags[:, 1] == 1).tolist()}
    entries["next_obs"] = rows[:, 3:]
    if len(rows) == 1:
        entries |= {name: x[0] for name, x in entries.items() if name != "unit" and x is not None}
    return entries


def _episode_rows(values: Numbers, query: dict[str, list[str]], sizes: Sizes) -> Entries:
    """obs, action and reward of each step, and the last obs."""
    width = sizes.obs + sizes.action + 1
    if len(values) < width + sizes.obs:
        raise invalid("The body holds no step; give obs, action and reward of each, and an obs.")
    rows = _rows(values[: -sizes.obs], width, "step, and one more observation")
    obs = np.concatenate([rows[:, : sizes.obs], values[None, -sizes.obs :]])
    entries: Entries = {"obs": obs, "action": rows[:, sizes.obs : -1], "reward": rows[:, -1]}
    given = query.keys() & {"terminated", "truncated"}
    entries |= {name: forms.flag_in_query(name, query[name]) for name in given}
    return entries | ({"unit": forms.units_in_query(query["unit"])} if "unit" in query else {})


# Names that the query of a binary request may have.
QUERY = {
    "act": ("unit",),
    "observe": ("unit", "late"),
    "episode": ("unit", "terminated", "truncated"),
}
CALLS = {
    "act": SessionCall(_act, _act_rows),
    "observe": SessionCall(_observe, _observe_rows),
    "reward": SessionCall(_reward),
    "gap": SessionCall(_gap),
    "episode": SessionCall(_episode, _episode_rows, is_long=True),
    "log": SessionCall(_log, is_long=True),
    "mode": SessionCall(_mode),
    "trust": SessionCall(_trust),
    "save": SessionCall(_save, is_long=True),
}
