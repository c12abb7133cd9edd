"""What a run achieved, in sentences."""

from collections.abc import Callable, Mapping

from moore.evaluation.transfer import DIP_EPOCHS
from moore.numbers import counted
from moore.reports.page import number


def way(summary: Mapping, number: Callable[[float], str] = number) -> str:
    """From where to where the returns came, and how low they were on the way; "" if unknown.

    Args:
        summary: content of summary.json without nulls.
        number: how numbers are written.
    """
    transfer, logged = summary.get("transfer", {}), summary.get("hand_over", {}).get("log_return")
    last, dip = summary.get("online", {}).get("return"), transfer.get("dip")
    if last is None or dip is None or transfer.get("offline") is None:
        return ""
    before = "" if logged is None else f"{number(logged)} (the controller in the log) to "
    return (
        f"from {before}{number(transfer['offline'])} at the hand-over to {number(last)}; "
        f"the lowest evaluation on the way was {number(transfer['offline'] - dip)}"
    )


def dip_and_gain(transfer: Mapping, online_epochs: int, *, evaluated: bool) -> str:
    """How deep the dip was and how much the online stage gained.

    Args:
        transfer: the transfer metrics; None for those that are not known.
        online_epochs: number of epochs so far.
        evaluated: whether any online epoch was evaluated.
    """
    if online_epochs and not evaluated:
        return "Nothing was evaluated; the acting policy's returns show how the run went."
    if any(transfer[key] is None for key in ("offline", "dip", "gain")):
        return "No policy has been handed over yet; so far there is only the offline stage."
    if not online_epochs:
        return "There is only the offline stage; nothing has been learned online yet."
    dip, share, gain = (transfer[key] for key in ("dip", "dip_share", "gain"))
    epochs = f"the first {min(DIP_EPOCHS, online_epochs)} online epochs"
    if dip == 0:
        first = f"No dip: no evaluation of {epochs} is below the hand-over."
    else:
        of = "" if share is None else f", {share:.0%} of the way from random to the offline policy"
        first = f"In {epochs} the evaluated return fell by up to {number(dip)}{of}."
        recovery = transfer["recovery_epochs"]
        first += (
            " It has not come back to the hand-over's level."
            if recovery is None
            else f" It was back {recovery} epoch{'s'[: recovery != 1]} after the first fall."
        )
    side = "above" if gain >= 0 else "below"
    return f"{first} The last evaluations are {number(abs(gain))} {side} the offline policy."


def budget_kept(budget: Mapping | None) -> str:
    """What the dip budget did; empty where there was none."""
    if not budget:
        return ""
    kept = "kept" if budget["least_margin"] >= 0 else "broken"
    nearest = number(abs(budget["least_margin"]))
    side = "above" if kept == "kept" else "below"
    explored = int(budget.get("explored", 0))
    alone = f"The agent itself explored in {counted(explored, 'episode')}. " if explored else ""
    what = "Trials and exploration" if explored else "Trials"
    return (
        f"New policies were tried {budget['trials']} times within a dip budget of "
        f"{budget['share']:.0%}: {budget['promoted']} were promoted, and {budget['demoted']} of "
        f"these lost their place again. {alone}{what} cost {number(budget['spent'])} of reward. "
        f"The promise was {kept}: at the nearest, what was earned lay {nearest} {side} the line."
    )
