"""A client of `moore serve` in one file, which needs Python's standard library alone.

Copy it to where it is needed. The protocol is described in docs/serve.md.

    with Client("http://127.0.0.1:8702") as plant:
        action = plant.act([20.5, 3.0])
        plant.observe(reward=1.0, next_obs=[20.7, 3.1])
"""

import http.client
import json
import math
import os
import struct
import time
import uuid
from typing import Any
from urllib.parse import urlencode, urlsplit

F32 = "application/vnd.moore.f32"


class ServerError(Exception):
    """The server has refused a request; nothing was changed.

    Attributes:
        status: status of HTTP.
        code: short name of the reason, which stays the same.
    """

    def __init__(self, status: int, code: str, message: str):
        super().__init__(f"{message} ({code})")
        self.status, self.code = status, code


class Client:
    """A session on a server, with the calls of `moore.Session`.

    Numbers may be lists or arrays; actions come back as lists. A number that is not finite, or
    None in a list, is a bad reading. If an answer is lost, the request is sent once more with the
    same id, and the server does nothing twice. Calls come from one thread.
    """

    def __init__(self, address: str, *, token: str | None = None, timeout: float = 5.0):
        """Connects with the first call.

        Args:
            address: what `moore serve` has printed, such as http://127.0.0.1:8702.
            token: the token of the server; by default the variable MOORE_TOKEN, if it is set.
            timeout: seconds that an answer may take.
        """
        parts = urlsplit(address)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise ValueError(f"{address} is no address such as http://127.0.0.1:8702")
        self._connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout)
        token = os.environ.get("MOORE_TOKEN") if token is None else token
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._ids, self._number = uuid.uuid4().hex, 0

    def act(self, obs: Any, *, unit: Any = None, observed_at: float | None = None) -> list:
        """The action for an observation, or a list of them for a matrix, a row for each unit.

        `observed_at`: when it was measured, in seconds of the server's clock.
        """
        return self._json("act", obs=obs, unit=unit, observed_at=observed_at)["action"]

    def act_binary(self, obs: Any, *, unit: Any = None) -> list[float]:
        """The action for an observation, sent as bare float32 numbers: short, and quick to read."""
        query = "" if unit is None else "?" + urlencode({"unit": unit})
        values = [math.nan if x is None else x for x in _plain(obs)]
        body = struct.pack(f"<{len(values)}f", *values)
        answer = self._post("act" + query, body, F32)
        return list(struct.unpack(f"<{len(answer) // 4}f", answer))

    def observe(
        self,
        *,
        reward: Any = None,
        next_obs: Any = None,
        terminated: Any = False,
        truncated: Any = False,
        signals: Any = None,
        unit: Any = None,
    ) -> Any:
        """Tells what came of the newest action; returns the number of the step."""
        told = {"reward": _measured(reward), "next_obs": next_obs, "unit": unit, "signals": signals}
        return self._json("observe", terminated=terminated, truncated=truncated, **told)["step"]

    def reward(self, step: int, reward: float) -> None:
        """Tells a reward that comes late."""
        self._json("reward", step=step, reward=_measured(reward))

    def gap(self, *, unit: Any = None) -> None:
        """Tells that the unit's next step does not follow its last one."""
        self._json("gap", unit=unit)

    def observe_episode(self, obs: Any, action: Any, reward: Any, **more: Any) -> list[int]:
        """Gives an episode in which somebody else acted; returns the numbers of its steps.

        `more`: terminated, truncated, policy, log_density, unit, as for `moore.Session`.
        """
        told = {"obs": obs, "action": action, "reward": _measured(reward)}
        return self._json("episode", **told, **more)["step"]

    def add_rows(self, obs: Any, action: Any, reward: Any, terminated: Any, **more: Any) -> int:
        """Gives the rows of a log; returns their number. `more`: truncated, next_obs, unit."""
        told = {"obs": obs, "action": action, "reward": reward, "terminated": terminated}
        return self._json("log", **told, **more)["steps"]

    def learn(
        self, *, updates: int | None = None, seconds: float | None = None, wait: bool = True
    ) -> int:
        """Lets the server learn; other clients may act meanwhile.

        Args:
            updates: number of updates.
            seconds: time that it may take; with neither, what is due is done.
            wait: return when it has ended.

        Returns:
            The number of updates that were made until it returns.
        """
        before = self.status()["updates"]
        self._json("learn", updates=updates, seconds=seconds)
        while wait and self.status()["learning"]["wanted"]:
            time.sleep(0.05)
        status = self.status()
        if status["learning"]["failed"]:
            raise ServerError(409, "learning_failed", "Learning was ended by an error.")
        return status["updates"] - before

    def save(self) -> None:
        """Saves what was learned."""
        self._json("save")

    def set_mode(self, mode: str) -> None:
        """Says from the next action on how far the new policy is trusted.

        `mode`: "off", "shadow", "canary" or "on"; "off" gives back to the old controller at once.
        """
        self._json("mode", mode=mode)

    def trust_again(self) -> None:
        """Acknowledges an alarm of the guard: the new policy may act again."""
        self._json("trust")

    @property
    def mode(self) -> str | None:
        """The mode; None without a controller that ran before."""
        return self.status()["mode"]

    @property
    def standing(self) -> dict[Any, dict[str, Any]]:
        """For each unit who acted last, why, and all else that `status` tells of it."""
        units = [one for one in self.status()["units"] if "actor" in one]
        return {one.pop("unit"): one for one in units}

    def status(self) -> dict[str, Any]:
        """How the session stands."""
        return json.loads(self._send("GET", "status", None, {}))

    @property
    def due(self) -> int:
        """Number of updates that the schedule asks for and that were not made."""
        return self.status()["due"]

    def close(self) -> None:
        """Ends the connection; the session goes on."""
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _json(self, call: str, **entries: Any) -> dict[str, Any]:
        told = {name: _finite(_plain(x)) for name, x in entries.items() if x is not None}
        return json.loads(self._post(call, json.dumps(told).encode(), "application/json"))

    def _post(self, call: str, body: bytes, kind: str) -> bytes:
        self._number += 1
        identity = f"{self._ids}-{self._number}"
        return self._send("POST", call, body, {"Content-Type": kind, "Request-Id": identity})

    def _send(self, method: str, call: str, body: bytes | None, headers: dict) -> bytes:
        for again in (False, True):
            try:
                self._connection.request(method, f"/v1/{call}", body, headers | self._headers)
                answer = self._connection.getresponse()
                content = answer.read()
                break
            except (OSError, http.client.HTTPException):
                self._connection.close()  # the next request connects again
                if again:
                    raise
        if answer.status < 300:
            return content
        try:
            error = json.loads(content)["error"]
            raise ServerError(answer.status, error["code"], error["message"])
        except (ValueError, KeyError, TypeError):
            raise ServerError(answer.status, "unknown", answer.reason) from None


def _plain(value: Any) -> Any:
    """Lists and numbers of arrays."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _finite(value: Any) -> Any:
    """The value with null in place of numbers that are not finite, which JSON does not have."""
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _measured(reward: Any) -> Any:
    """A reward that is not finite was not measured; one that is None comes later."""
    reward = _plain(reward)
    if isinstance(reward, list):
        return [_measured(one) for one in reward]
    lost = isinstance(reward, float) and not math.isfinite(reward)
    return "not measured" if lost else reward
