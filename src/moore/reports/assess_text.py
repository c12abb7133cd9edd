"""The result of `moore assess` in lines for a terminal."""

from collections.abc import Iterator

from moore.reports.page import number

_SIGNS = {"fine": "ok ", "open": "?  ", "against": "!  "}


def assess_text(result: dict) -> Iterator[str]:
    """The verdict first, then the estimates and the readings."""
    yield result["line"]
    yield ""
    yield f"return of an episode of {result['steps_per_episode']} steps at most [90% interval]"
    for name, said in estimate_rows(result):
        yield f"  {name:<42} {said}"
    for reading in result["readings"]:
        yield f"{_SIGNS[reading['status']]}{reading['name']} {reading['text']}"
    for note in result["notes"]:
        yield f"note: {note}"


def estimate_rows(result: dict) -> list[tuple[str, str]]:
    """Controller and estimator, and what is said: a number with its interval, or why not."""
    rows = [("old controller, mean of the log", interval(result["old"]))]
    for who, title in (("clone", "clone of the log's better part"), ("new", "new policy")):
        rows += [
            (f"{title}, {name}", interval(found["value"])) for name, found in result[who].items()
        ]
    return rows


def interval(estimate: dict) -> str:
    """A number with its interval, or the reason why there is none."""
    if estimate["value"] is None:
        return f"refused: {estimate['refused']}"
    low, high = number(estimate["low"]), number(estimate["high"])
    return f"{number(estimate['value'])} [{low}, {high}]"
