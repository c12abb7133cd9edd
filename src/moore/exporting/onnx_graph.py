"""The policy as an ONNX graph, written node by node from its weights.

Only operators of opset 13 (ONNX 1.8, 2020): Sub, Div, MatMul, Add, Relu, ReduceSum, Mul, Tanh, Max,
Min. All numbers are float32. A row whose observation is not finite gets NaN as its actions.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moore.errors import InputError
from moore.exporting.network import Network
from moore.version import __version__

OPSET, IR_VERSION = 13, 7
OBS, PREVIOUS, ACTION, BATCH = "obs", "previous_action", "action", "batch"


def need_onnx() -> None:
    """Raises InputError, which says what to install, where a package is missing."""
    for package in ("onnx", "onnxruntime", "flatbuffers"):
        try:
            __import__(package)
        except ImportError as error:
            raise InputError(
                f"exporting needs the package {package}, which cannot be imported ({error}); "
                'install the extra: pip install "moore-rl[export]".'
            ) from None


@dataclass
class _Graph:
    """Nodes and constants in the making. Every result is named after its operator."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes) -> str:
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output


def onnx_bytes(network: Network, *, about: str) -> bytes:
    """The serialised model: input `obs` (batch, obs), output `action` (batch, action).

    Args:
        network: with a rate limit, `previous_action` (batch, action) is a second input.
        about: what the model is, for its documentation.

    Raises:
        InputError: the package `onnx` is missing.
    """
    need_onnx()
    import onnx
    from onnx import helper

    graph = _Graph()
    action = _action(graph, network)
    inputs = {OBS: network.obs_dim}
    if network.rate_limit is not None:
        inputs[PREVIOUS] = network.low.size
        action = _limited(graph, network.rate_limit, action)
    _with_nan(graph, action, list(inputs))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "policy",
            [_array(name, size) for name, size in inputs.items()],
            [_array(ACTION, network.low.size)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="moore",
        producer_version=__version__,
        doc_string=about,
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _array(name: str, size: int) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, size])


def _action(graph: _Graph, network: Network) -> str:
    """The action before any rate limit."""
    x = OBS
    if network.obs_mean.size:
        for name, part in zip(("obs_mean", "obs_mean_rest"), network.split_mean, strict=True):
            x = graph.node("Sub", x, graph.constant(name, part))
        x = graph.node("Div", x, graph.constant("obs_std", network.obs_std.astype(np.float32)))
    for i, layer in enumerate(network.layers):
        x = graph.node("MatMul", x, graph.constant(f"weight_{i}", layer.weight))
        x = graph.node("Add", x, graph.constant(f"bias_{i}", layer.bias[..., None, :]))
        if i + 1 < len(network.layers):
            x = graph.node("Relu", x)
    if network.layers[0].weight.ndim == 3:
        axis = graph.constant("members_axis", np.asarray([0]))
        share = graph.constant("member_share", np.asarray(1.0 / network.members, np.float32))
        x = graph.node("Mul", graph.node("ReduceSum", x, axis, keepdims=0), share)
    x = graph.node("Add", graph.node("Tanh", x), graph.constant("one", np.ones(1, np.float32)))
    x = graph.node("Mul", x, graph.constant("half_range", network.half_range))
    x = graph.node("Add", x, graph.constant("low", network.low))
    graph.constant("high", network.high)
    return graph.node("Min", graph.node("Max", x, "low"), "high")


def _limited(graph: _Graph, rate_limit: np.ndarray, action: str) -> str:
    start = graph.node("Min", graph.node("Max", PREVIOUS, "low"), "high")
    limit = graph.constant("rate_limit", rate_limit)
    least, most = graph.node("Sub", start, limit), graph.node("Add", start, limit)
    return graph.node("Min", graph.node("Max", action, least), most)


def _with_nan(graph: _Graph, action: str, inputs: list[str]) -> None:
    """Adds x - x of every input entry: 0 for finite numbers, NaN for all others.

    Without it Relu, Max and Min may turn a broken sensor's NaN into an action that looks right.
    """
    axis = graph.constant("last_axis", np.asarray([1]))
    for i, name in enumerate(inputs):
        zero = graph.node("ReduceSum", graph.node("Sub", name, name), axis, keepdims=1)
        last = i + 1 == len(inputs)
        action = graph.node("Add", action, zero, output=ACTION if last else None)
