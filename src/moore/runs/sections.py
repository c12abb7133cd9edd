"""The sections of a configuration that a run uses; its folder holds no others."""

import dataclasses
from typing import Any

from moore.algorithms import find
from moore.config import Config, to_dict, to_toml
from moore.config.found import found_sections

# Sections that only an algorithm with models uses, and only one with an offline stage.
_OF_MODELS, _OF_A_LOG = ("model", "gate"), ("offline",)


def unused_sections(config: Config) -> tuple[str, ...]:
    """Names of the sections that no result of the configuration's algorithm depends on.

    Raises:
        InputError: the algorithm is unknown.
    """
    algorithm = find(config.algorithm)
    own = (*algorithm.agent.sections, *(section.name for section in algorithm.experience.sections))
    of_others = tuple(name for name in found_sections() if name not in own)
    of_models = () if algorithm.experience.has_models else _OF_MODELS
    return (*of_others, *of_models, *(() if algorithm.uses_log else _OF_A_LOG))


def used_settings(config: Config) -> Config:
    """The configuration, in which unused sections have their default values.

    After this, two configurations of the same run are equal.
    """
    defaults: Any = Config()
    unused = {name: getattr(defaults, name) for name in unused_sections(config)}
    return dataclasses.replace(config, **unused)


def run_dict(config: Config) -> dict:
    """The sections that the run uses, as `moore.config.to_dict` writes them."""
    return to_dict(config, without=unused_sections(config))


def run_toml(config: Config) -> str:
    """The text of a run's config.toml; `moore.config.read_toml` reads it back."""
    return to_toml(config, without=unused_sections(config))
