"""The exported files compared with the policy that they are made of, on thousands of states."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from moore.exporting.network import Network
from moore.exporting.onnx_graph import ACTION, OBS, PREVIOUS
from moore.exporting.plain_files import run_npz
from moore.exporting.stablehlo import run_stablehlo
from moore.runs.policy import Policy
from moore.runs.policy_file import within_bounds

# Of the action's range.
TOLERANCE = 1e-5
# A policy that is so steep that float32 itself rounds its actions by more than a quarter of that
# may differ by this many times its own rounding, up to the limit.
_OF_ROUNDING, _LIMIT = 4.0, 1e-3

# From observations, and with a rate limit previous actions, to actions.
Run = Callable[..., Float[np.ndarray, "rows action"]]


class VerificationError(Exception):
    """An exported file does not do what the policy does. Nothing of it must be used."""


@dataclass(frozen=True)
class Check:
    """How far one file's actions are from the policy's on one set of states.

    Attributes:
        file: which one.
        states: which states: random or logged.
        rows: how many.
        largest_error: largest difference of an entry of the action, as a share of its range.
        allowed: how much it may be: 1e-5, or more where float32 itself is less exact.
    """

    file: str
    states: str
    rows: int
    largest_error: float
    allowed: float


def verify(
    files: dict[str, bytes],
    policy: Policy,
    network: Network,
    states: dict[str, Float[np.ndarray, "rows obs"]],
    *,
    seed: int,
) -> list[Check]:
    """Compares policy.onnx, policy.stablehlo and policy.npz with the policy.

    The policy acts twice, as `moore.load_policy` does and as its agent does in JAX; a file must
    agree with both. One row alone must give what it gives in a batch, and a row that is not finite
    must give no number.

    Args:
        files: their contents by name.
        policy: the original.
        network: the files were written from it; it knows the rate limit.
        states: sets of observations by name.
        seed: seed of the previous actions, which are drawn where there is a rate limit.

    Raises:
        VerificationError: a difference of more than is allowed.
    """
    found = []
    allowed = {kind: _allowed(policy, network, obs) for kind, obs in states.items() if len(obs)}
    for name, run in runners(files).items():
        for kind, most in allowed.items():
            obs = states[kind]
            error = _largest_error(run, policy, network, obs, seed)
            found.append(Check(name, kind, len(obs), error, most))
            if not error <= most:
                raise VerificationError(
                    f"{name} differs from the policy by {error:.3g} of the action's range on "
                    f"{kind} states; {most:.3g} is allowed."
                )
        if name != "policy.npz":  # whose runner checks its input itself
            _check_not_finite(name, run, network)
    return found


def runners(files: dict[str, bytes]) -> dict[str, Run]:
    """A function for each file that runs it on this machine."""
    return {
        "policy.onnx": onnx_runner(files["policy.onnx"]),
        "policy.stablehlo": lambda *inputs: run_stablehlo(files["policy.stablehlo"], *inputs),
        "policy.npz": lambda *inputs: run_npz(files["policy.npz"], *inputs),
    }


def onnx_runner(content: bytes) -> Run:
    """The model in ONNX Runtime, on one core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(*inputs: np.ndarray) -> np.ndarray:
        return session.run([ACTION], dict(zip((OBS, PREVIOUS), inputs, strict=False)))[0]

    return run


def _allowed(policy: Policy, network: Network, obs: np.ndarray) -> float:
    """How far an action may be from the policy's in these states, as a share of its range."""
    rounding = np.abs(policy(obs) - network.exact(obs)) / _range(network)
    return float(np.clip(_OF_ROUNDING * rounding.max(), TOLERANCE, _LIMIT))


def _range(network: Network) -> np.ndarray:
    """(action,) of each entry; 1 for one that is locked, which must be met exactly."""
    reach = network.high - network.low
    return np.where(reach > 0, reach, 1.0)


def _largest_error(run: Run, policy: Policy, network: Network, obs: np.ndarray, seed: int) -> float:
    """Against both originals, for the whole batch and for its first row alone."""
    originals = policy(obs), by_jax(policy, obs)
    reach = _range(network)
    inputs: tuple[np.ndarray, ...] = (obs,)
    wanted: tuple[np.ndarray, ...] = originals
    if network.rate_limit is not None:
        previous = _previous_actions(network, originals[0], seed)
        inputs, wanted = (obs, previous), tuple(network.limited(a, previous) for a in originals)
    acted = run(*inputs)
    alone = run(*(x[:1] for x in inputs))
    errors = [np.abs(acted - action) / reach for action in wanted]
    errors += [np.abs(alone - wanted[0][:1]) / reach]
    return float(max(error.max() for error in errors))


def by_jax(policy: Policy, obs: Float[np.ndarray, "rows obs"]) -> Float[np.ndarray, "rows action"]:
    """The deterministic actions of the policy's agent, computed by JAX."""
    scaled = jnp.asarray(policy.units.obs_in(obs))
    squashed = np.asarray(jax.jit(policy.agent.act_mode)(policy.weights, scaled))
    return within_bounds(squashed, policy.low, policy.high)


def _previous_actions(
    network: Network, action: Float[np.ndarray, "rows action"], seed: int
) -> Float[np.ndarray, "rows action"]:
    """In odd rows random, also a little out of bounds; in even rows the action itself.

    There the limit is not reached, and hides nothing of the network.
    """
    reach = 0.1 * (network.high - network.low)
    drawn = np.random.default_rng(seed).uniform(
        network.low - reach, network.high + reach, action.shape
    )
    drawn[::2] = action[::2]
    return drawn.astype(np.float32)


def _check_not_finite(name: str, run: Run, network: Network) -> None:
    """Raises VerificationError if a broken sensor's reading leads to an action."""
    obs = np.zeros((3, network.obs_dim), np.float32)
    obs[0, 0], obs[1, -1] = np.nan, np.inf
    inputs = [obs]
    if network.rate_limit is not None:
        inputs.append(np.tile(network.low, (3, 1)))
    acted = run(*inputs)
    if not (np.isnan(acted[:2]).all() and np.isfinite(acted[2]).all()):
        raise VerificationError(f"{name} gives an action for an observation that is not finite.")
