"""One step of Adam on a loss, as the agents take it (Kingma and Ba 2015)."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jaxtyping import PyTree


def adam_step(
    loss: Callable[..., Any],
    parameters: PyTree,
    opt_state: optax.OptState,
    learning_rate: float,
    *arguments: Any,
    has_aux: bool = False,
) -> tuple[PyTree, optax.OptState, Any]:
    """The parameters and the optimiser's state after the step, and what the loss was before it.

    Args:
        loss: `loss(parameters, *arguments)`, a scalar; with `has_aux` a pair of it and something
            else, which is returned as it is.
        parameters: what the loss is differentiated with respect to.
        opt_state: of `optax.adam`.
        learning_rate: size of the step.
        arguments: the other arguments of the loss.
        has_aux: see `loss`.
    """
    found, gradient = jax.value_and_grad(loss, has_aux=has_aux)(parameters, *arguments)
    step, opt_state = optax.adam(learning_rate).update(gradient, opt_state)
    return optax.apply_updates(parameters, step), opt_state, found
