"""Numbers beside the claims of the paper: docs/results.md."""

from handover_runs import LOGGED, curves_of, over_logs, rows_of
from moore.evaluation.stats import iqm, probability_of_improvement
from tables_schemes import HALFCHEETAH, HOPPER, INVERTED, PENDULUM, column, two, uncertainty
from text import between, fixed, interval, listed

QUICK = (PENDULUM, INVERTED)
# The algorithms that the paper compares with.
BASELINES = {"balanced": "balanced_replay", "awac": "awac", "mbpo": "mbpo"}


def _beats(other: str) -> str:
    """P(a seed of `moore` ends above one of another algorithm), over the two small tasks."""
    finals = [
        [column("fig1-quick.csv", task, variant, "final") for task in QUICK]
        for variant in ("moore:1", other)
    ]
    return interval(probability_of_improvement(*finals), two)


def _dips(variant: str) -> str:
    """IQM of the dip share on Pendulum, and on InvertedPendulum."""
    dips = [column("fig1-quick.csv", task, variant, "dip_share") for task in QUICK]
    return listed((iqm([seeds]).value for seeds in dips), two)


def _final(scheme: str) -> str:
    return fixed(iqm([column("fig2-quick.csv", PENDULUM, scheme, "final")]).value)


def _laptop_finals(scheme: str) -> str:
    (final,) = column("fig2-laptop.csv", HALFCHEETAH, scheme, "final")
    return fixed(final)


def _left() -> dict[str, str]:
    """What of u is left after the last epoch, in per cent of the first, under `moore`."""
    found = {}
    for scale, tasks in (("quick", QUICK), ("laptop", (HOPPER, HALFCHEETAH))):
        shares = []
        for task in tasks:
            u = uncertainty(f"fig4-{scale}-curves.csv", task, "moore:1")
            shares.append(100 * u["last"] / u["first"])
        found[f"u-left-{scale}"] = f"{between(shares)}%"
    return found


def numbers() -> dict[str, str]:
    ruined = curves_of("hopper-random", "moore")["evaluated"]
    cells = {(row["task"], row["variant"]) for row in rows_of("fig1-laptop.csv")}
    return {
        **{f"moore-beats-{name}": _beats(other) for name, other in BASELINES.items()},
        "dips-moore": _dips("moore:1"),
        "dips-no-penalty": _dips("no_penalty"),
        "pendulum-final-moore": _final("moore:1"),
        "pendulum-final-half-half": _final("half_half"),
        "pendulum-final-online-only": _final("online_only"),
        "halfcheetah-final-moore": _laptop_finals("moore:1"),
        "halfcheetah-final-half-half": _laptop_finals("half_half"),
        "halfcheetah-final-online-only": _laptop_finals("online_only"),
        "ruined-start": fixed(ruined[0]),
        "ruined-best": fixed(ruined.max()),
        "ruined-last": fixed(ruined[-1]),
        "laptop-cells": str(len(cells)),
        "gains-moore": f"{int((over_logs('moore', 'gain') > 0).sum())} of {len(LOGGED)}",
        "alpha-ten": two(iqm([column("fig3-quick.csv", PENDULUM, "moore:10", "dip_share")]).value),
        **_left(),
    }


TABLES: dict = {}
