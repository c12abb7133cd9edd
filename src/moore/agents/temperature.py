"""The temperature of an agent that holds its policy's entropy at a target (SAC, Haarnoja et al.
2018).
"""

import optax
from jaxtyping import Array, Float


def wanted_entropy(given: float | None, action_dim: int, per_action: float = -1.0) -> float:
    """The target in nats: the given one, or `per_action` for each entry of the action."""
    return per_action * action_dim if given is None else given


def temperature_step(
    log_temperature: Float[Array, ""],
    opt_state: optax.OptState,
    entropy: Float[Array, ""],
    wanted: float,
    learning_rate: float,
) -> tuple[Float[Array, ""], optax.OptState]:
    """One step of Adam on the logarithm of the temperature; also the optimiser's new state.

    It descends log_temperature * (entropy - wanted), as the code of softlearning does: the
    temperature rises while the policy's entropy is below the target.
    """
    step, opt_state = optax.adam(learning_rate).update(entropy - wanted, opt_state)
    return log_temperature + step, opt_state
