"""MODEL_CARD.md: the contract in plain sentences, for those who must decide whether to use it."""

from moore.exporting.contract import Exported
from moore.numbers import counted, is_finite


def model_card(exported: Exported, contract: dict) -> str:
    """The page, as Markdown.

    Args:
        exported: what was exported.
        contract: the content of contract.json.
    """
    sections = {
        "What it is": _what(contract),
        "Inputs and outputs": _tables(contract),
        "Data": _data(exported, contract),
        "Scores": _scores(contract["scores"]),
        "How the files were checked": _checks(contract["verification"]),
        "Limits": _limits(contract),
        "Where it is from": _origin(contract),
    }
    lines = [f"# Policy for {contract['policy']['env_id'] or 'an unnamed system'}", ""]
    for title, text in sections.items():
        lines += [f"## {title}", "", *text, ""]
    return "\n".join(lines)


def _what(contract: dict) -> list[str]:
    policy, inside = contract["policy"], contract["inside"]
    averaged = inside["members_averaged"]
    network = "a neural network" if averaged == 1 else f"the mean of {averaged} neural networks"
    normalised = "are standardised inside" if inside["normaliser"] else "are taken as they are"
    lines = [
        f"A controller that `moore` learned with the algorithm {policy['algorithm']}.",
        f"It is {network} with {len(inside['hidden_layers'])} hidden layers. "
        "The same observation always gives the same action.",
        f"Observations {normalised}, in their own units. "
        "Actions are in their own units, within the bounds below.",
    ]
    if inside["rate_limit"]:
        lines.append("The change of the action from one step to the next is limited.")
    return [*lines, f"Its id is `{policy['id']}`."]


def _tables(contract: dict) -> list[str]:
    lines = ["All numbers are float32; the first dimension of every array is the batch.", ""]
    titles: tuple[str, ...]
    for array in contract["inputs"]:
        low, high = ("log_low", "log_high") if array["name"] == "obs" else ("low", "high")
        titles = ("lowest in the log", "highest in the log") if low != "low" else ("low", "high")
        lines += [f"Input `{array['name']}`:", ""]
        lines += _table(("entry", "name", "unit", *titles), array["entries"], (low, high))
    for array in contract["outputs"]:
        keys = ("low", "high", *(["rate_limit"] if contract["inside"]["rate_limit"] else []))
        titles = ("low", "high", "largest change a step")[: len(keys)]
        lines += [f"Output `{array['name']}`:", ""]
        lines += _table(("entry", "name", "unit", *titles), array["entries"], keys)
    return lines[:-1]


def _table(titles: tuple[str, ...], entries: list[dict], keys: tuple[str, ...]) -> list[str]:
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for i, entry in enumerate(entries):
        numbers = [_number(entry[key]) for key in keys]
        cells = (str(i), _cell(entry["name"]), _cell(entry["unit"] or "not known"), *numbers)
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"


def _cell(text: str) -> str:
    """Text of a log's column as one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _data(exported: Exported, contract: dict) -> list[str]:
    log = contract["log"]
    if log is None:
        return ["No log is known; the policy learned from the system alone, or its run is gone."]
    lines = [f"The log is `{_cell(str(log['name']))}`, SHA-256 `{log['sha256']}`."]
    if "rows" in log:
        episodes = counted(log["episodes"], "whole episode")
        lines.append(f"It has {counted(log['rows'], 'transition')} and {episodes}.")
    if exported.logged.missing:
        lines.append(f"It was not used for the checks below: {_cell(exported.logged.missing)}")
    return lines


def _scores(scores: dict) -> list[str]:
    if not scores:
        return ["Nothing was measured, or the run's folder is not there."]
    lines = []
    if evaluation := scores.get("evaluation"):
        returns = [value for value in evaluation["returns"] or [] if is_finite(value)]
        spread = f", from {min(returns):.6g} to {max(returns):.6g}" if returns else ""
        count = counted(len(returns), "episode")
        score = "" if evaluation["score"] is None else f" (score {evaluation['score']:.4g})"
        lines.append(
            f"Mean return of {count}, deterministic, in the environment of "
            f"evaluation after {evaluation['stage']} epoch {evaluation['epoch']}: "
            f"{evaluation['return']:.6g}{score}{spread}."
        )
        if not evaluation["is_of_this_policy"]:
            lines.append("The run has not ended: the policy may be older or newer than that.")
    if reference := scores.get("reference"):
        lines.append(
            f"A score of 0 is a return of {reference['random']:.6g}, a score of 100 one of "
            f"{reference['expert']:.6g} ({reference['source']})."
        )
    if "dip" in (transfer := scores.get("transfer", {})) and is_finite(transfer["dip"]):
        lines.append(
            f"Online its evaluations fell by at most {transfer['dip']:.6g} below the hand-over."
        )
    if is_finite((acting := scores.get("acting", {})).get("last")):
        lines.append(
            "The policies that acted online earned "
            f"{acting['last']:.6g} an episode in the last epoch, with exploration noise where "
            "the algorithm has it."
        )
    return [*lines, "A return in a simulator says nothing certain about the real system."]


def _checks(verification: dict) -> list[str]:
    lines = [
        "Each file was run beside the original. The error is the largest difference of an entry "
        f"of the action, as a share of its range; {verification['tolerance']:g} is allowed, and "
        "more only where float32 itself rounds the actions by more than a quarter of that.",
        f"Random states: {verification['random_states']}. "
        f"Logged states: {_cell(verification['logged_states'])}.",
        "",
        "| file | states | rows | largest error | allowed |",
        "|---|---|---|---|---|",
    ]
    for c in verification["checks"]:
        error, allowed = f"{c['largest_error']:.2g}", f"{c['allowed']:.2g}"
        lines.append(f"| {c['file']} | {c['states']} | {c['rows']:,} | {error} | {allowed} |")
    return lines


def _limits(contract: dict) -> list[str]:
    lines = [
        "- Far from the states of the log nothing is known about what it does; it does not say so.",
        "- It does not learn, remembers nothing, and explores nothing.",
        "- It must be called at the interval at which it was trained, with observations that are "
        "as old as they were then.",
        "- An observation that is not finite gives NaN as the action. Whoever calls it decides "
        "what happens then.",
        "- There are no interlocks, time-outs or alarms in it, and no fallback.",
    ]
    if not contract["inside"]["rate_limit"]:
        lines.append("- The change of the action from one step to the next is not limited.")
    return lines


def _origin(contract: dict) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in contract["versions"].items())
    return [f"Written by `{contract['command'].replace('`', '')}` with {versions}."]
