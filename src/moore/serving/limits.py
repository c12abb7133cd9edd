"""How much one client may ask of the server."""

import time
from collections import OrderedDict
from dataclasses import dataclass, fields

from moore.errors import InputError

_CLIENTS = 1024  # whose rates are remembered


@dataclass(frozen=True)
class ServerLimits:
    """Limits of the server.

    Attributes:
        body: bytes of a request's body.
        rate: requests per second of one address, and how many may come at once.
        units: ids of units that a session may have.
        rows: rows of one block of steps.
        connections: open connections.
        arrival: seconds within which a request must have arrived.
        patience: seconds that a request waits for its turn.
    """

    body: int = 1_000_000
    rate: float = 1000.0
    units: int = 64
    rows: int = 10_000
    connections: int = 64
    arrival: float = 10.0
    patience: float = 1.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < 1e12:
                raise InputError(f"the limit of {field.name} is {value}; expected more than 0.")


class Rates:
    """Counts the requests of each address: a full second of them may come at once."""

    def __init__(self, rate: float):
        self._rate = rate
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, client: str, now: float | None = None) -> bool:
        """Whether one more request of this address is within its rate."""
        now = time.monotonic() if now is None else now
        most = max(self._rate, 1.0)
        left, then = self._left.pop(client, (most, now))
        left = min(left + (now - then) * self._rate, most)
        allowed = left >= 1.0
        self._left[client] = (left - allowed, now)
        if len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return allowed
