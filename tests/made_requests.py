"""Requests that nobody should send, made up at random."""

import json

from moore.serving.forms import F32, JSON


def made_up(rng):
    """A request with one or more parts that are wrong, and sometimes none."""
    call = rng.choice([*_NEEDED, "status"])
    method = "GET" if call == "status" else "POST"
    path, query, headers = f"/v1/{call}", "", {"content-type": JSON}
    body = rng.choice([_json, _right, _right, _bytes, _cut])(rng, call)
    what = rng.randrange(12)
    if what == 0:
        path = rng.choice(["/", "/v1", "/v2/act", "/v1/act%00", "/v1/" + "x" * 999, "", "//v1/act"])
    elif what == 1:
        method = rng.choice(["GET", "PUT", "HEAD", "OPTIONS", "X" * 99])
    elif what == 2:
        headers["content-type"] = rng.choice(["", "text/plain", "application/x-pickle", "\xff"])
    elif what == 3:
        headers[rng.choice(["host", "origin"])] = rng.choice(["[", "evil", "a" * 999, "[::1", "@"])
    elif what == 4:
        headers["request-id"] = rng.choice(["", " ", "\xe9", "x" * 65, "ok", "ok2"])
    elif what == 5:
        headers["content-length"] = rng.choice(["-1", "x", "9" * 30, "\xb2", "2001", ""])
    elif what <= 8:
        headers["content-type"] = F32
        query = rng.choice(["", "", "unit=1", "unit=a&unit=b", "late=1", "late=x", "%ff=%", "&&=&"])
        body = rng.randbytes(4 * rng.randrange(8) + rng.choice([0, 0, 1]))
    elif what == 9:
        body = b" " * 2001
    elif what == 10:
        query = rng.choice(["obs=1", "=", "&" * 99, "unit=" + "9" * 99])
    return method, path, body, query, headers


# Calls, and what they need.
_NEEDED = {
    "act": ("obs",), "observe": ("reward", "next_obs"), "reward": ("step", "reward"), "gap": (),
    "episode": ("obs", "action", "reward"), "log": ("obs", "action", "reward", "terminated"),
    "learn": ("updates",), "mode": ("mode",), "trust": (),
}  # fmt: skip
_NAMES = (
    "obs", "action", "reward", "next_obs", "terminated", "truncated", "unit", "step", "policy",
    "log_density", "updates", "seconds", "path", "__class__", "mode", "signals", "observed_at",
)  # fmt: skip


def _json(rng, call):
    """An object with some of the names, and values of any kind."""
    names = rng.sample(_NAMES, rng.randrange(len(_NAMES)))
    return json.dumps({name: _value(rng, 3) for name in names}).encode()


def _right(rng, call):
    """What is right for most calls, if it is their turn."""
    entries = {"obs": [0.5], "next_obs": [0.25], "reward": 1.0, "action": [[0.0]], "updates": 1}
    entries |= {"step": rng.randrange(5), "unit": rng.choice([0, "a"]), "terminated": True}
    entries |= {"mode": rng.choice(["off", "shadow", "on", "canary", "On", ""])}
    names = (*_NEEDED.get(call, ()), *rng.sample(["unit", "terminated"], rng.randrange(2)))
    return json.dumps({name: entries[name] for name in names}).encode()


def _value(rng, depth):
    plain = [None, True, 0, 1, -1, 0.5, 1e308, 10**30, 2**63, "", "a", "\ud800", "\0", "../x", {}]
    if depth and rng.random() < 0.5:
        return [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return rng.choice(plain)


def _bytes(rng, call):
    return rng.randbytes(rng.randrange(40))


def _cut(rng, call):
    text = json.dumps({"obs": [0.5], "reward": 1.0})
    place = rng.randrange(len(text))
    return (text[:place] + rng.choice(["", "\\", "]", "NaN", "1e999"]) + text[place + 1 :]).encode()
