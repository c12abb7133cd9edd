"""What can be wrong with the ends of a log's episodes: their flags, limits and successors."""

from moore.data.cuts import ends_text
from moore.findings.defect import Defect, first

_FEW = 10  # rows say nothing


def _unflagged(s: dict) -> str:
    ((sign, count),) = s["unflagged_ends"].items()
    if sign == "said":
        return (
            f"A column that is not in the map tells {count:,} ends inside episodes, and the next "
            "rows are taken for the successors there. Name it in the map (as episode, terminal or "
            "timeout), or accept this if the process goes on over them."
        )
    where = {
        "every": f"after every {count:,} steps",
        "early": f"one row after {count:,} of the flagged ends",
        "late": f"one row before {count:,} of the flagged ends",
        "jumps": f"in {count:,} rows",
    }[sign]
    return (
        f"Inside episodes the observations jump {where} as they do nowhere else, and the next rows "
        "are taken for the successors. The ends of episodes seem not to be flagged. Flag them, or "
        "store next_obs."
    )


def _after_ends(s: dict) -> str:
    if s["alike_resets"]:
        return (
            "In rows that end an episode next_obs lies where episodes begin, and no step leads "
            "there, as if the system had reset itself."
        )
    row = s["first_rows"]["reset_successors"]
    return (
        f"{s['reset_successors']:,} rows that end an episode (first: row {row}) have the first obs "
        "of the next one as next_obs."
    )


def _few_agree(s: dict) -> bool:
    """The rule and the flags disagree on more than a tenth of the ends that either sees."""
    wrong = s["flagged_healthy"] + s["unhealthy_unflagged"]
    return wrong > max(3, 0.1 * (s["terminals"] + s["unhealthy_unflagged"]))


def _mostly_ends(s: dict) -> bool:
    return s["terminals"] + s["timeouts"] > 0.5 * s["rows"] and s["rows"] >= _FEW


