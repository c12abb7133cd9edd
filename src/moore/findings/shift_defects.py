"""Defects of logs whose columns seem to belong to other rows, or to be in other forms."""

from moore.findings.defect import Defect


def _rows(count: int) -> str:
    return "one row" if abs(count) == 1 else f"{abs(count)} rows"


def _of_actions(s: dict) -> str:
    rows = s["action_rows"]
    if rows > 0:
        return (
            f"What an action does shows {_rows(rows)} after its own row, and hardly in it. Either "
            "the plant has a dead time, or its observations lag: then let the observation hold "
            f"the {'action' if rows == 1 else f'{rows} actions'} before. Or the actions were "
            f"logged {_rows(rows)} early: then move that column."
        )
    return (
        "The step from a row to the next is told by the action of the next row, and hardly by its "
        "own. Either the actions were logged one row late: then move that column. Or all rows "
        "run backwards in time, which looks the same: then sort them. Or the controller answers to "
        "changes of the observations and the plant answers slowly: then log actions with more "
        "variation, or in longer steps."
    )


def _of_rewards(s: dict) -> str:
    late = s["reward_rows"] < 0
    before, move = ("before", "late") if late else ("after", "early")
    remedy = ' (in a table: reward_of = "next")' if late else ""
    return (
        f"Rewards are foretold by the row {before} their own, and much worse by their own. Either "
        f"they were logged one row {move}: then move that column{remedy}. Or what they measure "
        f"{'arrives' if late else 'shows in the observations'} a row later: then observe what they "
        "depend on."
    )


def _of_totals(s: dict) -> str:
    if s["running_totals"]:
        return (
            "In every episode the rewards only ever grow away from zero, as running totals do. If "
            "they are totals since the episode began, log the differences."
        )
    return (
        "Only the changes of the rewards from row to row can be foretold, as those of running "
        "totals can. If the rewards are totals, log the differences; if not, observe what they "
        "depend on."
    )


def _idle(s: dict) -> bool:
    """Whether actions show no effect, and nothing else that is told explains it."""
    elsewhere = s["shuffled"] or "shuffled" in s["unflagged_ends"] or s["misplaced"]
    return bool(s["idle_actions"] and not (elsewhere or s["action_rows"] or s["two_laws"]))


SHIFT_DEFECTS = (
    Defect(
        "idle-actions",
        _idle,
        lambda s: (
            "What happens in a row has nothing to do with its action, nor with those of the rows "
            "before"
            + (", and actions nothing with observations" if s["idle_actions"] > 1 else "")
            + ". They may be those of other episodes, or in another order than the rows: then "
            "models and policies would learn nothing of them. If they are right, the plant "
            "hardly answers: log longer steps, or actions with more variation."
        ),
        level=lambda s: "ruins" if s["idle_actions"] > 1 else "note",
        in_run=True,
    ),
    Defect(
        "known-too-early",
        lambda s: s["known_too_early"],
        "Observation dimensions show what seems to be known only later: {known_too_early}. If a "
        "live system cannot show it, a policy that goes by it fails there: leave them out.",
        in_run=True,
    ),
    Defect(
        "idle-rewards",
        lambda s: s["idle_rewards"] and not (s["shuffled"] or s["misplaced"]),
        "Neither a row nor the one before or after tells anything of its reward. Rewards may be in "
        "another order than the rows: then nothing can be learned from them. If they are right, "
        "they are nearly all noise, or depend on what is not observed: observe that.",
        in_run=True,
    ),
    Defect(
        "choices-as-actions",
        lambda s: s["choices"],
        "Each action is {choices}, as choices are written. A policy gives numbers in between, too, "
        "which the log never shows. If the plant takes only these, let it take the nearest one; "
        "choices without an order are no actions of this package.",
        in_run=True,
    ),
    Defect(
        "standardised-episodes",
        lambda s: s["standardised"],
        "Observation dimensions {standardised} have mean 0 and deviation 1 in every episode, as if "
        "each had been standardised by itself. That uses what is only known when the episode is "
        "over, so a live system cannot show it. Log the readings as they are (--standardise-obs "
        "standardises them by the whole log).",
        level="ruins",
        in_run=True,
    ),
    Defect("shifted-actions", lambda s: s["action_rows"], _of_actions, in_run=True),
    Defect(
        "late-observations",
        lambda s: s["late_columns"] and not s["shuffled"] and not s["misplaced"],
        "Some observation entries seem to stand in another row than all others: {late_columns}. "
        "The row before tells of the next observation what a row itself lacks, and it would not if "
        "they were moved. Either they were logged so: then move these columns, or a policy would "
        "act on what it is never shown in time. Or that is how the plant and its sensors are, live "
        "too: then let the observation hold the readings of the row before.",
        in_run=True,
    ),
    Defect(
        "rows-left-out",
        lambda s: s["left_out"],
        "Again and again a step is as long as several of the others: {left_out}. The next row is "
        "taken for the successor there, so models would learn another system. Give the table its "
        "time column, then gaps are found by it, or log every row; if only some rows should be "
        "kept, keep them evenly.",
        in_run=True,
    ),
    Defect(
        "wrapped-actions",
        lambda s: s["wrapped_actions"],
        "Action dimensions {wrapped_actions} fill an integer type from end to end, and near its "
        "ends the steps are those of actions beyond the other end, as where numbers overflow (130 "
        "is -126 in eight bits). Store the actions in a wider type.",
        in_run=True,
    ),
    Defect(
        "clipped-rewards",
        lambda s: s["clipped_rewards"] and not s["two_laws"],
        "Rewards seem to be clipped in a part of the log: {clipped_rewards}, and those of others "
        "go beyond. Log the reward that was earned, or clip it alike everywhere.",
        in_run=True,
    ),
    Defect("shifted-rewards", lambda s: s["reward_rows"], _of_rewards, in_run=True),
    Defect(
        "returns-to-go",
        lambda s: s["returns_to_go"] or s["discounted_to_go"],
        "Rewards run down to one last reward in each episode, and their differences can be "
        "foretold much better than they can. They may be returns to go, the sums of all rewards "
        "that follow. If they are, log the difference to the next row (discounted, if they are), "
        "which is the reward.",
        in_run=True,
    ),
    Defect(
        "running-totals",
        lambda s: s["running_totals"] or s["totals"],
        _of_totals,
        in_run=True,
    ),
    Defect(
        "one-return",
        lambda s: s["one_return"],
        "The reward is the same in all rows of an episode, or 0 in all but its first row, and "
        "another one in other episodes, as where the return of the episode stands in each of its "
        "rows, or in the first. Then it counts once a row, or for an action that did not earn it: "
        "log what each row earned.",
        in_run=True,
    ),
)
