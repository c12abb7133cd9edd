"""The policy of a stable-baselines3 zip: its weights, and the few settings that acting needs.

The zip holds the weights as a PyTorch file (policy.pth) and the settings as JSON, in which whatever
is not plain data was pickled. Neither is unpickled here: weights are read by `torch_file`, and of
the settings only the texts beside the pickles are used. Which layers act, and what is done with
their output, is read off stable_baselines3/{sac,td3,ppo}/policies.py and common/policies.py.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.guarding.controllers import same_bounds
from moore.guarding.files import LARGEST, read_whole
from moore.guarding.networks import ACTIVATIONS, NetworkController, checked, from_state
from moore.guarding.torch_file import open_torch


def read_stable_baselines3(
    path: Path,
    *,
    low: Float[np.ndarray, " action"],
    high: Float[np.ndarray, " action"],
    obs_mean: Float[np.ndarray, " obs"] | None = None,
    obs_std: Float[np.ndarray, " obs"] | None = None,
) -> NetworkController:
    """The deterministic policy of SAC, TD3, DDPG, PPO or A2C with an MlpPolicy.

    Args:
        path: what `model.save(path)` has written.
        low, high: bounds of the actions; they must be those of the training.
        obs_mean, obs_std: if the policy was trained inside VecNormalize, the `obs_rms.mean` and the
            square root of `obs_rms.var + epsilon` of that wrapper. They are in a file of their own,
            and nothing in the zip tells that they are needed. VecNormalize also clips at 10
            deviations, which is not done here.

    Raises:
        InputError: the file cannot be read, or holds another kind of policy.
    """
    content = read_whole(path, "a zip that stable-baselines3 has saved")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as entries:
            sizes = [entries.getinfo(name).file_size for name in ("policy.pth", "data")]
            if max(sizes) > LARGEST:
                raise ValueError("it is too large")
            weights, settings = entries.read("policy.pth"), json.loads(entries.read("data"))
        _check_settings(settings, low, high)
        file = open_torch(weights)
        state = file.arrays(file.content)
        names, squashed = _acting_layers(state)
        activation = _activation(settings, default="relu" if squashed else "tanh")
        _check_outputs(state.get(f"{names[-1]}.weight"), low.size)
        layers = from_state(state, names, inputs=None, outputs=low.size)
    except (KeyError, ValueError, TypeError, OSError, EOFError, RecursionError, RuntimeError,
            zipfile.BadZipFile) as error:  # fmt: skip
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path} cannot be read as a policy of stable-baselines3: {reason}."
        ) from None
    nothing = np.zeros(0)
    return checked(
        NetworkController(
            layers,
            activation,
            squashed,
            low,
            high,
            nothing if obs_mean is None else np.asarray(obs_mean, np.float64),
            nothing if obs_std is None else np.asarray(obs_std, np.float64),
        ),
        str(path),
    )


def _check_outputs(last: np.ndarray | None, size: int) -> None:
    if last is not None and last.ndim == 2 and len(last) != size:
        raise ValueError(f"its actions have {len(last)} entries, the bounds {size}")


def _acting_layers(state: dict[str, np.ndarray]) -> tuple[list[str], bool]:
    """Names of the layers of the deterministic action, in order, and whether tanh follows."""
    if any("features_extractor" in name for name in state):
        raise ValueError("it has a features extractor; only MlpPolicy is read")
    if "actor.latent_pi.0.weight" in state or "actor.log_std.weight" in state:  # SAC
        return [*_numbered(state, "actor.latent_pi"), "actor.mu"], True
    if "actor.mu.0.weight" in state:  # TD3, DDPG
        return _numbered(state, "actor.mu"), True
    if "action_net.weight" in state:  # PPO, A2C
        return [*_numbered(state, "mlp_extractor.policy_net"), "action_net"], False
    raise ValueError("its weights are not those of SAC, TD3, DDPG, PPO or A2C with an MlpPolicy")


def _numbered(state: dict[str, np.ndarray], prefix: str) -> list[str]:
    """Names of the linear layers of a torch.nn.Sequential, in order."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.weight")
    numbers = sorted(int(found[1]) for name in state if (found := pattern.fullmatch(name)))
    return [f"{prefix}.{number}" for number in numbers]


def _activation(settings: dict, *, default: str) -> str:
    """Name of the activation in the settings' `policy_kwargs`."""
    kwargs = settings.get("policy_kwargs")
    told = kwargs.get("activation_fn") if isinstance(kwargs, dict) else None
    if told is None:
        return default
    name = re.sub(r"[^\w.]|class", "", str(told)).rsplit(".", 1)[-1].lower()
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(f"its activation is {name}; the known ones are {known}")
    return name


def _check_settings(settings: Any, low: np.ndarray, high: np.ndarray) -> None:
    """Refuses what the weights alone do not tell."""
    if not isinstance(settings, dict):
        raise ValueError("its settings are not a table")
    kwargs = settings.get("policy_kwargs")
    if settings.get("use_sde") or (isinstance(kwargs, dict) and kwargs.get("squash_output")):
        raise ValueError("it explores with state-dependent noise (use_sde), which is not read")
    space = settings.get("action_space")
    if not isinstance(space, dict):
        return
    if "Box" not in str(space.get(":type:")):
        raise ValueError(f"its actions are {space.get(':type:')}; only continuous ones are read")
    for name, given in (("low", low), ("high", high)):
        told = [float(x) for x in re.findall(r"[-+]?[\d.]+(?:e[-+]?\d+)?", str(space.get(name)))]
        # Texts of many numbers are cut by NumPy.
        if len(told) == given.size and not same_bounds(told, given):
            raise ValueError(
                f"it was trained with the bounds {name} = {told}, but {given.tolist()} is given"
            )
