"""Fitting the learned end of an episode (`moore.dynamics.terminal`) to the terminals of a log.

Whole episodes go to training, calibration or test (70, 15 and 15%). Terminals are only 0.1 to 5% of
the rows, and the rows near them determine the border, so both are drawn more often than they occur.
Weights correct that, so the loss remains the log's own cross-entropy. Each member trains on its own
bootstrap of the training episodes and keeps the weights with its lowest loss on the calibration
episodes. These also give Platt's scaling of the log-odds and the threshold with the best F1. The
test episodes are used only for the report.
"""

import time
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, PRNGKeyArray

from moore.dynamics.inputs import MIN_STD
from moore.dynamics.terminal import (
    HalfSpaces,
    Members,
    TerminalHead,
    TerminalNetworks,
    init_half_spaces,
    init_networks,
    probability,
)
from moore.dynamics.terminal_rows import CALIBRATION, TEST, TRAIN, TerminalRows, draws, split_rows
from moore.dynamics.terminal_scores import best_threshold, score
from moore.dynamics.terminal_train import (
    Sample,
    TerminalConfig,
    train_members,
    without_idle_units,
)
from moore.replay.buffer import Transition

# Rows judged at a time: bounds the memory.
CHUNK = 8192


class Fitted(NamedTuple):
    """A head, with its loss in nats a terminal and its F1 on the calibration episodes."""

    head: TerminalHead
    loss: float
    f1: float


def fit_terminal(
    data: Transition,
    successor_known: np.ndarray,
    key: PRNGKeyArray,
    config: TerminalConfig | None = None,
) -> tuple[TerminalHead, dict]:
    """Fits a head to a log's terminals, and scores it on episodes that were held out.

    Args:
        data: (n, ...) rows of the log, episode after episode.
        successor_known: (n,) bool; rows without a known successor are left out.
        key: random key; key and log determine the head.
        config: constants of the fit.

    Returns:
        The head, and a report: the kind of its members, the threshold, `score` on the test
        episodes, the rows, terminals and episodes of each part, and the seconds.

    Raises:
        InputError: no terminal has a logged successor, or there are too few to split.
    """
    start, config = time.perf_counter(), config or TerminalConfig()
    key_split, *keys = jax.random.split(key, 2 + len(config.sparsity))
    parts, counts = split_rows(data, successor_known, key_split)
    kinds: list[tuple[type[Members], float]] = [
        *((HalfSpaces, weight) for weight in config.sparsity),
        (TerminalNetworks, config.weight_decay),
    ]
    fits = []
    for (kind, prior), key_fit in zip(kinds, keys, strict=True):
        fits.append(_fit(kind, prior, parts, key_fit, config))
        if fits[-1].f1 >= config.good_f1:
            break
    head = fits[-1].head if fits[-1].f1 >= config.good_f1 else min(fits, key=lambda f: f.loss).head
    test = parts[TEST]
    p = probabilities(head, test)
    report = {
        "rule": "learned",
        "kind": "half-spaces" if isinstance(head.members, HalfSpaces) else "networks",
        "threshold": float(head.threshold),
        "test": counts[TEST] | score(p, test.terminated, float(head.threshold)),
        "calibration": counts[CALIBRATION],
        "train": counts[TRAIN],
    }
    return head, report | {"seconds": round(time.perf_counter() - start, 2)}


def _fit(
    kind: type[Members],
    prior: float,
    parts: dict[str, TerminalRows],
    key: PRNGKeyArray,
    config: TerminalConfig,
) -> Fitted:
    """Fits and calibrates a head with members of one kind and a prior of the given weight."""
    key_init, key_draws, key_train = jax.random.split(key, 3)
    train, calibration = parts[TRAIN], parts[CALIBRATION]
    inputs = _features(kind, train)
    share = train.weight / train.weight.sum()
    mean = share @ inputs
    std = np.sqrt(share @ (inputs - mean[None]) ** 2)
    std = np.where(std < MIN_STD, 1.0, std)

    def sample(rows: TerminalRows, weight: np.ndarray) -> Sample:
        columns = (_features(kind, rows) - mean[None]) / std[None], rows.terminated, weight
        return Sample(*(jnp.asarray(column, jnp.float32) for column in columns))

    log_odds = train.log_odds
    members: Members
    if kind is HalfSpaces:
        members = init_half_spaces(key_init, len(mean), config.members, config.units, log_odds)
    else:
        members = init_networks(key_init, len(mean), config.members, config.hidden, log_odds)
    cumulative, weight = draws(train, config.members, key_draws)
    held_out = sample(calibration, calibration.weight)
    members = train_members(
        members,
        sample(train, weight),
        jnp.asarray(cumulative, jnp.float32),
        held_out,
        key_train,
        prior,
        train.terminals,
        config,
    )
    if isinstance(members, HalfSpaces):
        members = without_idle_units(members, sample(train, train.weight))
    slope, intercept, loss = _platt(members, held_out)
    numbers = (jnp.asarray(v, jnp.float32) for v in (mean, std, slope, intercept, 0.5))
    head = TerminalHead(members, *numbers)
    p = probabilities(head, calibration)
    threshold, f1 = best_threshold(p, calibration.terminated, calibration.weight)
    head = eqx.tree_at(lambda h: h.threshold, head, jnp.float32(threshold))
    return Fitted(head, loss, f1)


def _platt(members: Members, sample: Sample) -> tuple[float, float, float]:
    """Slope and intercept of the members' log-odds that minimise the loss of the mean probability.

    A standard normal prior on log(slope) keeps the slope finite if the members separate the rows
    perfectly. Note: Platt (1999) smooths the labels instead; then a row with log-odds in the
    hundreds, as is usual far behind a sharp border, would flatten the slope.

    Returns:
        slope, intercept, and the loss in nats a terminal.
    """
    count = jax.tree.leaves(members)[0].shape[0]
    raw = members(jnp.broadcast_to(sample.x, (count, *sample.x.shape)))
    ended = jnp.sum(sample.weight * sample.terminated)

    @jax.jit
    @jax.value_and_grad
    def loss(x: Array) -> Array:
        z = jnp.exp(x[0]) * raw + x[1]
        ends, goes_on = (
            jax.nn.logsumexp(jax.nn.log_sigmoid(side), axis=0) - jnp.log(count) for side in (z, -z)
        )
        entropy = jnp.where(sample.terminated > 0, -ends, -goes_on)
        return (jnp.sum(sample.weight * entropy) + 0.5 * x[0] ** 2) / ended

    def in_double(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = loss(jnp.asarray(x, jnp.float32))
        return float(value), np.asarray(gradient, np.float64)

    best = scipy.optimize.minimize(in_double, np.zeros(2), jac=True, method="L-BFGS-B")
    return float(np.exp(best.x[0])), float(best.x[1]), float(best.fun)


def probabilities(head: TerminalHead, rows: TerminalRows) -> np.ndarray:
    """p(end) of (rows,), a chunk at a time."""

    def one(row) -> Array:
        return probability(head, *(column[None] for column in row))[0]

    columns = jax.tree.map(jnp.asarray, (rows.obs, rows.action, rows.next_obs))
    return np.asarray(jax.jit(partial(jax.lax.map, one, batch_size=CHUNK))(columns))


def _features(kind: type[Members], rows: TerminalRows) -> np.ndarray:
    return np.asarray(kind.features(rows.obs, rows.action, rows.next_obs), np.float64)
