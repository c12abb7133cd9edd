"""Fig. 4: how the models' uncertainty changes online, and how well it predicts the next drop."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from moore.errors import InputError
from moore.numbers import is_finite
from moore.reports.compare import Finished
from moore.reports.plot_style import BLUE, GREEN, INK, STYLE, VERMILION
from moore.reports.variants import Colors, epoch_steps, step_axis, variant_colors

PRINTED = "theory/relative_uncertainty_error"
THEOREM = "theory/relative_uncertainty_error_theorem"
DROP = "theory/drop_term"
PREDICTED = "theory/predicted_drop"

# The paper's scheme comes first among the variants.
_PAPERS = 0


def epoch_values(run: Finished, *keys: str) -> np.ndarray:
    """Columns (1 + keys, epochs): each online epoch that has all the numbers, and the numbers."""
    rows = [row for row in run.rows if row.get("stage") == "online"]
    kept = [row for row in rows if all(is_finite(row.get(key)) for key in keys)]
    table = [[row["epoch"], *(row[key] for key in keys)] for row in kept]
    return np.asarray(table, float).reshape(-1, 1 + len(keys)).T


def _all_values(runs: Sequence[Finished], key: str) -> np.ndarray:
    """The values of a key over the online epochs of all runs."""
    return np.concatenate([np.zeros(0), *(epoch_values(run, key)[1] for run in runs)])


def predicted_and_real(run: Finished, key: str) -> np.ndarray:
    """Columns (2, epochs): a predictor at each epoch, and the drop of the evaluated return."""
    returns = dict(epoch_values(run, "eval/return").T)
    epochs, terms = epoch_values(run, key)
    pairs = [
        (term, returns[epoch - 1] - returns[epoch])
        for epoch, term in zip(epochs, terms, strict=True)
        if epoch in returns and epoch - 1 in returns
    ]
    return np.asarray(pairs, float).reshape(-1, 2).T


def uncertainty_summary(runs: Sequence[Finished]) -> list[dict]:
    """One row for each task and variant.

    Returns:
        task, variant, seeds.
        u_first, u_highest, u_last: means over the seeds of the first, the highest and the last
            value of u over the epochs.
        printed, theorem: median and 95th percentile, over epochs and seeds, of the two Relative
            Uncertainty Errors.
        drop_term, predicted_drop, dip: means over the seeds of the highest drop term, the highest
            predicted drop, and the dip.
        drop_term_rank, predicted_drop_rank: Spearman's correlation of each with the real drop, over
            epochs and seeds, and its p value (which takes epochs as independent).
        A value that was not logged is None.

    Raises:
        InputError: no run has these numbers.
    """
    found = []
    for task, variant in dict.fromkeys((run.task, run.variant) for run in runs):
        mine = [run for run in runs if (run.task, run.variant) == (task, variant)]
        u = [epoch_values(run, "model/uncertainty_mean")[1] for run in mine]
        u = [values for values in u if values.size]
        printed, theorem = (_all_values(mine, key) for key in (PRINTED, THEOREM))
        if not printed.size:
            continue
        found.append(
            {
                "task": task,
                "variant": variant,
                "seeds": len(mine),
                "u_first": _mean(x[0] for x in u),
                "u_highest": _mean(x.max() for x in u),
                "u_last": _mean(x[-1] for x in u),
                "printed": _spread(printed),
                "theorem": _spread(theorem),
                "drop_term": _mean_highest(mine, DROP),
                "predicted_drop": _mean_highest(mine, PREDICTED),
                "dip": _mean(run.transfer["dip"] for run in mine if "dip" in run.transfer),
                "drop_term_rank": _rank_correlation(mine, DROP),
                "predicted_drop_rank": _rank_correlation(mine, PREDICTED),
            }
        )
    if not found:
        raise InputError("no run has logged these numbers; run with diagnostics on.")
    return found


def _mean(values: Iterable[float]) -> float | None:
    """The mean; None if there are no values."""
    found = list(values)
    return float(np.mean(found)) if found else None


def _spread(values: np.ndarray) -> list[float | None]:
    """The median and the 95th percentile."""
    return np.percentile(values, [50, 95]).tolist() if values.size else [None, None]


def _mean_highest(runs: Sequence[Finished], key: str) -> float | None:
    found = (epoch_values(run, key)[1] for run in runs)
    return _mean(values.max() for values in found if values.size)


def _rank_correlation(runs: Sequence[Finished], key: str) -> list[float | None]:
    pairs = np.concatenate([predicted_and_real(run, key) for run in runs], axis=1)
    if pairs.shape[1] < 2:
        return [None, None]
    found = stats.spearmanr(*pairs)
    return [float(found.statistic), float(found.pvalue)]


def draw_uncertainty(runs: Sequence[Finished], result: dict, *, title: str = "") -> Figure:
    """Draws for each task u over the steps, the density of its relative error, and the drops.

    Args:
        runs: all runs to show.
        result: the result of `compare`.
        title: what is to be seen, as a sentence above the figure.
    """
    tasks, colors = result["tasks"], variant_colors(runs)
    papers = result["variants"][_PAPERS]
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(10.0, 0.7 + 3.2 * len(tasks)), layout="constrained")
        if title:
            fig.suptitle(title, fontsize="large")
        grid = fig.subplots(len(tasks), 3, squeeze=False)
        for (left, middle, right), task in zip(grid, tasks, strict=True):
            mine = [run for run in runs if run.task == task]
            ours = [run for run in mine if run.variant == papers]
            _draw_u(left, ours)
            # The environment and the log, a line each: together they reach into the next plot.
            heading = "\n".join([*task.split(" ", 1), f"u, uncertainty of the models ({papers})"])
            left.set_title(heading, loc="left", fontsize="medium")
            _draw_density(middle, ours)
            _draw_drops(right, mine, colors)
    return fig


def _draw_u(axes: Axes, runs: Sequence[Finished]) -> None:
    """Draws the mean of u over the runs, and the range from the lowest run to the highest."""
    steps = epoch_steps(runs)
    tables = [epoch_values(run, "model/uncertainty_mean") for run in runs]
    shortest = min((table.shape[1] for table in tables), default=0)
    if shortest:
        u = np.stack([table[1, :shortest] for table in tables])
        places = _places(tables[0][0, :shortest], steps)
        if len(runs) > 1:
            label = "lowest to highest run"
            axes.fill_between(
                places, u.min(0), u.max(0), color=GREEN, alpha=0.16, lw=0, label=label
            )
        label = f"mean of {len(runs)} runs" if len(runs) > 1 else "the run"
        axes.plot(places, u.mean(0), color=GREEN, lw=2, label=label)
        axes.legend(fontsize="small")
    axes.set_ylim(bottom=0)
    step_axis(axes, steps=steps is not None)


def _places(epochs: np.ndarray, steps: Mapping[int, float] | None) -> list[float]:
    """Where epochs lie on the axis: at their steps, if these are known."""
    return [steps[int(epoch)] if steps else float(epoch) for epoch in epochs]


def _draw_density(axes: Axes, runs: Sequence[Finished]) -> None:
    """Draws the density of both Relative Uncertainty Errors over epochs and seeds."""
    for key, color, label in ((PRINTED, BLUE, "as printed"), (THEOREM, VERMILION, "Theorem 2's")):
        values = np.concatenate([np.zeros(0), *(epoch_values(run, key)[1] for run in runs)])
        if values.size:
            edges = np.linspace(0, np.percentile(values, 98), 25).tolist()
            axes.hist(
                values, edges, density=True, histtype="step", color=color, label=label, lw=1.5
            )
    axes.set_title("how often each error occurs (density)", loc="left", fontsize="medium")
    axes.set_xlabel("Relative Uncertainty Error (the highest 2% are left out)")
    axes.legend()


def _draw_drops(axes: Axes, runs: Sequence[Finished], colors: Colors) -> None:
    """Draws the drop that the new models predict against the real drop, one point an epoch."""
    for variant, color in colors.items():
        pairs = [predicted_and_real(run, PREDICTED) for run in runs if run.variant == variant]
        if pairs:
            x, y = np.concatenate(pairs, axis=1)
            axes.plot(x, y, "o", ms=2.6, mew=0, alpha=0.6, color=color, label=variant)
    axes.axhline(0, color=INK, lw=0.7, ls=":")
    axes.axvline(0, color=INK, lw=0.7, ls=":")
    axes.set_title("real drop of the return in an epoch", loc="left", fontsize="medium")
    axes.set_xlabel("drop that the new models predict, in return")
    axes.legend(markerscale=2, fontsize="small")
