"""Why a request is refused: a status, a code that stays the same, and a sentence."""

from moore.data.checks import shown
from moore.errors import InputError, TurnError, WriteError


class Refusal(Exception):
    """A request that is refused; nothing was changed.

    Attributes:
        status: status of HTTP.
        code: short name that programs may rely on; docs/serve.md lists all of them.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, code: str, sentence: str, **headers: str):
        super().__init__(shown(sentence))
        self.status, self.code, self.headers = status, code, headers


def refusal_of(error: InputError) -> Refusal:
    """What a session's error means for the client, without names of files."""
    if isinstance(error, WriteError):
        sentence = "The disk of the server refuses to write; nothing was used, so repeat the call."
        return Refusal(507, "not_written", sentence)
    if isinstance(error, TurnError):
        return Refusal(409, "out_of_turn", str(error))
    return Refusal(422, "invalid", str(error))
