"""The picture of a day: what was controlled, who acted, what it was worth, and what went wrong.

python picture.py runs/plant/trend.csv day.png
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from tank import BATCH_MIN

from moore.reports.plot_style import BLUE, GREEN, INK, STYLE, VERMILION

Stretch = tuple[float, float]
SHADE = {"old": ("#e69f00", "PID controller acts"), "new": (BLUE, "policy acts")}
TITLE = {"loc": "left", "fontsize": 10, "fontweight": "bold"}


class Trend:
    """The columns of a trend recorder's file, a value a minute."""

    def __init__(self, rows: Sequence[dict[str, str]]):
        self.texts = {name: [row[name] for row in rows] for name in ("actor", "mode", "alarm")}
        self.numbers = {
            name: np.array([float(row[name]) for row in rows])
            for name in rows[0]
            if name not in self.texts
        }
        self.hours = self.numbers["minute"] / 60.0
        self.batch = (self.numbers["minute"] // BATCH_MIN).astype(int)
        self.deviation = np.abs(self.numbers["temperature_C"] - self.numbers["set_point_C"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.numbers[name]

    def stretches(self, name: str) -> Iterator[tuple[str, float, float]]:
        """Each text of a column, from which hour to which one."""
        for text, group in groupby(range(len(self.hours)), lambda row: self.texts[name][row]):
            minutes = list(group)
            yield text, self.hours[minutes[0]], self.hours[minutes[-1]] + 1.0 / 60.0


def read_trend(path: Path) -> Trend:
    """The file that operate.py writes."""
    with path.open(newline="") as file:
        return Trend(list(csv.DictReader(file)))


def draw(trend: Trend, path: Path, *, broken_h: Stretch | None = None) -> None:
    """Draws the picture.

    Args:
        trend: the day.
        path: the file, whose ending says of which kind it is.
        broken_h: from which hour to which one a sensor was broken.
    """
    with matplotlib.rc_context(STYLE | {"font.size": 10.5}):
        figure = Figure(figsize=(5.4, 7.8), layout="constrained")
        modes, *panels = figure.subplots(4, 1, sharex=True, height_ratios=[0.3, 2.2, 1.6, 1.1])
        _modes(modes, trend)
        _temperature(panels[0], trend, broken_h)
        _deviation(panels[1], trend, broken_h)
        _budget(panels[2], trend)
        for panel in panels:
            _events(panel, trend, broken_h)
        panels[-1].set_xlabel("hour of the day")
        panels[-1].set_xlim(0, trend.hours[-1] + 1.0 / 60.0)
        panels[-1].set_xticks(range(0, round(trend.hours[-1]) + 1, 3))
        keys = [Patch(color=color, alpha=0.3, label=text) for color, text in SHADE.values()]
        keys.append(Line2D([], [], color=GREEN, lw=1.3, label="temperature"))
        keys.append(Line2D([], [], color=INK, lw=0.8, label="set point"))
        keys.append(Line2D([], [], color=VERMILION, lw=1.8, label="alarm"))
        if broken_h:
            keys.append(
                Line2D([], [], color=VERMILION, lw=1.2, ls=":", label="sensor fails, is mended")
            )
        figure.legend(handles=keys, loc="outside lower center", ncols=2, fontsize=9.5)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, facecolor="white")


def clock(hour: float) -> str:
    """Such as 14:10."""
    minutes = round(60.0 * hour)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def alarms(trend: Trend) -> list[float]:
    """The hours in which the guard has alarmed."""
    return [begin for text, begin, _ in trend.stretches("alarm") if text]


def deviations(trend: Trend, broken_h: Stretch | None) -> dict[str, float]:
    """For each actor the mean deviation in kelvins, in the batches that were all its own.

    Batches in which something was broken are left out.
    """
    actor, off = np.array(trend.texts["actor"]), trend.deviation
    begin, end = broken_h or (np.inf, np.inf)
    sound = (trend.hours + 1.0 <= begin) | (trend.hours >= end)
    found: dict[str, list[float]] = {name: [] for name in SHADE}
    for batch in np.unique(trend.batch):
        rows = trend.batch == batch
        if sound[rows].all() and len(set(actor[rows])) == 1:
            found[actor[rows][0]].append(float(off[rows].mean()))
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def _events(axes: Axes, trend: Trend, broken_h: Stretch | None) -> None:
    for actor, begin, end in trend.stretches("actor"):
        axes.axvspan(begin, end, color=SHADE[actor][0], alpha=0.16, lw=0)
    for hour in broken_h or ():
        axes.axvline(hour, color=VERMILION, lw=1.2, ls=":")
    for hour in alarms(trend):
        axes.axvline(hour, color=VERMILION, lw=1.8)


def _modes(axes: Axes, trend: Trend) -> None:
    for mode, begin, end in trend.stretches("mode"):
        axes.axvspan(begin, end, facecolor="white", edgecolor=INK, lw=0.8)
        if end - begin >= 2.0:
            axes.text((begin + end) / 2.0, 0.45, mode, ha="center", va="center", fontsize=9.5)
    axes.set(ylim=(0, 1), yticks=[], frame_on=False)
    axes.tick_params(bottom=False)
    axes.grid(False)
    axes.set_title("The mode says who may act", **TITLE)


def _temperature(axes: Axes, trend: Trend, broken_h: Stretch | None) -> None:
    axes.step(trend.hours, trend["set_point_C"], where="post", color=INK, lw=0.8)
    axes.plot(trend.hours, trend["temperature_C"], color=GREEN, lw=1.3)
    axes.set_ylabel("temperature, °C")
    found, title = alarms(trend), "The temperature is to follow its set point"
    if broken_h and found:
        fails, back = clock(broken_h[0]), clock(found[0])
        title = f"A sensor fails at {fails}; the PID controller "
        title += "acts at once" if fails == back else f"is back at {back}"
    axes.set_title(title, **TITLE)


def _deviation(axes: Axes, trend: Trend, broken_h: Stretch | None) -> None:
    means = np.bincount(trend.batch, trend.deviation) / np.bincount(trend.batch)
    axes.stairs(means, np.arange(len(means) + 1), color=INK, lw=1.6)
    axes.set(ylim=(0, None), ylabel="deviation, K")
    told = {"old": "PID controller", "new": "policy"}
    found = deviations(trend, broken_h)
    said = ", ".join(f"{told[name]} {value:.1f} K" for name, value in found.items())
    axes.set_title(f"Mean deviation: {said}", **TITLE)


def _budget(axes: Axes, trend: Trend) -> None:
    axes.plot(trend.hours, trend["budget_K"], color=INK, lw=1.4)
    axes.set(ylim=(0, None), ylabel="budget, K min")
    axes.set_title("What trials may still lose, for certain", **TITLE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trend", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    draw(read_trend(args.trend), args.picture)


if __name__ == "__main__":
    main()
