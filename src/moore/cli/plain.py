"""What tyro says of wrong flags, as sentences like all others of the command line."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from moore.cli.meant import no_such_flag
from moore.errors import did_you_mean

_BOX = re.compile(r"[╭╮╰╯─│]|^[|+]|[|+]$|-{4,}", re.MULTILINE)
_UNRECOGNISED = r"Unrecognized options: (.+?)(?= Perhaps you meant| For full helptext|$)"
_EXPECTED = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path", "STR": "a text"}


def plain(
    text: str, given: Mapping[str, Sequence[str]], command: str, known: Mapping[str, Any]
) -> str:
    """One line that says which flag is wrong, and what is expected.

    Args:
        text: tyro's, in its box.
        given: the flags of the command line, with their values.
        command: such as "moore run".
        known: the flags that the command has, without hyphens, with the types of their values.
    """
    text = " ".join(_BOX.sub(" ", text).split())
    if match := re.search(_UNRECOGNISED, text):
        said = _unknown(match[1].split(", "), given, command.split()[1], known)
        return f"{said} {command} --help says more."
    for pattern, sentence in _SENTENCES.items():
        if match := re.search(pattern, text):
            return f"{sentence(match, given)} {command} --help says more."
    return text


def _unknown(
    words: list[str], given: Mapping[str, Sequence[str]], command: str, known: Mapping[str, Any]
) -> str:
    flag = next((word for word in words if word.startswith("-")), None)
    if flag is not None:
        return no_such_flag(flag, command, known)
    before = next((name for name, values in given.items() if words[0] in values), None)
    if before is None:
        return f"'{words[0]}' is one word too many here."
    if known.get(before.removeprefix("--")) is bool:
        section, point, last = before.removeprefix("--").rpartition(".")
        return f"{before} takes no value; --{section}{point}no-{last} turns it off."
    return f"'{words[0]}' is one word too many after {before}."


def _wrong(match: re.Match, given: Mapping[str, Sequence[str]]) -> str:
    flag, kinds = match[1], (match[2] or "").split("|")
    known = [word.replace("{None}", "None").strip("[]") for word in kinds if word]
    expected = " or ".join(_EXPECTED.get(word, word) for word in reversed(known))
    return f"{flag} is '{' '.join(given.get(flag, ()))}'; it must be {expected}."


def _not_a_choice(match: re.Match, given: Mapping[str, Sequence[str]]) -> str:
    choices = re.findall(r"'([^']*)'", match[3])
    near = did_you_mean(match[1], choices)
    it = f"{near} It" if near else "; it"
    return f"{match[2]} is '{match[1]}'{it} must be one of {', '.join(choices)}."


def _without_value(match: re.Match, given: Mapping[str, Sequence[str]]) -> str:
    return f"{match[1]} needs a value."


def _missing(match: re.Match, given: Mapping[str, Sequence[str]]) -> str:
    parts = match[1].split("(required)")[:-1]
    flags = [found[0] for part in parts if (found := re.search(r"--[\w.-]+", part))]
    return f"the flags {', '.join(flags)} are needed." if flags[1:] else f"{flags[0]} is needed."


_SENTENCES = {
    r"Error parsing (--[\w.-]+):.*?(?:Argument helptext: \S+ (\S+)|$)": _wrong,
    r"invalid choice '(.*?)' for argument '(--[\w.-]+)'. Expected one of (\(.*?\))": _not_a_choice,
    r"Missing value for argument '(--[\w.-]+)'": _without_value,
    r"Required options Missing from (.*\(required\))": _missing,
}
