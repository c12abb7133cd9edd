"""The result of `moore theory` as two tables, of the counterexamples and of the random draws."""

import math
from collections.abc import Mapping, Sequence


def format_theory(result: Mapping) -> str:
    """The counterexamples, then the random draws, then the meaning of the columns.

    Args:
        result: `draws`, `seed`, `counterexamples` (see `counterexample_table`) and `statements`
            (see `Row.summary`).
    """
    lines = ["counterexamples", *_align(_counterexamples(result["counterexamples"]), texts=3), ""]
    lines += [f"{result['draws']} random transfers, seed {result['seed']}"]
    lines += _align(_statements(result["statements"]), texts=2)
    return "\n".join([*lines, "", *_LEGEND])


def format_transfer(table: Sequence[Mapping]) -> str:
    """Both sides of every statement on one transfer.

    Args:
        table: see `transfer_table`.
    """
    rows = [["statement", "form", "left", "right", "ratio", ""]]
    for previous, row in zip([{}, *table], table, strict=False):
        same = previous.get("statement") == row["statement"]
        star = "*" if row["vacuous"] else " "
        cells = ["" if same else row["statement"], row["form"]]
        cells += [_number(row["lhs"]), _number(row["rhs"]) + star, _ratio(row["ratio"])]
        rows.append([*cells, "holds" if row["holds"] else "FAILS"])
    return "\n".join([*_align(rows, texts=2), "", *_LEGEND[:4]])


_LEGEND = (
    "ratio: left side over right side; above 1 the bound fails, near 1 it is tight.",
    "vacuous, or *: the right side is no smaller than (range of rewards) x (effective horizon).",
    "printed: V_max as printed, max V; |V|: with an absolute value. drop: what the real return",
    "loses, from the new model alone; no degradation: with a penalty that covers its errors.",
    "model shift: of the weighted empirical model, against the shift of the draws.",
)


def _counterexamples(table: Sequence[Mapping]) -> list[list[str]]:
    heads = ["ratio", ""]
    rows = [["case", "statement", "overlooked", "left", "printed", *heads, "corrected", *heads]]
    for case in table:
        row = [case["name"], case["statement"], case["why"], _number(case["printed"]["lhs"])]
        for form in ("printed", "corrected"):
            sides = case[form]
            star = "*" if sides["vacuous"] else " "
            row += [_number(sides["rhs"]) + star, _ratio(sides["ratio"])]
            row.append("holds" if sides["holds"] else "FAILS")
        rows.append(row)
    return rows


def _statements(table: Sequence[Mapping]) -> list[list[str]]:
    rows = [["statement", "form", "draws", "fails", "share", "median", "p99", "max", "vacuous"]]
    for previous, row in zip([{}, *table], table, strict=False):
        same = previous.get("statement") == row["statement"]
        cells = ["" if same else row["statement"], row["form"], str(row["draws"])]
        cells += [str(row["violations"]), _percent(row["violated"])]
        if row["vacuous"] is None:
            cells += [""] * 4
        else:
            cells += [_ratio(row[f"ratio_{name}"]) for name in ("median", "p99", "max")]
            cells.append(_percent(row["vacuous"]))
        rows.append(cells)
    return rows


def _align(rows: list[list[str]], *, texts: int) -> list[str]:
    """Sets columns two spaces apart, the first `texts` flush left and the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def _number(value: float) -> str:
    return f"{value:.4g}"


def _ratio(value: float | None) -> str:
    return "inf" if value is None or math.isinf(value) else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"
