"""The result of `moore preview` as text for the terminal, and as a picture."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from moore.errors import InputError
from moore.reports.log_text import BLOCKS, sparkline
from moore.reports.plot_style import COLORS, STYLE

_KEYS = (("online share", "online_share"), ("shift", "shift"))
_MEANINGS = {
    "online share": "online share: how much of what is drawn is new",
    "shift": "shift: how far the draws move in an epoch",
}
_WIDTH = 60  # characters of a curve


def format_preview(result: dict, *, blocks: str = BLOCKS) -> str:
    """Curves, tables, and one line that sums up each scheme.

    Args:
        result: the result of `moore.replay.preview.preview`.
        blocks: characters for heights, from low to high.
    """
    schemes, names = result["schemes"], list(result["schemes"])
    epochs = len(schemes[names[0]]["shift"]) - 1
    size, steps = result["n_off"], result["steps_per_epoch"]
    lines = [f"{size:,} logged transitions, {steps} steps an epoch, {epochs} epochs"]
    for title, key in _KEYS:
        lines += ["", *_curves(title, key, schemes, blocks), "", *_table(title, key, schemes)]
    lines += ["", *(_sentence(name, entry, epochs) for name, entry in schemes.items())]
    if "peak" in result:
        lines.append(
            f"alpha {result['alpha_for_peak']:.4g} keeps every shift below {result['peak']:g}"
        )
    return "\n".join(lines)


def _curves(title: str, key: str, schemes: dict, blocks: str) -> list[str]:
    """One line for each scheme, all on one scale; that of the online share is 0 to 1."""
    width = max(len(name) for name in schemes)
    values = {name: _thinned(entry[key][1:]) for name, entry in schemes.items()}
    top = 1.0 if key == "online_share" else max(max(v) for v in values.values()) or 1.0
    lines = [f"{title}, epochs 1 to {len(next(iter(schemes.values()))[key]) - 1}, up to {top:.3g}"]
    # The scale is that of the highest: an invisible entry of `top` sets it.
    return lines + [
        f"  {name.ljust(width)} |{sparkline([*v, top], blocks)[:-1]}|" for name, v in values.items()
    ]


def _thinned(values: list[float]) -> list[float]:
    """At most _WIDTH values, evenly chosen; the last one is always kept."""
    step = -(-len(values) // _WIDTH)
    return values[::-1][::step][::-1]


def _table(title: str, key: str, schemes: dict) -> list[str]:
    names = list(schemes)
    epochs = len(schemes[names[0]][key]) - 1
    shown = [t for t in (1, 2, 3, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200) if t < epochs]
    width = max(12, *(len(name) + 2 for name in names))
    lines = ["epoch".ljust(8) + "".join(name.rjust(width) for name in names) + f"   {title}"]
    for t in [*shown, epochs]:
        cells = (f"{schemes[name][key][t]:.4f}".rjust(width) for name in names)
        lines.append(str(t).ljust(8) + "".join(cells))
    return lines


def _sentence(name: str, entry: dict, epochs: int) -> str:
    half = entry["first_epoch_half_online"]
    text = (
        f"{name}: jump at the hand-over {entry['jump_at_hand_over']:.4f}, peak shift "
        f"{entry['peak_shift']:.4f} at epoch {entry['peak_epoch']}, "
    )
    text += f"half online from epoch {half}" if half else f"below half through epoch {epochs}"
    if "crossover_epoch" in entry:
        text += f" (alpha {entry['alpha']:.4g}, crossover at {entry['crossover_epoch']:.1f})"
    return text


def draw_preview(result: dict, path: Path) -> None:
    """Draws share and shift over the epochs, as PNG, SVG or PDF.

    Raises:
        InputError: the picture cannot be written.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.2), layout="constrained")
        figure.set_facecolor("white")
        for axes, (title, key) in zip(figure.subplots(1, 2), _KEYS, strict=True):
            first = int(key == "shift")  # nothing has moved before epoch 1
            for i, (name, entry) in enumerate(result["schemes"].items()):
                style = "-" if i < len(COLORS) else "--"
                color = COLORS[i % len(COLORS)]
                epochs = range(first, len(entry[key]))
                axes.plot(epochs, entry[key][first:], color=color, ls=style, label=name)
            axes.set_title(_MEANINGS[title], loc="left", fontsize="medium")
            steps = f"{result['steps_per_epoch']:,}"
            axes.set_xlabel(f"online epoch of {steps} steps (0: the hand-over)")
        axes.set_yscale("log")
        figure.legend(
            *axes.get_legend_handles_labels(), loc="outside upper center", ncols=7,
            title="How fast new data take the place of the log, by sampling scheme",
        )  # fmt: skip
        try:
            figure.savefig(path, dpi=150)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be written ({error}); name a .png") from None
