"""The policy as numbers for programs that have no ONNX: an .npz for NumPy, a header for C."""

import io

import numpy as np
from jaxtyping import Float

from moore.exporting.network import Network

_PER_LINE = 6


def npz_bytes(network: Network) -> bytes:
    """`policy.npz`: obs_mean, obs_std, weight_0, bias_0, ..., low, high, and rate_limit if any.

    Weights are (inputs, outputs); several members are stacked along a leading axis.
    """
    arrays = {"obs_mean": network.obs_mean, "obs_std": network.obs_std}
    for i, layer in enumerate(network.layers):
        arrays |= {f"weight_{i}": layer.weight, f"bias_{i}": layer.bias}
    arrays |= {"low": network.low, "high": network.high}
    if network.rate_limit is not None:
        arrays["rate_limit"] = network.rate_limit
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type] # its stub takes a name for `allow_pickle`
    return buffer.getvalue()


def run_npz(
    content: bytes,
    obs: Float[np.ndarray, "rows obs"],
    previous: Float[np.ndarray, "rows action"] | None = None,
) -> Float[np.ndarray, "rows action"]:
    """Actions computed from the content of `policy.npz`, as `examples/numpy_policy.py` does."""
    numbers = np.load(io.BytesIO(content), allow_pickle=False)
    x, low, high = obs, numbers["low"], numbers["high"]
    if numbers["obs_mean"].size:
        x = ((x - numbers["obs_mean"]) / numbers["obs_std"]).astype(np.float32)
    depth = sum(name.startswith("weight_") for name in numbers.files)
    for i in range(depth):
        x = x @ numbers[f"weight_{i}"] + numbers[f"bias_{i}"][..., None, :]
        x = np.maximum(x, 0.0) if i + 1 < depth else x
    x = x.mean(axis=0) if x.ndim == 3 else x
    action = np.clip(low + (np.tanh(x) + 1.0) * (0.5 * (high - low)), low, high)
    if "rate_limit" not in numbers.files:
        return action
    assert previous is not None  # a policy with a rate limit is always asked with it
    start, limit = np.clip(previous, low, high), numbers["rate_limit"]
    return np.clip(action, start - limit, start + limit)


def c_header(network: Network, *, about: str) -> str:
    """`policy.h`: the numbers as C arrays, which `examples/c_policy/policy.c` includes.

    `policy_numbers` holds, for each member and each of its layers, the weights row by row
    (inputs, outputs) and then the biases.

    Args:
        network: the policy.
        about: a line of comment.
    """
    obs_dim, action_dim = network.obs_dim, network.low.size
    widths = [obs_dim, *(layer.bias.shape[-1] for layer in network.layers)]
    mean, std = network.obs_mean, network.obs_std
    if not mean.size:
        mean, std = np.zeros(obs_dim), np.ones(obs_dim)
    limit = network.rate_limit
    sizes = {
        "POLICY_OBS": obs_dim,
        "POLICY_ACTION": action_dim,
        "POLICY_MEMBERS": network.members,
        "POLICY_LAYERS": len(network.layers),
        "POLICY_WIDEST": max(widths),
        "POLICY_HAS_RATE_LIMIT": int(limit is not None),
    }
    lines = [f"/* {about} */", "#ifndef POLICY_H", "#define POLICY_H", ""]
    lines += [f"#define {name} {value}" for name, value in sizes.items()]
    lines += ["", f"static const int policy_widths[] = {{{', '.join(map(str, widths))}}};"]
    # Of doubles, for a mean may be much larger than its deviation.
    lines += _array("double", "policy_obs_mean", mean) + _array("double", "policy_obs_std", std)
    lines += _array("float", "policy_low", network.low) + _array(
        "float", "policy_high", network.high
    )
    lines += _array("float", "policy_rate_limit", np.zeros(action_dim) if limit is None else limit)
    lines += _array("float", "policy_numbers", _flat(network))
    return "\n".join([*lines, "", "#endif", ""])


def _flat(network: Network) -> np.ndarray:
    """All weights and biases, member after member."""
    parts = []
    for member in range(network.members):
        for layer in network.layers:
            stacked = layer.weight.ndim == 3
            parts += [x[member] if stacked else x for x in (layer.weight, layer.bias)]
    return np.concatenate([part.ravel() for part in parts])


def _array(kind: str, name: str, values: np.ndarray) -> list[str]:
    """A C array; as many digits as give back the same number."""
    texts = [f"{x:.9g}" if kind == "float" else f"{x:.17g}" for x in values.tolist()]
    # A number of C is a double with a point or an exponent, and a float with an f after it.
    texts = [text if {".", "e"} & set(text) else f"{text}.0" for text in texts]
    texts = [f"{text}f" for text in texts] if kind == "float" else texts
    rows = [", ".join(texts[i : i + _PER_LINE]) for i in range(0, len(texts), _PER_LINE)]
    return [f"static const {kind} {name}[] = {{", ",\n".join(rows) + "};"]
