"""Presets: configurations as data. The TOML files beside this one name a source for each number."""

import tomllib
from dataclasses import replace
from functools import cache
from importlib import resources

from moore.config import Config, from_dict
from moore.errors import unknown

# Presets that are a file of their own.
_WHOLE = ("quickstart", "sac", "plant")
# What is taken where no algorithm is asked for, by preset or scale; otherwise that of the file.
_DEFAULT = {
    "quickstart": "moore_safe", "quick": "moore_safe", "laptop": "moore_safe",
    "plant": "moore_robust",
}  # fmt: skip


@cache
def _table(name: str) -> dict:
    return tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text())


def preset_names() -> list[str]:
    """quickstart, sac, plant, quick/<task>; laptop/<task>, paper/<task> for the paper's 12."""
    tables = {"quick": "quick", "laptop": "paper", "paper": "paper"}
    scaled = [f"{scale}/{task}" for scale, name in tables.items() for task in _table(name)["tasks"]]
    return [*_WHOLE, *scaled]


def preset(name: str, *, algorithm: str | None = None) -> Config:
    """The configuration of that name; `dataclasses.replace` alters it.

    Args:
        name: one of `preset_names`.
        algorithm: a row of `moore.algorithms`; its settings for this task and scale are included.
            By default `moore_safe` for quickstart, quick/<task> and laptop/<task>, `moore_robust`
            for plant, `sac` for sac, and the paper's `moore` for paper/<task>. For a plant of one
            unit with episodes take `moore_safe`: its budget is what a session's mode canary needs.

    Examples:
        >>> preset("paper/hopper-medium-replay").rollout_length
        5

    Raises:
        InputError: unknown name; lists the known ones.
    """
    if name not in preset_names():
        raise unknown("preset", name, preset_names())
    scale, _, task = name.rpartition("/")
    if name in _WHOLE:
        config = from_dict(_table(name))
    elif scale == "quick":
        config = _over(from_dict(_table("quickstart")), "quick", task)
    else:
        config = _over(Config(), "paper", task)
        config = _over(config, "laptop", task) if scale == "laptop" else config
    if algorithm is None:
        algorithm = _DEFAULT.get(scale or name)
    return config if algorithm is None else _with_algorithm(config, algorithm, scale, task)


def relabels(old: str, new: str) -> bool:
    """Whether a configuration of the one algorithm becomes the other's by its name alone."""
    return not any(parts for name in (old, new) for parts in _chain(name) if any(parts.values()))


def _with_algorithm(config: Config, algorithm: str, scale: str, task: str) -> Config:
    """The configuration with the settings of an algorithm; unchanged if it has it already."""
    if algorithm == config.algorithm:
        return config
    scale, domain = scale or "quick", task.split("-")[0]
    for values in _chain(algorithm):
        for part in ("all", scale, f"{scale}-{domain}", f"{scale}-{task}"):
            config = from_dict(values.get(part, {}), base=config)
    return replace(config, algorithm=algorithm)


def _chain(algorithm: str) -> list[dict]:
    """What the table says of an algorithm, after what it says of the one that it is like."""
    values = dict(_table("algorithms").get(algorithm, {}))
    like = values.pop("like", None)
    return [values] if like is None else [*_chain(like), values]


def _over(config: Config, table: str, task: str) -> Config:
    """The configuration with a table's settings for all tasks, then those for this task."""
    values = _table(table)
    return from_dict(values["tasks"][task], base=from_dict(values["base"], base=config))
