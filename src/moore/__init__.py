"""moore: take a policy that was learned from logged data online, without a dip.

    import moore
    result = moore.run(moore.preset("quickstart"))
    policy = moore.load_policy(result.folder)

The names below are loaded on first use, so that `import moore` costs nothing.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING

from moore.errors import InputError
from moore.version import __version__

if TYPE_CHECKING:
    from moore.config import Config
    from moore.data.dataset import Dataset
    from moore.envs.plant_spec import PlantSpec
    from moore.evaluation.scores import ReferenceScores, reference_scores
    from moore.evaluation.transfer import transfer_metrics
    from moore.formats.load import load_dataset
    from moore.presets import preset, preset_names
    from moore.replay.schemes import Scheme, parse_scheme
    from moore.runs.policy import Policy, load_policy
    from moore.runs.run import RunResult, resume, run
    from moore.sessions.session import Session

_HOMES = {
    "Config": "moore.config",
    "Dataset": "moore.data.dataset",
    "PlantSpec": "moore.envs.plant_spec",
    "Policy": "moore.runs.policy",
    "ReferenceScores": "moore.evaluation.scores",
    "RunResult": "moore.runs.run",
    "Scheme": "moore.replay.schemes",
    "Session": "moore.sessions.session",
    "load_dataset": "moore.formats.load",
    "load_policy": "moore.runs.policy",
    "parse_scheme": "moore.replay.schemes",
    "preset": "moore.presets",
    "preset_names": "moore.presets",
    "reference_scores": "moore.evaluation.scores",
    "resume": "moore.runs.run",
    "run": "moore.runs.run",
    "transfer_metrics": "moore.evaluation.transfer",
}

__all__ = [
    "Config",
    "Dataset",
    "InputError",
    "PlantSpec",
    "Policy",
    "ReferenceScores",
    "RunResult",
    "Scheme",
    "Session",
    "__version__",
    "load_dataset",
    "load_policy",
    "parse_scheme",
    "preset",
    "preset_names",
    "reference_scores",
    "resume",
    "run",
    "transfer_metrics",
]


# Where only NumPy is installed, a saved policy acts all the same.
_NEEDED = ("jax", "equinox", "jaxtyping", "safetensors")
_WITH_NUMPY_ALONE = {
    "load_policy": ("moore.exporting.numpy_policy", "load_policy"),
    "Policy": ("moore.exporting.numpy_policy", "NumpyPolicy"),
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'moore' has no attribute '{name}'")
    module, attribute = _HOMES[name], name
    if name in _WITH_NUMPY_ALONE and not all(map(_is_there, _NEEDED)):
        module, attribute = _WITH_NUMPY_ALONE[name]
    return getattr(importlib.import_module(module), attribute)


def _is_there(package: str) -> bool:
    """Whether a package can be imported; one that something keeps from it is not there."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def __dir__() -> list[str]:
    return __all__
