"""Configurations as nested dictionaries and as TOML files."""

import dataclasses
import functools
import tomllib
from collections.abc import Collection
from pathlib import Path

import tomli_w

from moore.config.run import Config
from moore.errors import InputError, near_file
from moore.files import short_path
from moore.tables import known_part, merge, plain


def from_dict(values: dict, *, base: Config | None = None) -> Config:
    """A configuration from nested dictionaries, over `base` or the defaults.

    Raises:
        InputError: an unknown name (the known ones are listed) or a value of the wrong type.
    """
    return merge(base if base is not None else Config(), values)


def known_settings(values: dict) -> tuple[dict, list[str]]:
    """Nested settings without those of no known name; and the names that were left out."""
    return known_part(Config, values)


@functools.cache
def _defaults() -> dict:
    """The values of a configuration that nothing was set in; not to be changed."""
    return dataclasses.asdict(Config())


def to_dict(config: Config, *, without: Collection[str] = ()) -> dict:
    """Nested dictionaries of plain TOML values.

    A setting that is None is left out where that is its default, else it is the text `none`.

    Args:
        config: the settings.
        without: names of sections that are left out.
    """
    values = plain(dataclasses.asdict(config), _defaults())
    return {name: value for name, value in values.items() if name not in without}


def to_toml(config: Config, *, without: Collection[str] = ()) -> str:
    """The text of a TOML file; the arguments are those of `to_dict`."""
    return tomli_w.dumps(to_dict(config, without=without))


def read_toml(path: Path) -> Config:
    """The configuration of a run folder, or one written by hand.

    Settings and whole sections that the file does not name have their defaults.

    Raises:
        InputError: missing or unreadable file, unknown setting, wrong type.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = near_file(path) or "."
        raise InputError(f"there is no configuration at {short_path(path)}{hint}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from None
    return from_dict(values)
