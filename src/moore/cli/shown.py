"""The settings that the help of a command shows: those that its algorithm uses."""

import dataclasses
from typing import Annotated

from moore.config import Config
from moore.runs.sections import unused_sections


def without_unused(config: Config) -> Config:
    """The configuration, in a class whose unused sections tyro does not show."""
    import tyro

    hidden = [
        (name, Annotated[type(section), tyro.conf.Suppress], dataclasses.field(default=section))
        for name in unused_sections(config)
        if (section := getattr(config, name)) is not None
    ]
    shown = dataclasses.make_dataclass("Shown", hidden, bases=(Config,), frozen=True)
    return shown(**vars(config))
