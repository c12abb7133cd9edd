"""Settings that must fit together. What one number may be stands beside its field."""

import dataclasses
from typing import TYPE_CHECKING

from moore.dynamics.model_config import ModelConfig
from moore.errors import InputError
from moore.findings.defects import check_accepted
from moore.ranges import check_numbers
from moore.replay.schemes import check_scheme
from moore.sinks.trackers import tracker_names

if TYPE_CHECKING:
    from moore.config.run import Config

# Steps of a horizon beyond which values do not settle in any number of updates that is made.
_FURTHEST = 20_000


def check(config: "Config") -> None:
    """Raises InputError for the first setting that cannot be, or that does not fit another."""
    _check_texts(config)
    check_numbers(config)
    check_accepted(config.accept)
    tracker_names(config.track)
    online = config.online
    check_scheme(online.scheme, online.alpha, steps_per_epoch=online.steps_per_epoch)
    _check_bounds(config)
    _check_seconds(config)
    _check_model(config.model)
    _check_critics(config)
    _check_stages(config)


def _check_texts(config: "Config") -> None:
    """Refuses names of files with bytes that no configuration file can hold."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        try:
            if isinstance(value, str):
                value.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{field.name} {value} holds bytes that are no text in UTF-8, or the language "
                "settings (LC_ALL) know no UTF-8; give the file another name."
            ) from None


def _check_bounds(config: "Config") -> None:
    low, high = config.action_low, config.action_high
    if len(low) != len(high):
        raise InputError(
            f"action_low has {len(low)} numbers and action_high {len(high)}; give both, with a "
            "number for each entry of an action."
        )
    if not all(least <= most for least, most in zip(low, high, strict=True)):
        raise InputError(
            f"action_low is {list(low)} and action_high {list(high)}; a lower bound must be "
            "no more than the upper one."
        )


def _check_seconds(config: "Config") -> None:
    interval, settling = config.control_interval, config.settling_time
    if interval is None and settling is None:
        return
    if settling is None:
        raise InputError(
            f"control_interval is {interval:g} s, which alone changes nothing; also give "
            "settling_time, the seconds in which the system settles, or leave it out."
        )
    if interval is None:
        raise InputError(
            f"settling_time is {settling:g} s; also give control_interval, the seconds from one "
            "action to the next: the discount is one of steps."
        )
    if interval > settling:
        raise InputError(
            f"control_interval is {interval:g} s and settling_time {settling:g} s; a system that "
            "settles within one interval leaves nothing to look ahead to: leave both out."
        )
    steps = 3.0 * settling / interval
    if steps > _FURTHEST:
        raise InputError(
            f"control_interval is {interval:g} s and settling_time {settling:g} s; three settling "
            f"times are {steps:,.0f} steps, and values reach no further than {_FURTHEST:,}. Give "
            "both in seconds, or act less often."
        )


def _check_model(model: ModelConfig) -> None:
    if model.elites > model.members:
        raise InputError(
            f"model.elites is {model.elites}; it must lie between 1 and "
            f"model.members ({model.members})."
        )
    layers = len(model.hidden) + 2
    if len(model.weight_decay) != layers:
        raise InputError(
            f"model.weight_decay has {len(model.weight_decay)} entries; "
            f"{len(model.hidden)} hidden layers and two heads need {layers}."
        )


def _check_critics(config: "Config") -> None:
    for name, section in vars(config).items():
        subset = getattr(section, "critic_subset", None)
        if subset is not None and subset > section.critics:
            raise InputError(
                f"{name}.critic_subset is {subset}; it must be at most {name}.critics "
                f"({section.critics})."
            )


def _check_stages(config: "Config") -> None:
    online = config.online
    if config.gate.earned and config.gate.horizon is not None:
        raise InputError(
            "gate.earned compares with whole episodes; leave gate.horizon out, or gate.earned."
        )
    if config.gate.calibrated and config.gate.horizon is not None:
        raise InputError(
            "gate.calibrated compares with whole episodes; leave gate.horizon out, or "
            "gate.calibrated."
        )
    updates, rounds = config.offline.updates_per_epoch, config.offline.rounds
    if updates % rounds:
        raise InputError(
            f"offline.updates_per_epoch ({updates}) must be a multiple of offline.rounds "
            f"({rounds})."
        )
    schedule = online.rollout_schedule
    if schedule is not None and (len(schedule) != 4 or schedule[0] >= schedule[1]):
        raise InputError(
            f"online.rollout_schedule is {list(schedule)}; expected first epoch, a later last "
            "epoch, first length, last length."
        )
    for name in ("refit_every", "update_every"):
        every = getattr(online, name)
        if online.steps_per_epoch % every:
            raise InputError(
                f"online.steps_per_epoch ({online.steps_per_epoch}) must be a multiple of "
                f"online.{name} ({every})."
            )
