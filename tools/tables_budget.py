"""The dip budget on made-up systems: docs/results-budget.md."""

import csv
from functools import cache
from pathlib import Path

from text import fixed, markdown

_CSV = Path(__file__).resolve().parents[1] / "docs" / "results" / "budget-simulation.csv"
_RULES = (
    "windows of a fifth", "promote on proof", "promote at half a deviation",
    "promote at 1 deviation", "take back at 2 standard errors", "stop at a half",
)  # fmt: skip


@cache
def _rows() -> dict[tuple[str, str, str], dict[str, dict[str, str]]]:
    """(rule, share, epochs) -> family of challengers -> the line of the CSV."""
    found: dict[tuple[str, str, str], dict[str, dict[str, str]]] = {}
    with _CSV.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = row["rule"], row["share"], row["epochs"]
            found.setdefault(key, {})[row["family"]] = row
    return found


def _rule(name: str) -> dict[str, dict[str, str]]:
    return _rows()[name, "0.05", "25"]


def _level(row: dict[str, str]) -> str:
    return fixed(float(row["level"]), 2)


def _simulation() -> str:
    lines, untried = [], _rows()["default", "0.0", "25"]
    for family, row in _rule("default").items():
        low, high = (fixed(float(row[f"level_{end}"]), 2) for end in ("q10", "q90"))
        luck, alone = (float(of[family]["broken_with_luck"]) for of in (_rule("default"), untried))
        lines.append([
            family, f"{_level(row)} [{low}, {high}]", fixed(float(row["broken"]), 3),
            f"{fixed(luck, 2)} ({fixed(alone, 2)})",
            *(_level(_rule(name)[family]) for name in _RULES),
        ])  # fmt: skip
    return markdown(["challengers", "default", "broken", "with luck (no trials)", *_RULES], lines)


def _nothing_logged() -> str:
    first = {
        "2": "nothing logged, others act after 2 episodes",
        "4, the default": "nothing logged",
        "8": "nothing logged, others act after 8 episodes",
    }
    lines = [
        [family, *(_level(_rule(name)[family]) for name in first.values())]
        for family in _rule("default")
    ]
    return markdown(["challengers", *first], lines)


def _by_steps() -> str:
    """The families whose episodes can end early."""
    lines = []
    for family, by_steps in _rule("by steps").items():
        line = [family]
        for row in (_rule("default")[family], by_steps):
            line += [_level(row), fixed(float(row["trials"]), 1)]
            line.append(fixed(float(row["least_margin"]), 2))
        lines.append([*line, fixed(float(by_steps["broken"]), 3)])
    told = ("level", "trials", "margin")
    head = [f"{name}, by {unit}" for unit in ("episodes", "steps") for name in told]
    return markdown(["challengers", *head, "broken, by steps"], lines)


def _episodes_asked() -> str:
    """What is asked for before a promotion where episodes can end early."""
    rules = {n: f"by steps, promote after {n} episode{'s' * (n > 1)}" for n in (1, 2)}
    rules[3] = "by steps"
    lines = [
        [
            family,
            *(_level(_rule(name)[family]) for name in rules.values()),
            *(fixed(float(_rule(name)[family]["dipped"]), 2) for name in rules.values()),
        ]
        for family in _rule("by steps")
    ]
    head = [f"{what} after {n}" for what in ("level, promoted", "dipped,") for n in rules]
    return markdown(["challengers", *head], lines)


def _failures() -> str:
    """What is asked for because policies fail now and then."""
    rules = {"not at all": "failures do not count", "once": "default"}
    rules["twice"] = "failures count twice"
    lines = [
        [
            family,
            *(_level(_rule(name)[family]) for name in rules.values()),
            *(fixed(float(_rule(name)[family]["dipped"]), 2) for name in rules.values()),
        ]
        for family in _rule("default")
    ]
    head = [f"{what} {n}" for what in ("level,", "dipped,") for n in rules]
    return markdown(["challengers", *head], lines)


def _exploring() -> str:
    """The agent itself acts where trials bring nothing any more, and learns nothing from it."""
    lines = []
    for family in _rule("default"):
        line = [family]
        for epochs in ("25", "100"):
            plain, exploring = (_rows()[name, "0.05", epochs] for name in ("default", "exploring"))
            line += [_level(plain[family]), _level(exploring[family])]
            line.append(fixed(float(exploring[family]["broken"]), 3))
        lines.append(line)
    told = ("level", "level, exploring", "broken, exploring")
    head = [f"{name}, {epochs} episodes" for epochs in (25, 100) for name in told]
    return markdown(["challengers", *head], lines)


TABLES = {
    "budget-simulation": _simulation,
    "budget-nothing-logged": _nothing_logged,
    "budget-by-steps": _by_steps,
    "budget-episodes-asked": _episodes_asked,
    "budget-failures": _failures,
    "budget-exploring": _exploring,
}


def numbers() -> dict[str, str]:
    default = _rule("default").values()
    long = _rows()["default", "0.05", "100"]["always worse, noise 0.3"]
    explored = [float(row["broken"]) for row in _rule("exploring").values()]
    unlogged = max(_rule("nothing logged").values(), key=lambda row: float(row["broken"]))
    return {
        "budget-long-broken": f"{100.0 * float(long['broken']):.0f}%",
        "budget-unlogged-broken": f"{100.0 * float(unlogged['broken']):.0f}%",
        "budget-exploring-broken": f"{100.0 * max(explored):.1f}%",
        "budget-processes": next(iter(default))["processes"],
        "budget-most-broken": f"{100.0 * max(float(row['broken']) for row in default):.1f}%",
        "budget-other-processes": next(iter(_rule(_RULES[0]).values()))["processes"],
    }
