"""Presets: configurations as data; the TOML files beside this one give each number a source."""

import tomllib
from functools import cache
from importlib import resources

from moore.config import Config, from_dict
from moore.errors import InputError

# Presets that are a file of their own.
_WHOLE = ("quickstart", "sac")


@cache
def _table(name: str) -> dict:
    return tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text())


def preset_names() -> list[str]:
    """quickstart, sac, laptop/<task> and paper/<task> for the paper's 12 tasks."""
    tasks = _table("paper")["tasks"]
    return [*_WHOLE, *(f"{scale}/{task}" for scale in ("laptop", "paper") for task in tasks)]


def preset(name: str) -> Config:
    """The configuration of that name; `dataclasses.replace` alters it.

    Example:
        >>> preset("paper/hopper-medium-replay").rollout_length
        5

    Raises:
        InputError: unknown name; lists the known ones.
    """
    if name not in preset_names():
        raise InputError(
            f"unknown preset '{name}'; the known ones are {', '.join(preset_names())}."
        )
    if name in _WHOLE:
        return from_dict(_table(name))
    scale, task = name.split("/")
    config = from_dict(_table("paper")["base"])
    config = from_dict(_table("paper")["tasks"][task], base=config)
    if scale == "laptop":
        laptop = _table("laptop")
        config = from_dict(laptop["tasks"][task], base=from_dict(laptop["base"], base=config))
    return config
