"""What tyro says of wrong flags, as sentences like all others of the command line."""

import re
from collections.abc import Mapping, Sequence

from moore.errors import did_you_mean

_BOX = re.compile(r"[╭╮╰╯─│]|^[|+]|[|+]$|-{4,}", re.MULTILINE)
_EXPECTED = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path", "STR": "a text"}


def plain(text: str, given: Mapping[str, Sequence[str]], command: str) -> str:
    """One line that says which flag is wrong, and what is expected.

    Args:
        text: tyro's, in its box.
        given: the flags of the command line, with their values.
        command: such as "moore run".
    """
    text = " ".join(_BOX.sub(" ", text).split())
    for pattern, sentence in _SENTENCES.items():
        if match := re.search(pattern, text):
            return f"{sentence(match, given)} {command} --help says more."
    return text


def _unknown(match: re.Match, given: Mapping[str, Sequence[str]]) -> str:
    names = match[1].split(", ")
    flag = next((name for name in names if name.startswith("-")), None)
    if flag is None:
        return f"'{names[0]}' is one word too many here."
    near = re.search(r"Perhaps you meant: (--[\w.-]+)", match.string)
    return f"there is no flag {flag}" + (f"; did you mean {near[1]}?" if near else ".")


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
    r"Unrecognized options: (.+?)(?= Perhaps you meant| For full helptext|$)": _unknown,
    r"Error parsing (--[\w.-]+):.*?(?:Argument helptext: \S+ (\S+)|$)": _wrong,
    r"invalid choice '(.*?)' for argument '(--[\w.-]+)'. Expected one of (\(.*?\))": _not_a_choice,
    r"Missing value for argument '(--[\w.-]+)'": _without_value,
    r"Required options Missing from (.*\(required\))": _missing,
}
