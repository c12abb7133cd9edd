"""`moore serve` with sockets: the client, what is no HTTP, whoever is slow, and signals."""

import contextlib
import os
import re
import signal
import socket
import sys
import threading
import time

import numpy as np
import pytest

from moore.cli import main
from moore.errors import InputError
from moore.serving.client import Client, ServerError
from moore.serving.limits import ServerLimits
from moore.serving.server import address_of, listen, open_session, serve
from served import OBS, TOKEN


@pytest.fixture
def address(begin_served):
    """The address of a server in a thread, which has saved the session in the end."""
    stop, session, listening = threading.Event(), begin_served(), listen("127.0.0.1", 0)
    how = {"token": TOKEN, "limits": ServerLimits(arrival=0.3, connections=4), "stretch": 0.01}
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
        assert client.mode is None and client.standing == {}
        for call in (client.trust_again, lambda: client.set_mode("on")):
            with pytest.raises(ServerError, match=r"\(invalid\)"):
                call()
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


def controlled(line, control, capsys):
    """Serves by this command line, until `control` has had a client.

    Returns:
        What was printed, and what `control` returned.
    """
    found = []

    def run():
        while not (printed := capsys.readouterr().out):
            time.sleep(0.01)
        try:
            with Client(printed.split()[0]) as client:
                found[:] = printed, control(client)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    main([*line.split(), "--port", "0"])
    thread.join()
    return found


def test_a_signal_saves_the_session_and_is_no_error(
    quick_run, log_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("MOORE_TOKEN", TOKEN)
    out = tmp_path / "served"
    line = f"serve {quick_run} --out {out} --dataset {log_file} --accept hand-over"
    printed, _ = controlled(line, lambda client: client.act(OBS), capsys)
    assert len(printed.splitlines()) == 1 and TOKEN not in printed
    assert len(list((out / "checkpoints").iterdir())) == 2
    assert '"kind": "act"' in next((out / "log").iterdir()).read_text()
    for how in ({"accept": ("hand-over",)}, {"mode": "on"}, {"guard": True}, {"limits": "x"}):
        with pytest.raises(InputError, match=f"--{next(iter(how))} is for a new one"):
            open_session(out, **how)


LIMITS = """
[guard]
returns = "none"
recovery = 3
[signals.level]
high = 4.5
[actions]
high = 0.05
rate = 0.01
[timeouts]
between_calls = 60.0
observation_age = 5.0
"""


def test_limits_come_from_a_file_and_hold_over_http(
    quick_run, log_file, tmp_path, capsys, monkeypatch
):
    (tmp_path / "limits.toml").write_text(LIMITS)
    (tmp_path / "old_controller.py").write_text("def act(obs):\n    return obs[:1]\n")
    monkeypatch.syspath_prepend(tmp_path)

    def cycle(client, level):
        action = client.act(OBS, observed_at=time.time())
        client.observe(reward=1.0, next_obs=OBS, signals={"level": level})
        return float(action[0]), client.status()["units"][0]

    def control(client):
        actions = [cycle(client, 1.0)[0] for _ in range(3)]
        with pytest.raises(ServerError, match="say when this one was measured"):
            client.act(OBS)
        client.set_mode("on")
        client.act(OBS, observed_at=time.time() - 60.0)
        client.observe(reward=1.0, next_obs=OBS, signals={"level": 1.0})
        told = client.status()
        alarmed, waiting = cycle(client, 9.0)[1], cycle(client, 9.0)[1]
        return actions, told, alarmed, waiting

    line = f"serve {quick_run} --dataset {log_file} --out {tmp_path / 'served'} --accept hand-over"
    line += f" --controller old_controller:act --limits {tmp_path / 'limits.toml'}"
    actions, told, alarmed, waiting = controlled(line, control, capsys)[1]
    assert actions[0] == pytest.approx(0.05), "the bound of the file, not that of the action"
    assert told["units"][0]["why"].startswith("The observation is 60 s old")
    assert told["overdue"] == ""
    assert not alarmed["trusted"] and "level is 9, above 4.5" in alarmed["alarm"]
    told = [line for line in capsys.readouterr().err.splitlines() if "level is 9" in line]
    assert len(told) == 1 and re.match(
        r"moore: \d{4}-\d\d-\d\d [\d:]{8} unit 0, step \d+: ", told[0]
    )
    assert waiting["actor"] == "old" and "for 0 readings" in waiting["awaits"]

    line = f"serve {tmp_path / 'served'} --controller old_controller:act"
    action, unit = controlled(line, lambda client: cycle(client, 1.0), capsys)[1]
    assert action == pytest.approx(0.05) and not unit["trusted"], (
        "the limits are those of the session"
    )


def test_what_cannot_be_served_is_told_in_one_line(moore_refuses, desk, monkeypatch):
    assert "a token is required" in moore_refuses("serve run --host 0.0.0.0")
    assert "--token-file none cannot be read" in moore_refuses("serve run --token-file none")
    assert "limit of rate is 0.0" in moore_refuses("serve run --max-rate 0")
    assert "--learn-stretch is -1.0" in moore_refuses("serve run --learn-stretch -1")
    assert "nothing" in moore_refuses("serve nothing --port 0")
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert 'pip install "moore-rl[serve]"' in moore_refuses("serve run")
