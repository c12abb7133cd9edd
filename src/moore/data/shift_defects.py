"""Defects of logs whose actions or rewards seem to belong to other rows."""

from moore.data.defect import Defect


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
        "own. Either the actions were logged one row late: then move that column. Or the "
        "controller answers to changes of the observations and the plant answers slowly: then log "
        "actions with more variation, or in longer steps."
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


SHIFT_DEFECTS = (
    Defect("shifted-actions", lambda s: s["action_rows"], _of_actions, in_run=True),
    Defect("shifted-rewards", lambda s: s["reward_rows"], _of_rewards, in_run=True),
    Defect(
        "returns-to-go",
        lambda s: s["returns_to_go"],
        "Rewards run down to one last reward in each episode, and their differences can be "
        "foretold much better than they can. They may be returns to go, the sums of all rewards "
        "that follow. If they are, log the difference to the next row, which is the reward.",
        in_run=True,
    ),
)
