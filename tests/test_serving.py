"""A session over HTTP: the same calls and actions, and no request that does more than it may."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from moore import Session, serving
from moore.cli import main
from moore.errors import InputError
from moore.serving.app import App
from moore.serving.calls import CALLS
from moore.serving.client import Client, ServerError
from moore.serving.desk import Desk
from moore.serving.forms import F32, JSON
from moore.serving.lessons import Lessons
from moore.serving.limits import Limits, Rates
from moore.serving.server import address_of, check_token, listen, open_session, serve
from moore.stages.learner import Learner

OBS = [0.5]
TOKEN = "a-token-of-the-tests"


class Served:
    """A server without sockets: requests go to its application, one after the other."""

    def __init__(self, session, *, limits=None, token=None, between=False):
        self.session = session
        self.loop = asyncio.Runner()
        limits = limits or Limits(rate=1e9)
        self.desk = Desk(session, limits.patience)
        self.lessons = Lessons(self.desk, stretch=0.001, between=between)
        self.app = App(self.desk, self.lessons, limits, token)

    def post(self, call, content=None, *, kind=JSON, query="", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
        return self.ask("POST", f"/v1/{call}", body, query, **{"content-type": kind} | headers)

    def ask(self, method, path, body=b"", query="", **headers):
        """Status, and the body: an object where it is JSON."""
        return self.loop.run(self.asked(method, path, body, query, **headers))

    async def asked(self, method, path, body=b"", query="", *, parts=1, **headers):
        headers = {"host": "localhost:1", "content-length": str(len(body)), **headers}
        pairs = [
            (name.replace("_", "-").encode(), value.encode("latin-1", "replace"))
            for name, value in headers.items()
        ]
        scope = {"type": "http", "method": method, "path": path, "client": ("127.0.0.1", 9)}
        scope |= {"query_string": query.encode(), "headers": pairs}
        cuts = [len(body) * part // parts for part in range(parts + 1)]
        left = [body[a:b] for a, b in itertools.pairwise(cuts)]
        sent = []

        async def receive():
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        start, content = sent
        kind = dict(start["headers"])[b"content-type"].decode()
        return start["status"], json.loads(content["body"]) if kind == JSON else content["body"]

    def learnt(self):
        """Runs what was asked to be learned."""

        async def run():
            learning = asyncio.create_task(self.lessons.run())
            while self.lessons.told()["wanted"] or self.session.due:
                await asyncio.sleep(0.001)
                if self.lessons.failed:
                    break
            self.lessons.end()
            await learning

        self.loop.run(run())

    def state(self):
        """Everything that a refused request must leave as it is."""
        status = self.session.status
        files = [(path, path.stat().st_size) for path in sorted(self.session.folder.rglob("*"))]
        return status.steps, status.updates, status.open, status.awaited, status.due, files


@pytest.fixture(scope="module")
def begin(quick_run, log_file, tmp_path_factory):
    """Begins sessions after the offline stage of the quick run, and closes them in the end."""
    opened = []

    def begin():
        how = {"at": "hand-over", "accept": ("hand-over",), "dataset": log_file}
        folder = tmp_path_factory.mktemp("sessions") / "session"
        opened.append(Session.from_run(quick_run, folder, **how))
        return opened[-1]

    yield begin
    for session in opened:
        session.close()


@pytest.fixture(scope="module")
def shared(begin):
    """A session for tests that bear the steps of others."""
    return begin()


@pytest.fixture
def served(shared):
    """Serves the shared session, or the one that is given."""
    made = []

    def served(session=shared, **how):
        made.append(Served(session, **how))
        return made[-1]

    yield served
    for one in made:
        one.loop.close()


def refused(answer):
    """Status and code of a request that was refused."""
    status, content = answer
    assert content["error"]["message"].endswith("."), content
    return status, content["error"]["code"]


class TestCalls:
    def test_the_actions_are_those_of_the_session(self, served, begin):
        server, twin = served(begin()), begin()
        for step in range(3):
            told = {"reward": 1.0, "next_obs": OBS, "truncated": step == 2}
            assert server.post("act", {"obs": OBS}) == (200, {"action": twin.act(OBS).tolist()})
            assert server.post("observe", told) == (200, {"step": twin.observe(**told)})

    def test_bare_numbers_say_the_same_as_json(self, served, begin):
        one, other = served(begin()), served(begin())
        _, content = one.post("act", {"obs": [[0.5], [0.25]], "unit": ["north", 7]})
        body, query = struct.pack("<2f", 0.5, 0.25), "unit=north&unit=7"
        status, action = other.post("act", body, kind=F32, query=query)
        assert status == 200
        assert np.frombuffer(action, "<f4").tolist() == np.ravel(content["action"]).tolist()
        rows = struct.pack("<8f", 1.0, 0, 1, 0.125, 2.0, 1, 0, 0.125)
        status, steps = other.post("observe", rows, kind=F32, query=query)
        assert status == 200 and struct.unpack("<2I", steps) == (1, 2)
        told = {"reward": [1, 2], "terminated": [False, True], "truncated": [True, False]}
        one.post("observe", told | {"next_obs": [[0.125], [0.125]], "unit": ["north", 7]})
        lines = [next(s.session.log.iterdir()).read_text().splitlines() for s in (one, other)]
        outcomes = [[json.loads(x) for x in part if '"observe"' in x] for part in lines]
        assert [
            {name: x for name, x in record.items() if name != "crc"} for record in outcomes[0]
        ] == [{name: x for name, x in record.items() if name != "crc"} for record in outcomes[1]]

    def test_a_reward_may_come_late_and_null_is_a_bad_reading(self, served):
        server = served()
        server.post("act", {"obs": [None], "unit": "late"})
        step = server.post("observe", {"next_obs": OBS, "unit": "late"})[1]["step"]
        units = server.ask("GET", "/v1/status")[1]["units"]
        assert {"unit": "late", "open": 1, "awaited": None} in units
        assert server.post("reward", {"step": step, "reward": "not measured"}) == (200, {})
        again = server.post("reward", {"step": step, "reward": 1})
        assert refused(again) == (409, "out_of_turn")

    def test_episodes_and_rows_of_others_are_taken(self, served):
        server = served()
        before = server.session.status.steps
        told = {"obs": [[0], [1], [2]], "action": [[0], [1]], "reward": [1, None]}
        assert server.post("episode", told)[1] == {"step": [before + 1, before + 2]}
        body = struct.pack("<7f", 0, 0, 1, 1, 1, 2, 2)
        status, steps = server.post("episode", body, kind=F32, query="terminated=1&unit=x")
        assert status == 200 and struct.unpack("<2I", steps) == (before + 3, before + 4)
        rows = {"obs": [[0], [1]], "action": [[0], [0]], "reward": [1, 2]}
        rows |= {"next_obs": [[1], [2]], "terminated": [False, True]}
        assert server.post("log", rows) == (200, {"steps": 2})
        assert server.post("gap", {"unit": "x"}) == (200, {})
        assert server.session.status.steps == before + 6

    def test_the_status_says_how_the_session_stands(self, served):
        server = served()
        server.post("act", {"obs": OBS, "unit": "north"})
        status, told = server.ask("GET", "/v1/status")
        assert status == 200
        assert {"unit": "north", "open": 1, "awaited": told["steps"]} in told["units"]
        assert (told["obs_size"], told["action_high"]) == (1, [2.0])
        assert told["learning"] == {"wanted": False, "between": False, "failed": False}
        assert told["gate"] is told["budget"] is None
        assert len(told["policy"]) == 64

    def test_it_can_be_saved(self, served):
        server = served()
        before = sorted((server.session.folder / "checkpoints").iterdir())
        assert server.post("save") == (200, {})
        assert sorted((server.session.folder / "checkpoints").iterdir()) > before


class TestRepeating:
    def test_a_request_with_the_same_id_is_done_once(self, served):
        server = served()
        act = server.post("act", {"obs": OBS}, request_id="a")
        assert server.post("act", {"obs": OBS}, request_id="a") == act
        observe = server.post("observe", {"reward": 1.0, "next_obs": OBS}, request_id="b")
        before = server.session.status.steps
        again = server.post("observe", {"reward": 1.0, "next_obs": OBS}, request_id="b")
        assert again == observe == (200, {"step": before})

    def test_an_id_belongs_to_one_request(self, served):
        server = served()
        server.post("act", {"obs": OBS}, request_id="a")
        answer = server.post("act", {"obs": [0.25]}, request_id="a")
        assert refused(answer) == (409, "id_used")
        assert refused(server.post("act", {"obs": OBS}, request_id="a b")) == (400, "malformed")

    def test_what_was_refused_may_be_mended_under_its_id(self, served):
        server = served()
        assert server.post("act", {"obs": [1, 2]}, request_id="a")[0] == 422
        assert server.post("act", {"obs": OBS}, request_id="a")[0] == 200


class TestLearning:
    def test_it_is_asked_for_and_goes_on_in_the_background(self, served, begin):
        server = served(begin())
        server.post("act", {"obs": OBS})
        server.post("observe", {"reward": 1.0, "next_obs": OBS, "truncated": True})
        assert server.post("learn", {"updates": 3}) == (202, {})
        assert server.ask("GET", "/v1/status")[1]["learning"]["wanted"]
        server.learnt()
        told = server.ask("GET", "/v1/status")[1]
        assert told["updates"] == 3 and not told["learning"]["wanted"]
        both = server.post("learn", {"updates": 3, "seconds": 1})
        assert refused(both) == (422, "invalid")

    def test_between_requests_it_does_what_is_due(self, served, begin):
        server = served(begin(), between=True)
        for _ in range(4):
            server.post("act", {"obs": OBS})
            server.post("observe", {"reward": 1.0, "next_obs": OBS})
        server.learnt()
        assert server.session.status.updates == 4 and server.session.due == 0

    def test_whoever_waits_too_long_is_refused_and_nothing_is_done(self, served):
        server = served(limits=Limits(patience=0.01))

        async def ask_while_it_learns():
            async with server.desk.turn():
                status = await server.asked("GET", "/v1/status")
                kind = {"content-type": JSON}
                return status, await server.asked("POST", "/v1/act", b'{"obs": [0]}', **kind)

        before = server.state()
        status, act = server.loop.run(ask_while_it_learns())
        assert status[0] == 200
        assert refused(act) == (503, "busy")
        assert server.state() == before

    def test_an_error_ends_learning_and_not_acting(self, served, begin, monkeypatch, capsys):
        server = served(begin())
        server.post("act", {"obs": OBS})
        server.post("observe", {"reward": 1.0, "next_obs": OBS})
        monkeypatch.setattr(Learner, "update", lambda *args: 1 / 0)
        server.post("learn")
        server.learnt()
        assert "ZeroDivisionError" in capsys.readouterr().err
        assert server.ask("GET", "/v1/status")[1]["learning"]["failed"]
        for call in ("learn", "save"):
            assert refused(server.post(call)) == (409, "learning_failed")
        assert server.post("act", {"obs": OBS})[0] == 200


class TestWhoMayAsk:
    def test_without_a_token_only_this_machine_is_answered(self, served):
        server = served()
        for host in ("localhost:8702", "127.0.0.1", "[::1]:8702"):
            assert server.ask("GET", "/v1/status", host=host)[0] == 200
        for host in ("evil.example", "", "[", "10.0.0.1:8702"):
            assert refused(server.ask("GET", "/v1/status", host=host)) == (403, "forbidden")
        page = server.post("act", {"obs": OBS}, origin="http://localhost:8702")
        assert refused(page) == (403, "forbidden")

    def test_a_token_is_asked_for_and_never_told(self, served):
        server = served(token=TOKEN)
        for given in ("", "Bearer", "Bearer another", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN):
            answer = server.ask("GET", "/v1/status", authorization=given)
            assert refused(answer) == (401, "unauthorized")
            assert TOKEN not in json.dumps(answer)
        right = {"authorization": f"Bearer {TOKEN}", "host": "plant.example"}
        assert server.ask("GET", "/v1/status", **right)[0] == 200

    def test_other_machines_are_not_answered_without_a_token(self):
        assert check_token(None, "127.0.0.1") is None
        for host in ("0.0.0.0", "::", "", "plant.example", "192.168.0.2"):
            with pytest.raises(InputError, match="a token is required"):
                check_token(None, host)
            assert check_token(TOKEN, host) == TOKEN
        with pytest.raises(InputError, match="at least 16 signs"):
            check_token("short", "127.0.0.1")

    def test_it_listens_on_this_machine_alone(self):
        with listen("127.0.0.1", 0) as one, pytest.raises(InputError, match="cannot be used"):
            assert address_of(one).startswith("http://127.0.0.1:")
            listen("127.0.0.1", one.getsockname()[1])
        with pytest.raises(InputError, match="the port is 70000"):
            listen("127.0.0.1", 70000)


class TestLimits:
    @pytest.mark.parametrize("parts", [1, 4])
    def test_a_body_is_not_read_further_than_the_limit(self, served, parts):
        server = served(limits=Limits(body=100))
        body = b'{"obs": [0]}'.ljust(101)
        how = {"content-type": JSON, "content-length": "0"}  # it does not say how long it is
        answer = server.loop.run(server.asked("POST", "/v1/act", body, parts=parts, **how))
        assert refused(answer) == (413, "too_large")
        assert server.post("act", body[:-1])[0] == 200
        assert refused(server.post("act", body)) == (413, "too_large")

    def test_rows_and_units_are_counted(self, served):
        had = len(served().session.status.open.keys() - {0, 1})
        server = served(limits=Limits(rows=2, units=had + 2))
        long = {"obs": [[0]] * 4, "action": [[0]] * 3, "reward": [0] * 3}
        assert refused(server.post("episode", long)) == (413, "too_large")
        server.post("act", {"obs": [[0], [0]]})
        assert server.post("act", {"obs": [0], "unit": 1})[0] == 200
        for call in ({"obs": [0], "unit": "one more"}, {"obs": [[0]] * 3}):
            assert refused(server.post("act", call)) == (409, "too_many_units")
        assert refused(server.post("gap", {"unit": "one more"})) == (409, "too_many_units")

    def test_a_rate_allows_a_second_s_worth_at_once(self):
        rates = Rates(2.0)
        assert [rates.allow("a", 0.0) for _ in range(3)] == [True, True, False]
        assert rates.allow("b", 0.0)
        assert [rates.allow("a", 0.5) for _ in range(2)] == [True, False]

    def test_whoever_asks_too_often_is_refused(self, served):
        server = served(limits=Limits(rate=1.0))
        assert server.ask("GET", "/v1/status")[0] == 200
        assert refused(server.ask("GET", "/v1/status")) == (429, "too_many_requests")


class TestNonsense:
    @pytest.mark.parametrize(
        ("method", "path", "refusal"),
        [
            ("GET", "/", (404, "not_found")),
            ("POST", "/v1/act/", (404, "not_found")),
            ("POST", "/v1/../v1/act", (404, "not_found")),
            ("GET", "/v1/act", (405, "method_not_allowed")),
            ("DELETE", "/v1/status", (405, "method_not_allowed")),
            ("POST", "/v1/act", (415, "unsupported_type")),
        ],
    )
    def test_only_the_calls_are_there(self, served, method, path, refusal):
        assert refused(served().ask(method, path)) == refusal

    @pytest.mark.parametrize(
        ("call", "content", "refusal"),
        [
            ("act", b"{", (400, "malformed")),
            ("act", b"[1]", (400, "malformed")),
            ("act", b'{"obs": [NaN]}', (400, "malformed")),
            ("act", b"[" * 50_000, (400, "malformed")),
            ("act", {}, (422, "invalid")),
            ("act", {"obs": [1, 2]}, (422, "invalid")),
            ("act", {"obs": ["1"]}, (422, "invalid")),
            ("act", {"obs": [10**400]}, (422, "invalid")),
            ("act", {"obs": [True]}, (422, "invalid")),
            ("act", {"obs": [[1], [2, 3]]}, (422, "invalid")),
            ("act", {"obs": [1], "unit": True}, (422, "invalid")),
            ("act", {"obs": [1], "unit": "\ud800"}, (422, "invalid")),
            ("act", {"obs": [1], "units": [1]}, (422, "invalid")),
            ("observe", {"reward": 1, "next_obs": [1], "unit": "new"}, (409, "out_of_turn")),
            ("observe", {"reward": "much"}, (422, "invalid")),
            ("episode", {"obs": "/etc/passwd", "action": [], "reward": []}, (422, "invalid")),
            ("log", {"obs": 3, "action": 3, "reward": 3, "terminated": True}, (422, "invalid")),
            ("log", {"source": "/etc/passwd"}, (422, "invalid")),
            ("save", {"path": "/tmp"}, (422, "invalid")),
            ("learn", {"seconds": -1}, (422, "invalid")),
        ],
    )
    def test_it_is_refused_in_a_sentence(self, served, call, content, refusal):
        server = served()
        before = server.state()
        assert refused(server.post(call, content)) == refusal
        assert server.state() == before

    def test_wrong_numbers_in_binary_are_refused(self, served):
        server = served()
        four = struct.pack("<4f", 1, 0, 0.5, 1)
        for call, body, query, refusal in [
            ("act", b"abc", "", (400, "malformed")),
            ("act", b"", "", (422, "invalid")),
            ("act", four, "unit=1", (422, "invalid")),
            ("act", four, "obs=1", (422, "invalid")),
            ("observe", four, "", (422, "invalid")),
            ("observe", four[:12], "", (422, "invalid")),
            ("episode", four, "truncated=2", (422, "invalid")),
            ("gap", four, "", (415, "unsupported_type")),
        ]:
            assert refused(server.post(call, body, kind=F32, query=query)) == refusal, call

    @pytest.mark.parametrize(
        "requests", [400, pytest.param(20_000, marks=pytest.mark.slow)]
    )  # fmt: skip
    def test_made_up_requests_crash_nothing_and_change_nothing(self, served, requests, capsys):
        server, rng = served(limits=Limits(rate=1e9, body=2000)), random.Random(0)
        answered, before = [], server.state()
        for _ in range(requests):
            method, path, body, query, headers = made_up(rng)
            status, _ = server.loop.run(server.asked(method, path, body, query, **headers))
            answered.append(status)
            after = server.state()
            if status >= 400:
                assert after == before, (method, path, body, query, headers)
            before = after
        assert max(answered) < 500 and capsys.readouterr().err == ""
        counts = {status: answered.count(status) for status in set(answered)}
        assert counts.keys() >= {200, 400, 403, 404, 405, 409, 413, 415, 422}
        assert sum(counts[status] for status in (400, 422)) > requests / 5
        assert server.post("act", {"obs": OBS})[0] == 200


def test_the_document_has_every_refusal_and_limit():
    sources = "".join(path.read_text() for path in Path(serving.__file__).parent.glob("*.py"))
    document = (Path(__file__).parents[1] / "docs" / "serve.md").read_text()
    codes = set(re.findall(r'Refusal\(\s*(\d+), "(\w+)"', sources))
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", document, re.MULTILINE))
    assert rows == codes
    limits = Limits()
    for told in (
        f"content | {limits.body:,} |",
        f"address | {limits.rate:.0f} |",
        f"units | {limits.units} |",
        f"`log` | {limits.rows:,} |",
        f"arrive | {limits.arrival:.0f} s",
        f"connections | {limits.connections} |",
        f"`--patience` ({limits.patience:.0f} s)",
    ):
        assert told in document, told


# --- Requests that nobody should send ---


def made_up(rng):
    """A request with one or more parts that are wrong, and sometimes none."""
    call = rng.choice([*(set(CALLS) - {"save"}), "learn", "status"])
    method = "GET" if call == "status" else "POST"
    path, query, headers = f"/v1/{call}", "", {"content-type": JSON}
    body = rng.choice([_json, _right, _right, _bytes, _cut])(rng)
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


_NAMES = (
    "obs", "action", "reward", "next_obs", "terminated", "truncated", "unit", "step", "policy",
    "log_density", "updates", "seconds", "path", "__class__",
)  # fmt: skip


def _json(rng):
    """An object with some of the names, and values of any kind."""
    names = rng.sample(_NAMES, rng.randrange(len(_NAMES)))
    return json.dumps({name: _value(rng, 3) for name in names}).encode()


def _right(rng):
    """What could be right for some call, or lacks an entry for it."""
    entries = {"obs": [0.5], "next_obs": [0.25], "reward": 1.0, "action": [[0.0]]}
    entries |= {"unit": rng.choice([0, "a"]), "truncated": rng.choice([True, False])}
    names = rng.choice([("obs",), ("reward", "next_obs"), ("obs", "unit"), ("reward", "unit"), ()])
    return json.dumps({name: entries[name] for name in names}).encode()


def _value(rng, depth):
    plain = [None, True, 0, 1, -1, 0.5, 1e308, 10**30, 2**63, "", "a", "\ud800", "\0", "../x", {}]
    if depth and rng.random() < 0.5:
        return [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return rng.choice(plain)


def _bytes(rng):
    return rng.randbytes(rng.randrange(40))


def _cut(rng):
    text = json.dumps({"obs": [0.5], "reward": 1.0})
    place = rng.randrange(len(text))
    return (text[:place] + rng.choice(["", "\\", "]", "NaN", "1e999"]) + text[place + 1 :]).encode()


# --- With sockets ---


@pytest.fixture
def address(begin):
    """The address of a server in a thread, which has saved the session in the end."""
    stop, session, listening = threading.Event(), begin(), listen("127.0.0.1", 0)
    how = {"token": TOKEN, "limits": Limits(arrival=0.3, connections=4), "stretch": 0.01}
    how |= {"between": True, "stopping": stop.is_set}
    server = threading.Thread(target=serve, args=(session, listening), kwargs=how)
    server.start()
    yield address_of(listening)
    stop.set()
    server.join()
    assert len(list((session.folder / "checkpoints").iterdir())) == 2


def test_the_client_has_the_calls_of_a_session(address):
    with Client(address, token=TOKEN) as client:
        assert len(client.act(np.asarray(OBS))) == 1
        assert client.observe(next_obs=OBS) == 1
        client.reward(1, float("nan"))
        assert len(client.act_binary([None], unit="b")) == 1
        assert client.observe(reward=1.0, next_obs=OBS, unit="b", terminated=True) == 2
        client.gap()
        assert client.observe_episode([[0], [1]], np.zeros((1, 1)), [1], unit="c") == [3]
        rows = {"next_obs": [[1]], "unit": "c"}
        assert client.add_rows([[0]], [[0]], [1], [True], **rows) == 1
        assert client.learn(updates=2) >= 2
        client.save()
        assert client.status()["steps"] == 4 and client.due == 0
        with pytest.raises(ServerError, match=r"obs has shape \(2,\)") as error:
            client.act([1, 2])
        assert (error.value.status, error.value.code) == (422, "invalid")
        client._connection.sock.close()  # the connection is lost; the next call has another
        assert client.status()["steps"] == 4
    with pytest.raises(ServerError, match="token"):
        Client(address, token="wrong").status()


def test_no_answer_is_held_back(address):
    """Systems hold back small packets for 40 ms, unless they are told not to."""
    with Client(address, token=TOKEN) as client:
        times = [time.perf_counter()]
        for _ in range(20):
            client.status()
            times.append(time.perf_counter())
    assert np.diff(times).min() < 0.03


def test_what_is_no_http_is_refused_and_whoever_is_slow_is_left(address):
    host, port = address.removeprefix("http://").split(":")

    def said(content):
        with socket.create_connection((host, int(port)), timeout=5) as plug:
            plug.sendall(content)
            found = b""
            with contextlib.suppress(ConnectionResetError):
                while part := plug.recv(4096):
                    found += part
        return found

    assert b'"malformed"' in said(b"\0\1\2\r\n\r\n")
    assert b'"malformed"' in said(b"GET / HTTP/9.9\r\n\r\n")
    assert b'"malformed"' in said(b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 65_600)
    assert b'"malformed"' in said(b"CONNECT a:1 HTTP/1.1\r\n\r\n")
    assert b" 401 " in said(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    head = b"POST /v1/gap HTTP/1.1\r\nhost: x\r\n"
    assert said(b"") == said(head) == b""
    head += b"content-type: application/json\r\nauthorization: Bearer " + TOKEN.encode()
    assert said(head + b"\r\ncontent-length: 9\r\n\r\n{") == b""
    both = b"\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}"
    assert b'"malformed"' in said(head + both)
    many = [socket.create_connection((host, int(port)), timeout=5) for _ in range(5)]
    with contextlib.suppress(ConnectionResetError):
        assert many[4].recv(10) == b"", "four are enough"
    for one in many:
        one.close()


def test_a_signal_saves_the_session_and_is_no_error(
    quick_run, log_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("MOORE_TOKEN", TOKEN)
    out, found = tmp_path / "served", []

    def control():
        while not (line := capsys.readouterr().out):
            time.sleep(0.01)
        found.append(line)
        try:
            with Client(line.split()[0]) as client:
                found.append(client.act(OBS))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=control, daemon=True)
    thread.start()
    line = f"serve {quick_run} --port 0 --out {out} --dataset {log_file} --accept hand-over"
    main(line.split())
    thread.join()
    assert len(found[0].splitlines()) == 1 and TOKEN not in found[0]
    assert len(list((out / "checkpoints").iterdir())) == 2
    assert '"kind": "act"' in next((out / "log").iterdir()).read_text()
    with pytest.raises(InputError, match="--accept is for a new one"):
        open_session(out, accept=("hand-over",))
