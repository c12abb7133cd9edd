"""Conversion of metrics to the user's units; lists the metrics that are in units of reward."""

from collections.abc import Mapping

from moore.units import Units

_OF_REWARDS = frozenset(
    (
        "model/imagined_reward",
        "model/episode_return",
        "model/episode_discounted_return",
        "gate/gain",
        "gate/standard_error",
        "gate/return",
        "gate/bar",
        "theory/return_old",
        "theory/return_carried",
        "theory/return_new",
        "theory/predicted_drop",
        "theory/drop_term",
    )
)
# Values of the critics. What optimisers work on (losses, the conservative term, the temperature)
# stays in the agents' units.
_OF_VALUES = frozenset(
    f"losses/{name}" for name in ("q_target", "q_target_max", "q_possible", "q_logged", "advantage")
)
# u, if it is one of values; one of standard deviations mixes the units of all entries.
_OF_UNCERTAINTY = frozenset(
    (
        "model/uncertainty_mean",
        "model/uncertainty_p20",
        "model/uncertainty_p80",
        "gate/uncertainty_gain",
        "theory/uncertainty_old",
        "theory/uncertainty_carried",
        "theory/uncertainty_new",
    )
)
# IQL scales the rewards once more; this factor converts its values to the user's units.
_FACTOR = "losses/reward_scale"


def in_users_units(metrics: Mapping, units: Units, *, uncertainty: str) -> dict:
    """Metrics of models and agents in the user's units.

    Args:
        metrics: values by name; None if a number is missing.
        units: units of the run.
        uncertainty: u of the configuration, "std" or "value".
    """
    if units.reward_scale == 1.0:
        return dict(metrics)
    names = _OF_REWARDS
    if _FACTOR not in metrics:
        names |= _OF_VALUES
    if uncertainty == "value":
        names |= _OF_UNCERTAINTY
    result = {
        name: units.reward_out(value) if name in names and value is not None else value
        for name, value in metrics.items()
    }
    if result.get(_FACTOR) is not None:
        result[_FACTOR] = units.reward_in(result[_FACTOR])
    return result
