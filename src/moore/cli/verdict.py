"""What a run prints at its end."""

import shlex
from pathlib import Path

from moore.files import short_path
from moore.numbers import counted, fixed, without_nulls


def verdict(summary: dict, folder: Path | None = None) -> str:
    """The last lines of a run: its numbers, what was achieved, and what to do next."""
    from moore.reports.verdict import way

    summary = without_nulls(summary)
    offline, acting = summary.get("offline", {}), summary.get("acting", {})
    run = "" if folder is None else shlex.quote(str(short_path(folder)))
    if "offline" in summary.get("transfer", {}):
        lines = [_of_transfer(summary["transfer"], offline), way(summary, fixed), _promise(summary)]
        if run:
            lines.append(f"next: moore assess {run}, or moore export {run} --out DIR")
        return "\n".join(filter(None, lines))
    if "first" in acting:
        names = ("first", "lowest", "last")
        levels = ", ".join(f"{name} {fixed(acting.get(name))}" for name in names)
        episodes = counted(acting.get("episodes", 0), "episode")
        return f"acting policy, mean of an epoch: {levels} ({episodes})"
    lines = []
    if "return" in offline:
        lines.append(f"offline return {fixed(offline['return'])}{_notes(_swing(offline))}")
    if run and "online" not in summary:
        # What was never evaluated is mostly a plant, which has no environment to go online in.
        online = f"moore online --from {run}" if lines else f"moore serve {run}"
        lines.append(f"next: moore assess {run}, then {online}")
    return "\n".join(lines)


def _promise(summary: dict) -> str:
    """What trials in the system brought, and whether they kept to the budget."""
    budget = summary.get("budget", {})
    names = ("share", "least_margin", "trials", "promoted")
    if any(budget.get(name) is None for name in names):
        return ""
    share, margin = _percent(budget["share"]), budget["least_margin"]
    kept = f"kept, {fixed(margin)} to spare" if margin >= 0 else f"broken by {fixed(-margin)}"
    return (
        f"trials: {budget['promoted']:.0f} of {budget['trials']:.0f} won; "
        f"the dip budget of {share} was {kept}"
    )


def _of_transfer(transfer: dict, offline: dict) -> str:
    luck = transfer.get("behaviour_dip_share_by_luck")
    acting = fixed(transfer["behaviour_dip"]) if "behaviour_dip" in transfer else "not measured"
    acting_share = _percent(transfer.get("behaviour_dip_share"))
    levels = {name: fixed(transfer.get(name)) for name in ("offline", "dip", "final", "gain")}
    by_luck = f"chance alone would give {_percent(luck)}"
    return (
        f"offline {levels['offline']}, dip {levels['dip']}"
        f"{_notes(_percent(transfer.get('dip_share')), _swing(offline))}, "
        f"final (mean of the last 5) {levels['final']}, gain {levels['gain']}\n"
        f"acting policy: dip {acting}"
        f"{_notes(acting_share, by_luck if luck is not None else '')}"
    )


def _swing(offline: dict) -> str:
    """How large a dip would be if the policy only went on swinging as it did offline."""
    share = _percent(offline.get("swing_share"))
    return f"the last offline epochs swung by {share}" if share else ""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}%"


def _notes(*notes: str) -> str:
    """The notes that are not empty, in brackets."""
    there = "; ".join(note for note in notes if note)
    return f" ({there})" if there else ""
