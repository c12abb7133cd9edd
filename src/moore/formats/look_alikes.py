"""Arrays whose names look like those of missing arrays; to ignore them could spoil the log.

A log without successors gets those of the next rows, and one without time-outs gets other ends.
Both are wrong, without any sign, if the rows were thinned, shuffled or cut at another limit.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

from moore.data.checks import shown
from moore.errors import InputError

_ALIKE = 0.8  # of difflib's ratio: a letter more or less
_ALIKE_NEXT = 0.9  # "observations" is not "next_observations"
_AFTER = ("next", "new", "succ", "after", "tp1", "prime", "follow", "post", "final")
_STATE = ("obs", "state", "observation", "feature")
# What other libraries and people call these arrays, without case and punctuation.
_OTHER_NAMES = {
    "obs": ("obs", "ob", "observation", "observations", "state", "states", "s", "x", "features"),
    "action": ("act", "acts", "action", "actions", "a", "u", "control", "controls", "input"),
    "reward": ("reward", "rewards", "rew", "rews", "r", "cost", "costs"),
    "terminated": ("terminal", "terminals", "terminated", "terminateds", "termination",
                   "terminations", "done", "dones", "end", "ends", "notdone", "notdones", "masks"),
    "truncated": ("truncated", "truncateds", "truncation", "truncations", "truncate", "trunc",
                  "timeout", "timeouts", "timedout", "timelimit", "timelimits",
                  "timelimittruncated", "done", "dones", "episodeend", "episodeends", "islast",
                  "last", "ends", "end", "dw"),
    "next_obs": ("s2", "sp", "snext", "nexts", "s1", "obs2", "observations2", "observation2",
                 "obs1", "state2", "states2", "xnext", "nextx", "successor", "successors", "nobs"),
    "successor_known": ("successorknown", "successorsknown", "knownsuccessor", "nextknown"),
}  # fmt: skip


def refuse_look_alikes(
    keys: Iterable[object], columns: Mapping[str, str], found: Collection[str], name: str
) -> None:
    """Raises InputError if an array may be one of the missing ones under another name.

    Args:
        keys: names in the file; bytes where they are no text.
        columns: by field of `Log`, the name that the format has for it.
        found: fields that were found.
        name: name of the log in the error.
    """
    absent = {field: key for field, key in columns.items() if field not in found}
    used = {key for field, key in columns.items() if field in found}
    for key in keys:
        if key in used:
            continue
        for field, wanted in absent.items():
            if may_mean(key, field, wanted):
                raise InputError(
                    f"{name}: no array {wanted}, but {shown(repr(key))}; expected this format's "
                    f"names: rename it to {wanted} if that is what it holds, else to what it is"
                )


def may_mean(key: object, field: str, wanted: str) -> bool:
    """Whether an array's name may stand for the field, which the format calls `wanted`."""
    if not isinstance(key, str):  # not UTF-8: damaged
        return True
    word, own = _plain(key), _plain(wanted)
    least = _ALIKE_NEXT if field == "next_obs" else _ALIKE
    if word == own or _ratio(word, own, least) >= least:
        return True
    if word in _OTHER_NAMES.get(field, ()):
        return True
    if field != "next_obs":
        return False
    is_state = any(part in word for part in _STATE)
    later = any(part in word for part in _AFTER) or key.endswith(("_", "'"))
    return is_state and later


def _ratio(word: str, own: str, least: float) -> float:
    """difflib's ratio, or 0 if the lengths alone keep it below `least`."""
    if 2 * min(len(word), len(own)) < least * (len(word) + len(own)):
        return 0.0
    return difflib.SequenceMatcher(None, word, own).ratio()


def suggestions(keys: Iterable[object], columns: Mapping[str, str], missing: Iterable[str]) -> str:
    """`rewards may be 'reward', actions may be 'act'`; empty if no name is near."""
    taken = set(columns.values())
    near = []
    for field in missing:
        wanted = columns[field]
        names = [k for k in keys if isinstance(k, str) and k not in taken]
        alike = [k for k in names if may_mean(k, field, wanted)]
        if alike:
            near.append(f"{wanted} may be {shown(repr(alike[0]))}")
    return ", ".join(near)


def _plain(key: str) -> str:
    return re.sub(r"[\W_]", "", key).lower()
