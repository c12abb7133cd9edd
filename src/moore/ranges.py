"""Which numbers a setting may have, by its name."""

import dataclasses
import math

from moore.errors import InputError

# Fields that may be zero or negative; every other number must be positive.
_NON_NEGATIVE = {
    "seed",
    "penalty_coef",
    "epochs",
    "episodes",
    "real_ratio",
    "random_steps",
    "frozen_steps",
    "weight_decay",
    "warm_up",
    "conservative_weight",
    "bc_weight",
    "online_bc_weight",
    "proportional_gain",
    "derivative_gain",
}
_ANY_SIGN = {
    "return_low",
    "return_high",
    "target_entropy",
    "entropy_per_action",
    "threshold",
    "confidence",
}
_FRACTIONS = {
    "initial_online_share",
    "kept_share",
    "return_rate",
    "average_rate",
    "expectile",
    "clip_targets",
    "floor_targets",
    "discount",
    "holdout_fraction",
    "penalty_coverage",
    "real_ratio",
    "target_rate",
    "trust_quantile",
}
_MAY_BE_INFINITE = {"imagined_bound"}
# What these give is divided by one minus them.
_BELOW_ONE = {"initial_online_share"}
# Whole numbers count rows and steps on the device; a seed is none of them.
_MOST = {int: 2**31 - 1, float: 3.0e38}
_MOST_LAYERS = 100


def check_numbers(config: object, prefix: str = "") -> None:
    """Signs and ranges of every number in a configuration, by field name.

    Raises:
        InputError: the first that does not fit.
    """
    for item in dataclasses.fields(config):  # type: ignore[arg-type]
        value, name = getattr(config, item.name), prefix + item.name
        if dataclasses.is_dataclass(value):
            check_numbers(value, f"{name}.")
            continue
        if isinstance(value, tuple) and len(value) > _MOST_LAYERS:
            raise InputError(
                f"{name} has {len(value)} entries; at most {_MOST_LAYERS} are possible."
            )
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            whole = isinstance(number, int)
            if not whole and not math.isfinite(number) and item.name not in _MAY_BE_INFINITE:
                raise InputError(f"{name} is {number}; it must be a finite number.")
            most = _MOST[int if whole else float]
            if abs(number) > most and item.name not in _MAY_BE_INFINITE | {"seed"}:
                raise InputError(f"{name} is too large a number; it must be at most {most:g}.")
            if item.name in _FRACTIONS and not 0.0 <= number <= 1.0:
                raise InputError(f"{name} is {number}; it must lie between 0 and 1.")
            if item.name in _BELOW_ONE and number == 1.0:
                raise InputError(f"{name} is {number}; it must lie below 1.")
            if item.name in _ANY_SIGN | _FRACTIONS:
                continue
            if number < 0 or (number == 0 and item.name not in _NON_NEGATIVE):
                least = "not negative" if item.name in _NON_NEGATIVE else "positive"
                raise InputError(f"{name} is {number}; it must be {least}.")
