"""Gradient steps as the agents take them: of Adam (Kingma and Ba 2015), and only now and then."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree


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
        opt_state: state of `optax.adam`.
        learning_rate: size of the step.
        arguments: the other arguments of the loss.
        has_aux: see `loss`.
    """
    found, gradient = jax.value_and_grad(loss, has_aux=has_aux)(parameters, *arguments)
    step, opt_state = optax.adam(learning_rate).update(gradient, opt_state)
    return optax.apply_updates(parameters, step), opt_state, found


def learn_once_in(
    every: int, updates: Int[Array, ""], learn: Callable, state: PyTree
) -> tuple[PyTree, dict[str, Float[Array, ""]]]:
    """`learn(state)` at the last of `every` updates, and nothing at the others.

    The metrics of the actor are 0 where nothing is learned and multiplied by `every` where it is,
    so that means over updates are those of its steps.
    """

    def scaled(before: PyTree):
        after, metrics = learn(before)
        return after, jax.tree.map(lambda x: x * every, metrics)

    def wait(before: PyTree):
        return before, {"actor_loss": jnp.zeros(()), "entropy": jnp.zeros(())}

    due = (updates + 1) % every == 0
    return scaled(state) if every == 1 else jax.lax.cond(due, scaled, wait, state)
