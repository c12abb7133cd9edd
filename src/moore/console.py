"""Printing for people; text from files cannot move the cursor or colour the screen."""

import re

# Control characters but for tab and line feed, signs that turn the direction of writing, and halves
# of signs, as undecodable file names have them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """The text with a question mark for every character that could control a terminal."""
    return _UNPRINTABLE.sub("?", text)


def show(text: str) -> None:
    """Prints text for people, in which names and attributes from files may stand."""
    print(plain(text))
