"""contract.json: what goes in, what comes out, where it is from, and how it was checked."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from moore.exporting.network import Network
from moore.exporting.onnx_graph import ACTION, BATCH, IR_VERSION, OBS, OPSET, PREVIOUS
from moore.exporting.policy_facts import PolicyFacts
from moore.exporting.stablehlo import PLATFORMS
from moore.exporting.states import LoggedStates
from moore.exporting.verification import TOLERANCE, Check
from moore.runs.policy import Policy
from moore.version import __version__

FORMAT = 1
_PACKAGES = ("jax", "numpy", "onnx", "onnxruntime")


@dataclass(frozen=True, eq=False)
class Exported:
    """All that a contract and a model card tell.

    Attributes:
        policy, network, facts, logged: the parts that they are made of.
        files: content of the other files by name.
        checks: how they were compared with the policy.
        random_how: how the random states were drawn.
        seed: seed of all random draws.
        command: the command that wrote the files.
    """

    policy: Policy
    network: Network
    facts: PolicyFacts
    logged: LoggedStates
    files: dict[str, bytes]
    checks: Sequence[Check]
    random_how: str
    seed: int
    command: str


def contract_of(exported: Exported) -> dict:
    """The content of contract.json."""
    policy, facts = exported.policy, exported.facts
    return {
        "format": FORMAT,
        "policy": {
            "id": facts.policy_id,
            "agent": policy.agent.name,
            "algorithm": policy.config.algorithm,
            "env_id": policy.env_id,
            "seed": policy.config.seed,
            "saved_by": facts.saved_by,
            "deterministic": True,
        },
        "inputs": inputs_of(exported),
        "outputs": [_action(exported)],
        "inside": {
            "normaliser": bool(exported.network.obs_mean.size),
            "squashing": "tanh",
            "clipped_to_bounds": True,
            "rate_limit": exported.network.rate_limit is not None,
            "members_averaged": exported.network.members,
            "hidden_layers": [layer.bias.shape[-1] for layer in exported.network.layers[:-1]],
            "not_finite_input": "the actions of the row are NaN",
        },
        "log": _log(exported),
        "scores": facts.scores,
        "verification": {
            "tolerance": TOLERANCE,
            "error": "largest difference of an entry of the action, as a share of its range, from "
            "moore.load_policy and from the agent in JAX",
            "random_states": exported.random_how,
            "logged_states": exported.logged.missing or "rows of the log, drawn at random",
            "seed": exported.seed,
            "checks": [asdict(check) for check in exported.checks],
        },
        "files": {name: _about_file(name, data) for name, data in exported.files.items()},
        "command": exported.command,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of moore, Python, and the packages that wrote and checked the files."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"moore": __version__, "python": platform.python_version(), **found}


def inputs_of(exported: Exported) -> list[dict]:
    """The inputs in their order."""
    logged, columns = exported.logged, exported.logged.columns
    obs_dim, low, high = exported.network.obs_dim, logged.low.tolist(), logged.high.tolist()
    names, units = _names(columns, OBS, obs_dim), _units(columns, OBS, obs_dim)
    entries = [
        {
            "name": names[i],
            "unit": units[i],
            "log_low": low[i] if low else None,
            "log_high": high[i] if high else None,
        }
        for i in range(obs_dim)
    ]
    found = [_array(OBS, entries)]
    if exported.network.rate_limit is not None:
        previous = [{k: v for k, v in e.items() if k != "rate_limit"} for e in _entries(exported)]
        found.append(_array(PREVIOUS, previous))
    return found


def _action(exported: Exported) -> dict:
    return _array(ACTION, _entries(exported))


def _array(name: str, entries: list[dict]) -> dict:
    shape = [BATCH, len(entries)]
    return {"name": name, "dtype": "float32", "shape": shape, "entries": entries}


def _entries(exported: Exported) -> list[dict]:
    """Of the action: names, units, bounds, and the limit of their change."""
    network, columns = exported.network, exported.logged.columns
    size, limit = network.low.size, network.rate_limit
    names, units = _names(columns, ACTION, size), _units(columns, ACTION, size)
    return [
        {
            "name": names[i],
            "unit": units[i],
            "low": float(network.low[i]),
            "high": float(network.high[i]),
            "rate_limit": None if limit is None else float(limit[i]),
        }
        for i in range(size)
    ]


def _names(columns: dict[str, list[str]], kind: str, size: int) -> list[str]:
    found = columns.get(f"{kind}_names", [])
    return found if len(found) == size else [f"{kind}[{i}]" for i in range(size)]


def _units(columns: dict[str, list[str]], kind: str, size: int) -> list[str | None]:
    """None where the log does not say."""
    found = columns.get(f"{kind}_units", [])
    return [unit or None for unit in found] if len(found) == size else [None] * size


def _log(exported: Exported) -> dict | None:
    """Of the log that the policy was trained on, as its run recorded it, else as it was read."""
    known, logged = exported.facts.log, exported.logged
    if not (known or logged.sha256):
        return None
    name = exported.policy.config.dataset
    found = {"name": name, "sha256": logged.sha256 or None} | known
    if logged.sha256:
        found["unchanged"] = found["sha256"] == logged.sha256
    return found


def _about_file(name: str, content: bytes) -> dict:
    about: dict = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if name == "policy.onnx":
        about |= {"opset": OPSET, "ir_version": IR_VERSION}
    if name == "policy.stablehlo":
        about |= {"platforms": list(PLATFORMS), "read_with": "jax.export.deserialize"}
    return about