EPISODE_DEFECTS = (
    Defect(
        "ends-in-most-rows",
        _mostly_ends,
        "Of {rows:,} rows, {terminals:,} are flagged terminal and {timeouts:,} timed out, so that "
        "most episodes have one step. If the flags say that the episode goes on (masks), invert "
        "them; if the array holds something else, name the right one.",
        level="ruins",
        in_run=True,
    ),
    Defect(
        "flags-stay-set",
        lambda s: s["staying_flags"] and not _mostly_ends(s),
        "{staying_flags:,} episodes of one step directly follow longer ones, as where a flag stays "
        "set after the end, such as an alarm. Each counts as an episode, so returns and their mean "
        "are wrong, and steps of a system that waits are learned from as ends. Set the flag in the "
        "last row of an episode only, and leave out the rows until the next one begins.",
        level="ruins",
        in_run=True,
    ),
    Defect(
        "shuffled-rows",
        lambda s: (s["shuffled"] or "shuffled" in s["unflagged_ends"]) and not s["misplaced"],
        lambda s: (
            "Rows are followed by others that have nothing to do with them, as if they were "
            "shuffled, so episodes, their returns and their first states mean nothing"
            + ("" if s["shuffled"] else ", nor do successors, which are taken from the next rows")
            + ". Put the rows in the order of time."
        ),
        level=lambda s: "note" if s["shuffled"] else "ruins",
        in_run=True,
    ),
    Defect(
        "padded-successors",
        lambda s: s["padded_successors"],
        f"{{padded_successors:,}} of {{known_ends:,}} ends {first('padded_successors')} of "
        "episodes have {padded_as} as next_obs in place of the next state, so models and a learned "
        "termination rule would be fitted to it. Store the observation after the last action, or "
        "leave next_obs out (then the models are fitted without these rows).",
        level=lambda s: "ruins" if s["padded_surely"] else "note",
        in_run=True,
    ),
    Defect(
        "both-flags",
        lambda s: s["both_flags"],
        "{both_flags:,} rows are flagged both terminal and timed out. They count as terminal, so "
        "no value is expected after them. Clear the terminal flag where only the time was up.",
    ),
    Defect(
        "no-timeouts",
        lambda s: not s["timeouts_recorded"],
        lambda s: (
            f"No time-out flags are recorded: {ends_text(s['ends_source'], s['ends_steps'])}, "
            f"{s['timeouts']:,} of them. Where that is wrong, two episodes run into one another. "
            "Record the flags, or use a file that has them (D4RL v2)."
        ),
        in_run=True,
    ),
    Defect(
        "unflagged-ends",
        lambda s: s["unflagged_ends"] and "shuffled" not in s["unflagged_ends"],
        _unflagged,
        level="ruins",
        in_run=True,
    ),
    Defect(
        "timeouts-as-terminals",
        lambda s: s["timed_terminals"],
        "{timed_terminals:,} of {terminals:,} terminal rows come after exactly {timed_length:,} "
        "steps, the longest episode, in states like all others. These are time-outs; as terminals "
        "they teach that nothing can be earned after them. Move them to the time-out flags.",
        level=lambda s: "ruins" if s["timed_share"] >= 0.5 else "note",
        in_run=True,
    ),
    Defect(
        "terminals-like-others",
        lambda s: s["terminals_alike"],
        "Nearly all ends are flagged terminal, and neither states nor rewards tell the "
        "{terminals:,} terminal rows from others. If recordings were cut there, move the flags to "
        "the time-out flags: as terminals they teach that nothing can be earned after them. If the "
        "system ended itself, observe what it ended by.",
        in_run=True,
    ),
    Defect(
        "other-limit",
        lambda s: (
            s["ends_source"] not in (None, "successors")
            and s["step_limit"] not in (None, s["ends_steps"])
        ),
        "The log has no time-out flags and was cut after {ends_steps:,} steps, but {checked_as} "
        "has a limit of {step_limit:,}. Load it with max_episode_steps={step_limit}, or flag the "
        "last row of each episode.",
        level=lambda s: (
            "ruins" if s["timeouts"] or s["longest_episode"] > s["step_limit"] else "note"
        ),
        in_run=True,
    ),
    Defect(
        "past-limit",
        lambda s: s["episodes_past_limit"] and s["timeouts_recorded"],
        "{episodes_past_limit:,} episodes run on past the {step_limit} steps of {checked_as} (the "
        "longest: {longest_episode:,}). Time-out flags are missing, or the limit was another. Flag "
        "the last row of each episode.",
        in_run=True,
    ),
    Defect(
        "early-timeouts",
        lambda s: s["early_timeouts"],
        "{early_timeouts:,} time-outs come before the {step_limit} steps of {checked_as} (the "
        "earliest after {shortest_timeout}). That is right where the recording was cut. Where the "
        "environment ended the episode, flag the row terminal.",
    ),
    Defect(
        "flagged-healthy",
        lambda s: s["flagged_healthy"],
        f"{{flagged_healthy:,}} terminal rows {first('flagged_healthy')} have a next state in "
        "which {checked_as} does not end. The flags may be those of time-outs or of another "
        "environment. Move them to the time-out flags, or give the rule with --termination.",
        level=lambda s: "refused" if _few_agree(s) else "note",
    ),
    Defect(
        "unhealthy-unflagged",
        lambda s: s["unhealthy_unflagged"],
        f"{{unhealthy_unflagged:,}} rows {first('unhealthy_unflagged')} go on after a state that "
        "ends {checked_as}. Terminal flags are missing, or the limits were others. Set the flags, "
        "or give the rule with --termination.",
        level=lambda s: "refused" if _few_agree(s) else "note",
    ),
    Defect(
        "unknown-successors",
        lambda s: s["unknown_successors"] > s["lost_successors"],
        "{unknown_successors:,} terminal rows have no successor in the file, so the models are "
        "fitted without them. Prefer a file with next_observations (D4RL v2).",
    ),
    Defect(
        "misplaced-successors",
        lambda s: s["misplaced"],
        "Inside episodes next_obs is {misplaced}, not the next row's obs, so the models would "
        "learn another system. Store the observation after each action as obs is stored, or leave "
        "next_obs out if every row is followed by the next.",
        level="ruins",
        in_run=True,
    ),
    Defect(
        "broken-successors",
        lambda s: s["broken_successors"] and not s["shuffled"] and not s["misplaced"],
        f"{{broken_successors:,}} rows inside an episode {first('broken_successors')} have a "
        "next_obs that is not the next row's obs. If an episode ends there, add time-out flags: "
        "else the log's returns are of other episodes, with which a policy is compared. It is "
        "harmless if rows were left out; otherwise next_obs is wrong: write the true successors.",
        in_run=True,
    ),
    Defect(
        "reset-successors",
        lambda s: s["reset_successors"] or s["alike_resets"],
        lambda s: (
            _after_ends(s)
            + " Unless the system went on without a reset, store the observation before it "
            "(final_obs in Gymnasium's vector environments), or leave next_obs out."
        ),
        level=lambda s: "ruins" if s["far_resets"] > 0.1 * s["known_ends"] else "note",
        in_run=True,
    ),
    Defect(
        "unchanged-successors",
        lambda s: s["unchanged_successors"] > 0.01 * s["rows"],
        f"{{unchanged_successors:,}} rows {first('unchanged_successors')} have their own obs as "
        "next_obs. The state is stored twice, or a sensor holds its value. Store the observation "
        "after the action.",
        level=lambda s: "ruins" if s["unchanged_successors"] > 0.9 * s["rows"] else "note",
        in_run=True,
    ),
)
