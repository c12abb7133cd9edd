"""The matrix products of the inner operations, written down by hand, and the same ones in NumPy.

A product counts 2mkn operations. A layer's backward pass has two products of the size of its
forward one: the gradient of the weights, and that of the inputs where something needs it.
Elementwise work, random numbers and the optimiser are not counted.
"""

import itertools
from collections.abc import Callable

import numpy as np

Product = tuple[int, int, int]  # (m, k, n): an m x k matrix times a k x n one
Widths = tuple[int, ...]  # inputs, hidden layers, outputs


def forward(widths: Widths, batch: int) -> list[Product]:
    """X W of every layer; X is (batch, inputs), W is (inputs, outputs)."""
    return [(batch, n, m) for n, m in itertools.pairwise(widths)]


def to_weights(widths: Widths, batch: int) -> list[Product]:
    """X^T dY of every layer: the gradient of its weights."""
    return [(n, batch, m) for _, n, m in forward(widths, batch)]


def to_inputs(widths: Widths, batch: int) -> list[Product]:
    """dY W^T of every layer: the gradient of its inputs; few callers need the first layer's."""
    return [(batch, m, n) for _, n, m in forward(widths, batch)]


def sac_products(obs: int, action: int, hidden: Widths, batch: int) -> list[Product]:
    """Of one `sac.update`; A is the actor, C a critic, of which there are two.

    Target: A forward on s', each C forward on (s', a'); no gradient.
    Critic loss: each C forward, then back to its weights; no gradient of (s, a) is needed, so none
        of the first layer's inputs.
    Actor loss: A and each C forward. Back through each C to its inputs alone, the first layer's
        included, for the action is one of them; then through A to its weights.

    In all, A: 2 forward, 1 to the weights, 1 to the inputs without the first layer.
    Each C: 3 forward, 1 to the weights, 1 to the inputs without the first layer, 1 with it.
    """
    actor, critic = (obs, *hidden, 2 * action), (obs + action, *hidden, 1)
    of_actor = 2 * forward(actor, batch) + to_weights(actor, batch) + to_inputs(actor, batch)[1:]
    of_critic = 3 * forward(critic, batch) + to_weights(critic, batch)
    of_critic += to_inputs(critic, batch)[1:] + to_inputs(critic, batch)
    return of_actor + 2 * of_critic


def ensemble_products(
    obs: int, action: int, hidden: Widths, *, batch: int, members: int
) -> list[Product]:
    """Of one `train_step`: every member forward, and back to its weights.

    Both heads (mean and log-variance) read the last hidden layer. No gradient of (s, a) is needed,
    so none of the first layer's inputs.
    """
    trunk, head = (obs + action, *hidden), (hidden[-1], obs + 1)
    of_trunk = forward(trunk, batch) + to_weights(trunk, batch) + to_inputs(trunk, batch)[1:]
    of_head = forward(head, batch) + to_weights(head, batch) + to_inputs(head, batch)
    return members * (of_trunk + 2 * of_head)


def rollout_products(
    obs: int, action: int, hidden: Widths, *, actor_hidden: Widths, batch: int, members: int
) -> list[Product]:
    """Of `batch` imagined transitions: the actor forward, and every member with both heads.

    All members predict every row: the penalty is a maximum over all of them.
    """
    trunk, head = (obs + action, *hidden), (hidden[-1], obs + 1)
    of_member = forward(trunk, batch) + 2 * forward(head, batch)
    return forward((obs, *actor_hidden, 2 * action), batch) + members * of_member


def gigaflop(products: list[Product]) -> float:
    return sum(2 * m * k * n for m, k, n in products) / 1e9


def numpy_products(products: list[Product], times: int) -> Callable[[], None]:
    """Runs the list `times` times in float32.

    Products of the same shape share their operands and their result, and nothing is allocated: a
    bound that a program with real data can hardly reach.
    """
    rng = np.random.default_rng(0)

    def matrices(m: int, k: int, n: int):
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        return a, b, np.empty((m, n), np.float32)

    made = {shape: matrices(*shape) for shape in set(products)}

    def run() -> None:
        for shape in products * times:
            a, b, out = made[shape]
            np.matmul(a, b, out=out)

    return run
