"""Answers, and the newest of them by their request's id, so that a request can be repeated."""

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moore.serving.forms import F32, JSON, U32
from moore.serving.refusal import Refusal

_KEPT = 1024
_LONGEST_KEPT = 100_000  # bytes


@dataclass(frozen=True)
class HttpAnswer:
    """What the client gets.

    Attributes:
        status: status of HTTP.
        kind: type of the content.
        headers: further headers.
    """

    body: bytes
    status: int = 200
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def answer_in_json(content: dict[str, Any], status: int = 200) -> HttpAnswer:
    """An answer in JSON."""
    return HttpAnswer(json.dumps(content, default=np.ndarray.tolist).encode(), status)


def answer_in_numbers(content: dict[str, Any]) -> HttpAnswer:
    """An answer in binary: the action as float32, or numbers of steps as whole numbers."""
    if "action" in content:
        return HttpAnswer(np.asarray(content["action"], "<f4").tobytes(), kind=F32)
    return HttpAnswer(np.asarray(content["step"], "<u4").tobytes(), kind=U32)


def answer_of(refusal: Refusal) -> HttpAnswer:
    """The answer to a request that is refused."""
    error = {"code": refusal.code, "message": str(refusal)}
    headers = {name.replace("_", "-"): value for name, value in refusal.headers.items()}
    return HttpAnswer(json.dumps({"error": error}).encode(), refusal.status, headers=headers)


class Answered:
    """The newest answers of requests that had an id.

    A client whose answer was lost sends the request again with its id, and gets the same answer;
    nothing is done twice. Refused requests are not kept, because they changed nothing.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[bytes, HttpAnswer]] = OrderedDict()

    def find(self, name: str | None, request: bytes) -> HttpAnswer | None:
        """The answer that the request with this id had.

        Raises:
            Refusal: the id was another request's.
        """
        if name is None or name not in self._kept:
            return None
        seal, answer = self._kept[name]
        if seal != hashlib.sha256(request).digest():
            sentence = "Another request had this id; give each request an id of its own."
            raise Refusal(409, "id_used", sentence)
        return answer

    def keep(self, name: str | None, request: bytes, answer: HttpAnswer) -> None:
        """Keeps an answer, and drops the oldest."""
        if name is None or len(answer.body) > _LONGEST_KEPT:
            return
        self._kept[name] = hashlib.sha256(request).digest(), answer
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
