"""Controllers that ran before: functions, servers, ONNX and npz files; and asking them safely."""

import gc
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from moore.errors import InputError
from moore.guarding.controllers import (
    Controller,
    FunctionController,
    Tracking,
    ask,
    ask_each,
    check_sizes,
)
from moore.guarding.http_call import HttpController
from moore.guarding.onnx_file import OnnxController
from moore.guarding.opening import open_controller

LOW, HIGH = np.array([-1.0, 0.0], np.float32), np.array([1.0, 5.0], np.float32)
OBS = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], np.float32)


def opened(source, **kwargs) -> Controller:
    return open_controller(source, low=LOW, high=HIGH, **kwargs)


def asked(function, obs=OBS[0], **kwargs):
    return ask(
        FunctionController(function), obs, **({"low": LOW, "high": HIGH, "last": None} | kwargs)
    )


def test_a_function_is_asked_row_by_row_or_in_batches():
    one = FunctionController(lambda obs: obs[:2])
    both = FunctionController(lambda obs: obs[..., :2], batched=True)
    assert one.act(OBS).tolist() == both.act(OBS).tolist() == OBS[:, :2].tolist()
    assert FunctionController(lambda obs: 0.5).act(OBS).tolist() == [[0.5], [0.5]]


def test_a_function_that_the_user_names_is_imported(tmp_path, monkeypatch):
    (tmp_path / "my_controller.py").write_text("def pid(obs):\n    return [obs[0], 1.0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert opened("my_controller:pid").act(OBS[0]).tolist() == pytest.approx([0.1, 1.0])
    with pytest.raises(InputError, match="my_controller has no function pd"):
        opened("my_controller:pd")


def test_an_object_or_a_class_that_the_user_names_keeps_its_memory(tmp_path, monkeypatch):
    text = """
class Pid:
    def __init__(self, sent=3.0):
        self.sent = sent
    def act(self, obs):
        return [0.0, self.sent]
    def track(self, obs, sent):
        self.sent = sent[1]
class Tuned(Pid):
    def __init__(self, gain):
        pass
pid = Pid(2.0)
other = "not a controller"
"""
    (tmp_path / "with_memory.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name, begins in (("pid", 2.0), ("Pid", 3.0)):
        controller = opened(f"with_memory:{name}")
        assert isinstance(controller, Tracking)
        assert controller.act(OBS[0]) == [0.0, begins]
        controller.track(OBS[0], np.array([0.0, 4.0]))
        assert controller.act(OBS[0]) == [0.0, 4.0]
    with pytest.raises(InputError, match=r"none of its objects can be made.*argument: 'gain'"):
        opened("with_memory:Tuned")
    with pytest.raises(InputError, match=r"no function other\(obs\).*no such object"):
        opened("with_memory:other")


@pytest.mark.parametrize("source", ["controller.pkl", "controller", "ftp://a/b", ""])
def test_what_is_no_controller_is_told_with_what_could_be_one(source):
    with pytest.raises(
        InputError, match="is of no known kind; expected a function or an object module:name"
    ):
        opened(source)


@pytest.mark.parametrize("name", ["a.onnx", "a.npz", "a.zip", "a.d3"])
def test_a_file_that_is_missing_or_something_else_is_told(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(InputError, match="cannot be read"):
        opened(path)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"cannot be read as|is no ONNX model"):
        opened(path)


def test_a_good_answer_is_passed_on():
    answer = asked(lambda obs: [0.5, 2.0])
    assert (answer.action.tolist(), answer.fault, bool(answer.held)) == ([0.5, 2.0], "", False)


@pytest.mark.parametrize(
    "function, told",
    [
        (lambda obs: [np.nan, 1.0], "holds a value that is not a finite number"),
        (lambda obs: [1j, 0.0], "the answer holds complex numbers"),
        (lambda obs: [1.0], r"has shape (1,); expected (2,) for an observation of shape (3,)"),
        (lambda obs: obs[7], "the controller failed (index 7 is out of bounds"),
        (lambda obs: sys.exit(3), "the controller failed (3)"),
        (lambda obs: "a", "the controller failed (the answer holds text"),
        (lambda obs: None, "holds a value that is not a finite number"),
    ],
)
def test_a_useless_answer_is_told_and_the_last_good_action_is_held(function, told):
    last = np.array([0.1, 0.2], np.float32)
    answer = asked(function, last=last)
    if "shape" not in answer.fault:
        assert told in answer.fault
    assert answer.action.tolist() == last.tolist() and answer.held
    assert answer.fault.endswith("; the last good action is held.")
    assert answer.unusable == answer.fault
    with pytest.raises(InputError, match="there is no earlier action to hold"):
        asked(function)


def test_only_the_rows_without_a_good_answer_are_held():
    last = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    answer = asked(lambda obs: [0.5, 2.0] if obs[0] < 0.2 else [np.inf, 1.0], OBS, last=last)
    np.testing.assert_allclose(answer.action, [[0.5, 2.0], [0.3, 0.4]])
    assert answer.held.tolist() == [False, True]


def test_what_is_wrong_in_one_unit_is_not_told_of_another():
    last = [np.array([0.1, 0.2], np.float32)] * 3
    obs = np.concatenate([OBS, OBS[:1] - 5.0])

    def act(obs):
        if obs[0] > 0.2:
            return [np.inf, 1.0]
        return [3.0, 2.0] if obs[0] < 0.0 else [0.5, 2.0]

    sound, unusable, moved = ask_each(FunctionController(act), obs, low=LOW, high=HIGH, last=last)
    assert (sound.fault, sound.unusable) == ("", "") and sound.action.tolist() == [0.5, 2.0]
    assert unusable.unusable == unusable.fault and "not a finite number" in unusable.fault
    assert unusable.action.tolist() == last[1].tolist()
    assert "is moved to the bounds" in moved.fault and moved.unusable == ""


def test_an_action_outside_the_bounds_is_clipped_or_held_and_told():
    answer = asked(lambda obs: [3.0, 2.0])
    assert answer.action.tolist() == [1.0, 2.0] and not answer.held and not answer.unusable
    assert answer.fault == (
        "the controller's action [3.0, 2.0] lies outside the bounds [-1.0, 0.0] to [1.0, 5.0]; it "
        "is moved to the bounds."
    )
    held = asked(lambda obs: [3.0, 2.0], last=np.array([0.1, 0.2], np.float32), outside="hold")
    np.testing.assert_allclose(held.action, [0.1, 0.2])


class Server(BaseHTTPRequestHandler):
    """Answers by the path that is asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        obs = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["obs"]
        if self.path == "/slow":
            time.sleep(0.5)
        text = {
            "/act": json.dumps({"action": [row[:2] for row in obs]}),
            "/one": json.dumps({"action": [0.5, 1.0]}),
            "/text": "hello",
            "/drops": "{" + 40 * " " + "}",
        }.get(self.path, "{}")
        self.send_response(500 if self.path == "/broken" else 200)
        self.send_header("Content-Length", str(len(text)))
        if self.path == "/act":
            self.send_header("Connection", "close" if len(obs) == 2 else "keep-alive")
        self.end_headers()
        for letter in text if self.path == "/drops" else ():
            time.sleep(0.05)
            self.wfile.write(letter.encode())
            self.wfile.flush()
        if self.path != "/drops":
            self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_server_answers_one_observation_or_a_batch_over_one_connection(server):
    controller = opened(f"{server}/act")
    assert controller.act(OBS[0]).tolist() == OBS[0, :2].tolist()
    kept = controller._connection
    assert controller.act(OBS[1]).tolist() == OBS[1, :2].tolist() and controller._connection is kept
    assert controller.act(OBS).tolist() == OBS[:, :2].tolist()  # which the server closes
    assert controller.act(OBS[0]).tolist() == OBS[0, :2].tolist()


def test_a_server_that_sends_head_and_content_apart_is_not_waited_for(server):
    """Systems confirm a small packet after 40 ms, unless they are told to do it at once."""
    controller, times = HttpController(f"{server}/act"), [time.perf_counter()]
    for _ in range(20):
        controller.act(OBS[0])
        times.append(time.perf_counter())
    controller.close()
    assert np.median(np.diff(times)) < 0.03


def test_a_server_s_connection_is_closed_with_whoever_asked_it(server, recwarn):
    controller = HttpController(f"{server}/act")
    controller.act(np.zeros(2))
    sock = controller._connection.sock
    del controller
    gc.collect()
    assert sock.fileno() == -1
    assert not [one for one in recwarn if one.category is ResourceWarning]


@pytest.mark.parametrize(
    "path, told",
    [
        ("/slow", r"/slow did not answer within 0\.1 s"),
        ("/broken", "answered with status 500; expected 200"),
        ("/text", "answered b'hello'; expected"),
        ("/other", "answered b'{}'; expected"),
        ("/one", r"actions of shape \(2,\); expected 1 rows"),
    ],
)
def test_a_server_that_does_not_answer_well_is_told(server, path, told):
    controller = HttpController(server + path, timeout=0.1)
    with pytest.raises(InputError, match=told):
        controller.act(OBS[0])
    controller.close()


@pytest.mark.parametrize("path", ["/drops", "/act"])
def test_all_that_a_server_needs_counts_against_its_time(server, path, monkeypatch):
    def looked_up_slowly(*given, **more):
        time.sleep(1.0)

    if path == "/act":
        monkeypatch.setattr(socket, "getaddrinfo", looked_up_slowly)
    controller, begin = HttpController(server + path, timeout=0.2), time.monotonic()
    with pytest.raises(InputError, match=r"did not answer within 0\.2 s"):
        controller.act(OBS[0])
    assert time.monotonic() - begin < 0.8
    monkeypatch.undo()
    controller.url = f"{server}/act"
    assert controller.act(OBS[0]).tolist() == OBS[0, :2].tolist(), "and it can be asked again"
    controller.close()


def test_a_server_that_is_not_there_is_told_and_the_last_action_held():
    controller = HttpController("http://127.0.0.1:9/act", timeout=0.2)
    answer = ask(controller, OBS[0], low=LOW, high=HIGH, last=LOW)
    assert "http://127.0.0.1:9/act cannot be asked" in answer.fault
    assert answer.action.tolist() == LOW.tolist()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://", "localhost:80", "http://a:b/"])
def test_an_address_that_is_none_is_told(url):
    with pytest.raises(InputError, match="the controller's address is"):
        HttpController(url)


def made_npz(path, **changed):
    rng = np.random.default_rng(0)
    arrays = {
        "weight_0": rng.normal(size=(3, 4)), "bias_0": rng.normal(size=4),
        "weight_1": rng.normal(size=(4, 2)), "bias_1": rng.normal(size=2),
        "low": LOW, "high": HIGH, "obs_mean": np.ones(3), "obs_std": np.full(3, 2.0),
    }  # fmt: skip
    arrays = {k: np.asarray(x, np.float32) for k, x in (arrays | changed).items() if x is not None}
    np.savez(path, **arrays)
    return arrays


def test_an_npz_acts_as_its_numbers_say(tmp_path):
    made = made_npz(tmp_path / "policy.npz")
    x = (OBS - 1.0) / 2.0
    hidden = np.maximum(x @ made["weight_0"] + made["bias_0"], 0.0)
    squashed = np.tanh(hidden @ made["weight_1"] + made["bias_1"])
    expected = LOW + (squashed + 1.0) / 2.0 * (HIGH - LOW)
    np.testing.assert_allclose(opened(tmp_path / "policy.npz").act(OBS), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"bias_1": None}, r"cannot be read as a controller \(it has no bias_1\)"),
        ({"bias_1": np.zeros(3)}, r"a layer has weights \(4, 2\) and biases \(3,\)"),
        ({"low": np.zeros(3), "high": np.ones(3)}, "2 outputs and 3 bounds"),
        ({"weight_0": np.full((3, 4), np.nan)}, "not a finite number"),
        ({"obs_std": np.zeros(3)}, "a deviation is not positive"),
        ({"obs_mean": np.ones(2), "obs_std": np.ones(2)}, "2 means for 3 observations"),
    ],
)
def test_an_npz_whose_numbers_do_not_fit_is_told(changed, told, tmp_path):
    made_npz(tmp_path / "policy.npz", **changed)
    with pytest.raises(InputError, match=told):
        opened(tmp_path / "policy.npz")


def onnx_model(path, inputs, rows="batch"):
    """A model whose action is twice the first two entries of the observation."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(np.eye(3, 2, dtype=np.float32) * 2.0, "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", [inputs[0], "w"], ["action"])],
        "controller",
        [helper.make_tensor_value_info(name, kind, [rows, 3]) for name in inputs],
        [helper.make_tensor_value_info("action", kind, [rows, 2])],
        [weights],
    )
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


@pytest.mark.parametrize("rows", ["batch", 1])
def test_an_onnx_file_acts_also_if_it_takes_one_row_at_a_time(rows, tmp_path):
    onnx_model(tmp_path / "a.onnx", ["obs"], rows)
    controller = opened(tmp_path / "a.onnx")
    np.testing.assert_allclose(controller.act(OBS), 2.0 * OBS[:, :2], rtol=1e-6)
    assert controller.act(OBS[0]).shape == (2,)


def test_an_onnx_file_acts_without_onnx_runtime(tmp_path, monkeypatch):
    onnx_model(tmp_path / "a.onnx", ["obs"])
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    np.testing.assert_allclose(opened(tmp_path / "a.onnx").act(OBS), 2.0 * OBS[:, :2], rtol=1e-6)


@pytest.mark.parametrize(("made", "name"), [(made_npz, "a.npz"), (onnx_model, "a.onnx")])
@pytest.mark.parametrize("sizes", [(2, 2), (3, 1)])
def test_a_file_that_is_made_for_another_system_is_told_before_it_acts(
    made, name, sizes, tmp_path, monkeypatch
):
    made(tmp_path / name, **({"inputs": ["obs"]} if made is onnx_model else {}))
    for runtime in (True, False):
        if not runtime:
            monkeypatch.setitem(sys.modules, "onnxruntime", None)
        controller = opened(tmp_path / name)
        check_sizes(controller, name, obs_dim=3, action_dim=2)
        told = f"{name} takes 3 observations and gives 2 actions; this system has {sizes[0]} and"
        with pytest.raises(InputError, match=told):
            check_sizes(controller, name, obs_dim=sizes[0], action_dim=sizes[1])


@pytest.mark.parametrize("wider", [0.5, 2.0])
def test_a_file_that_is_made_for_other_bounds_is_told_before_it_acts(wider, tmp_path):
    made_npz(tmp_path / "a.npz", high=wider * HIGH)
    told = r"a\.npz gives actions from \[-1.0, 0.0\] to .*this system has \[-1.0, 0.0\] to \[1.0, 5"
    with pytest.raises(InputError, match=told):
        opened(tmp_path / "a.npz")
    made_npz(tmp_path / "a.npz", high=HIGH + 1e-7)  # as a text or another program rounds them
    opened(tmp_path / "a.npz")


def test_a_file_that_leaves_its_sizes_open_is_made_for_any_system():
    controller = OnnxController(lambda rows: rows, None)
    check_sizes(controller, "a.onnx", obs_dim=5, action_dim=4)


def test_an_onnx_file_with_two_inputs_is_told(tmp_path):
    onnx_model(tmp_path / "a.onnx", ["obs", "previous_action"])
    with pytest.raises(InputError, match=r"takes 2 inputs \(obs, previous_action\); expected one"):
        opened(tmp_path / "a.onnx")
