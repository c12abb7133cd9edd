"""What `moore watch` shows of a session: its mode, its guard, who acts now, and how fast."""

from datetime import datetime

from moore.numbers import is_finite

_ACTORS = {"old": "the old controller", "new": "the new policy"}
_GATE = {True: "the gate let the newest policy through", False: "the gate refused the newest one"}
# Seconds without news after which a session that was not closed is said to be silent.
_SILENT = 10.0
# A clock that is further than this from the computer's is a simulation's.
_SAME_CLOCK = 3e8


def live_session(told: dict) -> dict:
    """What a session has told, for people and programs.

    Args:
        told: its status.json, of which anything may be missing, and `age`, how old it is in
            seconds.
    """
    given = told.get("units")
    given = given if isinstance(given, list) else []
    units = [_unit(one, told) for one in given if isinstance(one, dict)]
    actors = {unit["actor"] for unit in units}
    budget, latency = told.get("budget"), told.get("latency")
    gate = told.get("gate")
    has_margin = isinstance(budget, dict) and is_finite(budget.get("margin"))
    return {
        "mode": told.get("mode"),
        "units": units,
        "acting": " and ".join(sorted(actors)) if units else "",
        "alarms": [unit for unit in units if unit["alarm"]],
        "steps": told.get("steps"),
        "updates": told.get("updates"),
        "due": told.get("due"),
        "gate": _GATE[gate] if isinstance(gate, bool) else "no gate has decided yet",
        "unrecorded": told.get("unrecorded") or "",
        "trouble": told.get("trouble") or "",
        "budget": budget if has_margin else None,
        "latency": latency if isinstance(latency, dict) else None,
        "heard": _heard(told),
    }


def _unit(one: dict, told: dict) -> dict:
    return {
        "unit": one.get("unit"),
        "actor": _ACTORS.get(one.get("actor") or "", "nobody yet"),
        "why": one.get("why") or "",
        "alarm": one.get("alarm") or "",
        "awaits": one.get("awaits") or "",
        "since": _when(one.get("since"), told.get("time")),
        "interlocks": list(one.get("interlocks") or []),
        "fault": one.get("fault") or "",
    }


def _when(clock: object, now: object) -> str:
    """A reading of the session's clock."""
    if not isinstance(clock, float | int):
        return ""
    if isinstance(now, float | int) and abs(now - clock) < _SAME_CLOCK:
        return datetime.fromtimestamp(clock).strftime("%Y-%m-%d %H:%M:%S")
    return f"second {clock:,.0f} of the session's clock"


def _heard(told: dict) -> str:
    """How old it is, as a sentence."""
    age = told.get("age")
    if told.get("closed"):
        return "The session is closed."
    if not is_finite(age):
        return "The session has told nothing yet."
    when = f"The session told this {age:.0f} s ago"
    if age <= _SILENT:
        return f"{when}."
    return f"{when}: it stands still, its disk is full, or its program has ended."
