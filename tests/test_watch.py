"""`moore watch`: the live page of a run, by HTTP requests; it reads only, and for this machine."""

import http.client
import json
import threading
from pathlib import Path

import pytest

from moore.errors import InputError
from moore.reports.live_page import chart, live_facts
from moore.watching.server import live_server

OFFLINE = {"stage": "offline", "epoch": 3, "eval/return": -300.0, "model/uncertainty_mean": 0.5}
ONLINE = {
    "stage": "online", "epoch": 1, "eval/return": -200.0, "env_steps": 2000, "updates": 7000,
    "online/episode_returns": [-100.0, -140.0], "model/uncertainty_mean": 0.7,
    "budget/margin": 1234.0, "budget/spent": 5.0, "budget/trials": 4.0, "budget/promoted": 2.0,
    "budget/demoted": 0.0, "budget/incumbent": 3.0, "gate/accepted": 0.25,
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


def test_a_chart_spans_its_points_from_the_lower_left_to_the_upper_right():
    drawn = chart([[(0.0, 1.0), (10.0, 3.0)], [(5.0, 2.0)]], 5)
    assert '<polyline class="curve0" points="70.0,156.0 452.0,10.0"/>' in drawn
    assert '<polyline class="curve1" points="261.0,83.0"/>' in drawn
    assert 'class="handover" x1="261.0" x2="261.0"' in drawn
