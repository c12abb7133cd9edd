"""What is printed for people: nothing that a file holds moves the cursor or paints the screen."""

import re

# Control characters but for tab and line feed, signs that turn the direction of writing, and halves
# of signs, as undecodable file names have them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """The text with a question mark for every sign that a terminal might obey."""
    return _UNPRINTABLE.sub("?", text)


def show(text: str) -> None:
    """Prints text for people, names and attributes from files in it."""
    print(plain(text))
