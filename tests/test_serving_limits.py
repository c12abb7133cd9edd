"""A session over HTTP: no request does more than it may."""

import json
import random
import re
import struct
from pathlib import Path

import pytest

from made_requests import made_up
from moore import serving
from moore.errors import InputError
from moore.serving.forms import F32, JSON
from moore.serving.limits import Rates, ServerLimits
from moore.serving.server import address_of, check_token, listen
from served import OBS, TOKEN, old, refused


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
        server = served(limits=ServerLimits(body=100))
        body = b'{"obs": [0]}'.ljust(101)
        how = {"content-type": JSON, "content-length": "0"}  # it does not say how long it is
        answer = server.loop.run(server.asked("POST", "/v1/act", body, parts=parts, **how))
        assert refused(answer) == (413, "too_large")
        assert server.post("act", body[:-1])[0] == 200
        assert refused(server.post("act", body)) == (413, "too_large")

    def test_rows_and_units_are_counted(self, served):
        had = len(served().session.status.open.keys() - {0, 1})
        server = served(limits=ServerLimits(rows=2, units=had + 2))
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
        server = served(limits=ServerLimits(rate=1.0))
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
            ("gap", {"unit": ["a", "b"]}, (422, "invalid")),
            ("reward", {"step": 1, "reward": [1]}, (422, "invalid")),
            ("learn", {"seconds": -1}, (422, "invalid")),
        ],
    )
    def test_it_is_refused_in_a_sentence(self, served, call, content, refusal):
        server = served()
        before = server.state()
        assert refused(server.post(call, content)) == refusal
        assert server.state() == before

    @pytest.mark.parametrize(
        ("body", "refusal"),
        [
            (b'{"obs": [0.5], "obs": [9.0]}', (400, "malformed")),
            (b'{"obs": [0.5], "unit": {"a": 1, "a": 2}}', (400, "malformed")),
            (b'{"obs": [[true], [0.5]]}', (422, "invalid")),
        ],
    )
    def test_what_would_be_taken_for_something_else_is_refused(self, served, body, refusal):
        server = served()
        before = server.state()
        assert refused(server.post("act", body)) == refusal
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
    @pytest.mark.parametrize("controller", [None, old])
    def test_made_up_requests_crash_nothing_and_change_nothing(
        self, served, begin_served, shared_session, requests, controller, capsys
    ):
        session = shared_session if controller is None else begin_served(controller=controller)
        server, rng = served(session, limits=ServerLimits(rate=1e9, body=2000)), random.Random(0)
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
    limits = ServerLimits()
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
