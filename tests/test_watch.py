"""`moore watch`: the live page of a run, by HTTP requests; it reads only, and for this machine."""

import http.client
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from moore.errors import InputError
from moore.reports.live_page import chart, live_facts
from moore.reports.live_session import live_session
from moore.sessions.bulletin import Bulletin
from moore.watching.server import live_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OFFLINE = {"stage": "offline", "epoch": 3, "eval/return": -300.0, "model/uncertainty_mean": 0.5}
ONLINE = {
    "stage": "online", "epoch": 1, "eval/return": -200.0, "env_steps": 2000, "updates": 7000,
    "online/episode_returns": [-100.0, -140.0], "model/uncertainty_mean": 0.7,
    "budget/margin": 1234.0, "budget/spent": 5.0, "budget/trials": 4.0, "budget/promoted": 2.0,
    "budget/demoted": 0.0, "budget/incumbent": 3.0, "gate/accepted": 0.25,
    "replay/online_share": 0.374, "replay/online_share_expected": 0.4,
}  # fmt: skip
CONFIG = 'env_id = "Pendulum-v1"\nalgorithm = "moore_safe"\n[online]\nepochs = 6\n'


def write_rows(folder: Path, *rows: dict) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run folder with two epochs."""
    made = tmp_path / "a <b>run"
    made.mkdir()
    (made / "config.toml").write_text(CONFIG)
    write_rows(made, OFFLINE, ONLINE)
    return made


@pytest.fixture
def asked(folder):
    """A function that asks the server of this folder: path -> status, headers, body."""
    with live_server(folder, port=0) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        port = server.server_address[1]

        def ask(path: str, method: str = "GET", host: str | None = None):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            headers = {"Host": host or f"localhost:{port}"}
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            found = answer.status, answer.headers, answer.read().decode()
            connection.close()
            return found

        assert server.server_address[0] == "127.0.0.1"
        yield ask
        server.shutdown()


def test_the_page_says_who_acts_what_it_earns_and_what_is_left(asked):
    status, headers, page = asked("/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    for text in (
        "policy 3, promoted", "−200", "−120", "1,234", "5 spent, 4 trials, 2 promoted, 0 demoted",
        "<strong>37%</strong>", "Share of new data in what is learned from", "asked for",
        "0.7", "online epoch 1 of 6", "Pendulum-v1 · moore_safe", "let 25% of the new policies",
        'name="viewport" content="width=device-width',
    ):  # fmt: skip
        assert text in page, text
    assert "<b>run" not in page and "a &lt;b&gt;run" in page


def test_only_the_page_s_own_script_may_run_and_it_may_only_ask_this_server(asked):
    _, headers, page = asked("/")
    policy = headers["Content-Security-Policy"]
    nonce = page.split('nonce="')[1].split('"')[0]
    assert f"script-src 'nonce-{nonce}'" in policy and "default-src 'none'" in policy
    assert "http://" not in page and "https://" not in page


def test_the_content_follows_the_run_and_passes_over_a_row_that_is_being_written(asked, folder):
    assert "epoch 1 of 6" in asked("/content")[2]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(ONLINE | {"epoch": 2, "eval/return": -111.0}) + '\n{"stage": "onl')
    content = asked("/content")[2]
    assert "epoch 2 of 6" in content and "−111" in content
    (folder / "summary.json").write_text("{}")
    assert "epoch 2 of 6, finished" in asked("/content")[2]


def test_the_facts_are_there_for_programs(asked):
    facts = json.loads(asked("/facts.json")[2])
    assert facts["acted"] == -120.0 and facts["budget"]["margin"] == 1234.0
    assert facts["state"] == "online epoch 1 of 6" and facts["rows"] == 2


def test_a_run_without_an_epoch_yet_and_one_that_is_damaged_are_told(asked, folder):
    (folder / "metrics.jsonl").unlink()
    assert "has not finished an epoch yet" in asked("/")[2]
    (folder / "metrics.jsonl").write_text("[]\n{}\n")
    status, _, text = asked("/content")
    assert status == 503 and "line 1: expected a JSON object" in text


@pytest.mark.parametrize(
    "path, method, host, status",
    [
        ("/", "HEAD", None, 200),
        ("/", "POST", None, 501),
        ("/", "DELETE", None, 501),
        ("/config.toml", "GET", None, 404),
        ("/../metrics.jsonl", "GET", None, 404),
        ("/", "GET", "evil.example", 403),
        ("/", "GET", "127.0.0.1", 200),
    ],
)
def test_nothing_else_is_answered(asked, path, method, host, status):
    assert asked(path, method, host)[0] == status


def test_the_folder_is_only_read(asked, folder):
    def state():
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    before = state()
    for path in ("/", "/content", "/facts.json", "/nothing"):
        asked(path)
    assert state() == before


def test_a_session_is_watched_from_its_beginning(tmp_path):
    (tmp_path / "session.json").write_text("{}")
    with live_server(tmp_path, port=0) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        connection.request("GET", "/facts.json")
        assert json.loads(connection.getresponse().read())["state"].endswith("an epoch yet.")
        connection.close()
        server.shutdown()


def test_wrong_input_is_told(folder, tmp_path):
    with pytest.raises(InputError, match="is not the folder of a run or of a session"):
        live_server(tmp_path, port=0)
    with pytest.raises(InputError, match="the port is 70000"):
        live_server(folder, port=70000)
    with pytest.raises(InputError, match=r"the refresh is 0\.0 s"):
        live_server(folder, port=0, refresh=0.0)
    with live_server(folder, port=0) as taken:
        port = taken.server_address[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            live_server(folder, port=port)


@pytest.mark.parametrize(
    "row, acting",
    [
        (OFFLINE, "nobody yet"),
        ({"stage": "online", "epoch": 1}, "the newest policy"),
        ({"stage": "online", "epoch": 1, "budget/incumbent": 0.0}, "the reference"),
        (
            {"stage": "online", "epoch": 1, "gate/accepted": 0.0},
            "the policy that the gate let through last",
        ),
    ],
)
def test_who_acts_is_what_the_last_row_says(row, acting):
    facts = live_facts("x", [row], "not TOML [", finished=False)
    assert facts["acting"] == acting and facts["title"] == ""


TOLD = {
    "mode": "on", "steps": 40, "updates": 12, "due": 3, "trouble": "", "time": 1e9,
    "closed": False, "latency": {"median": 0.0008, "late": 0.002, "most": 0.01, "actions": 40},
    "budget": {"margin": 77.0, "affordable": 41.0, "spent": 3.0, "trials": 2.0, "promoted": 1.0,
               "demoted": 0.0},
    "units": [
        {
            "unit": "north", "actor": "old", "why": "The guard does not trust it.",
            "alarm": "level <i>is</i> 5", "since": 1e9 - 60.0, "interlocks": ["cut at 8."],
        }
    ],
}  # fmt: skip


class TestSession:
    """A session beside the controller that ran before tells how it stands in a file of its own."""

    def write(self, folder, **changes):
        told = TOLD | changes
        (folder / "status.json").write_text(json.dumps(told), encoding="utf-8")

    def test_the_page_says_mode_guard_budget_latency_and_interlocks(self, asked, folder):
        self.write(folder, time=time.time(), units=[TOLD["units"][0] | {"since": 5.0}])
        page = asked("/content")[2]
        for text in (
            "<h2>mode</h2><strong class=\"words\">on<", "the old controller", "north",
            "The guard does not trust it.", "level &lt;i&gt;is&lt;/i&gt; 5", "cut at 8.",
            "0.8 ms", "99% within 2 ms", "77", "41.0 of it for trials",
            "3 more are due", "The session told this 0 s ago", "second 5 of the session",
        ):  # fmt: skip
            assert text in page, text
        facts = json.loads(asked("/facts.json")[2])
        assert facts["session"]["mode"] == "on" and facts["budget"]["margin"] == 77.0
        assert facts["acting"] == "the old controller"

    @pytest.mark.parametrize(
        ("gate", "words"),
        [
            (None, "no gate has decided yet"),
            (False, "the gate refused the newest one"),
            (True, "the gate let the newest policy through"),
        ],
    )
    def test_before_the_first_epoch_is_over_the_gate_is_the_sessions(
        self, asked, folder, gate, words
    ):
        (folder / "metrics.jsonl").unlink()
        self.write(folder, gate=gate)
        assert words in asked("/content")[2] and "there is no gate" not in asked("/content")[2]

    def test_a_fault_of_the_old_controller_is_told(self, asked, folder):
        fault = "the controller failed (off); the last good action is held."
        self.write(folder, units=[TOLD["units"][0] | {"fault": fault}])
        assert f"Old controller, unit north:</strong> {fault}" in asked("/content")[2]

    def test_one_that_is_silent_closed_or_damaged_is_told(self, asked, folder):
        self.write(folder)
        content = asked("/content")[2]
        assert "it stands still, its disk is full, or its program has ended" in content
        assert "2001-09-0" in content
        self.write(folder, closed=True, units=[])
        content = asked("/content")[2]
        assert "The session is closed." in content and "no alarm" in content
        for text in ("", "{", "[]", '{"time": null}', '{"time": 1, "units": 3, "budget": 5}'):
            (folder / "status.json").write_text(text)
            assert asked("/content")[0] == 200, text

    def test_a_session_tells_it_once_a_second_and_when_it_ends(self, tmp_path):
        bulletin, told = Bulletin(tmp_path), []
        for seconds in (0.001, 0.003):
            bulletin.took(seconds)
            bulletin.tell(lambda: told.append(1) or {"mode": "on", "budget": {"margin": np.inf}})
        found = json.loads((tmp_path / "status.json").read_text())
        assert len(told) == 1 and not found["closed"] and found["budget"] == {"margin": None}
        assert found["latency"] == {"median": 0.001, "late": 0.001, "most": 0.001, "actions": 1}
        bulletin.tell(lambda: {"mode": "off"}, closed=True)
        found = json.loads((tmp_path / "status.json").read_text())
        assert found["closed"] and found["latency"]["most"] == 0.003
        Bulletin(tmp_path / "is not there").tell(dict)  # it is for others, so nothing is lost


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_real_browser_shows_what_has_changed_since_it_opened_the_page(folder, tmp_path):
    class Changing:
        asked = 0

        def read(self):
            self.asked += 1
            north = {"unit": "north", "actor": "old", "why": "The guard does not trust it."}
            north |= {"alarm": "level is 9, above 4.5.", "awaits": "level has kept its limits."}
            north |= {"fault": "the controller failed (it is off); the last good action is held."}
            session = {"mode": "shadow" if self.asked == 1 else "canary", "units": [north]}
            session = live_session(session)
            return live_facts("a plant", [], "", finished=False, session=session), []

    with live_server(folder, port=0, refresh=0.5) as server:
        server.RequestHandlerClass.watched = Changing()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://localhost:{server.server_address[1]}/"
        how = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}")
        line = [CHROMIUM, *how, "--virtual-time-budget=3000", "--dump-dom", address]
        page = subprocess.run(line, capture_output=True, text=True, timeout=120).stdout
        server.shutdown()
    assert '<h2>mode</h2><strong class="words">canary<' in page and "shadow" not in page
    assert "Alarm, unit north:</strong> level is 9, above 4.5. Still awaited: level" in page
    assert "Old controller, unit north:</strong> the controller failed (it is off)" in page


def test_a_chart_spans_its_points_from_the_lower_left_to_the_upper_right():
    drawn = chart([[(0.0, 1.0), (10.0, 3.0)], [(5.0, 2.0)]], 5)
    assert '<polyline class="curve0" points="70.0,156.0 452.0,10.0"/>' in drawn
    assert '<polyline class="curve1" points="261.0,83.0"/>' in drawn
    assert 'class="handover" x1="261.0" x2="261.0"' in drawn
