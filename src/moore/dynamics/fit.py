"""Fitting the ensemble: "train until convergence by prioritised sampling" (lines 2 and 13).

MBPO's procedure, with the draws weighted by the sampling scheme. Each call draws one bootstrap per
member from the training rows and passes over it in shuffled order; after each pass it compares
every member's holdout error with its best so far. It stops after six passes without an improvement
of more than 1% in any member, or at a cap on the steps. Every member goes back to its best weights,
and the members with the lowest errors become the elites.

Weights and optimiser state carry over from the fit before (`ModelConfig.warm_start`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.dynamics.ensemble import (
    Ensemble,
    Networks,
    Normaliser,
    init_ensemble,
    loss,
)
from moore.dynamics.holdout import holdout_error, std_errors
from moore.dynamics.inputs import MIN_STD, inputs_and_targets, weighted_normaliser
from moore.dynamics.model_config import ModelConfig
from moore.lockstep.program import program
from moore.replay.buffer import Replay
from moore.replay.sampler import gather, sample_rows

# A pass counts as an improvement of a member above this relative gain (MBPO's bnn.py).
MIN_RELATIVE_GAIN = 0.01
# Passes in a row without improvement of any member that end a fit: more than 5 (MBPO's bnn.py).
PATIENCE = 5


class ModelState(eqx.Module):
    """The ensemble of models, and the state of its training.

    The log-variance bounds and the optimiser's moments belong to `training`. A refit with
    `warm_start="best"` begins from weights that fit neither, and its first steps can throw a member
    far off: see docs/results-checks.md.
    """

    ensemble: Ensemble
    training: Networks
    opt_state: optax.OptState


@dataclass(frozen=True)
class FitReport:
    """What a fit did. `stopped_by` is "converged", "cap", or "non-finite" (the fit was undone)."""

    steps: int
    passes: int
    stopped_by: str
    holdout_mse: tuple[float, ...]


class Fit(eqx.Module):
    """A fit under way. `rows` are the bootstraps, joint indices as of `sample_rows`."""

    networks: Networks
    normaliser: Normaliser
    opt_state: optax.OptState
    best: Networks
    best_error: Float[Array, " members"]
    rows: Int[Array, "members draws"]


def init_model(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: ModelConfig) -> ModelState:
    """A fresh ensemble and its optimiser."""
    ensemble = init_ensemble(
        key,
        obs_dim,
        action_dim,
        members=config.members,
        elites=config.elites,
        hidden=config.hidden,
        layer_norm=config.layer_norm,
        compute=config.compute,
    )
    opt_state = optax.adam(config.learning_rate).init(ensemble.networks)
    return ModelState(ensemble, ensemble.networks, opt_state)


@program(static_argnames=("draws", "keep_normaliser"))
def begin_fit(
    model: ModelState,
    offline: Replay,
    online: Replay,
    online_share: Float[Array, ""],
    key: PRNGKeyArray,
    draws: int,
    rows: Int[Array, "members draws"] | None = None,
    keep_normaliser: bool = False,
) -> Fit:
    """Normaliser and bootstraps of a fit that goes on from `model`, `draws` rows a member.

    Bootstraps that were drawn elsewhere, from priorities that differ from row to row, are given as
    `rows`; their own statistics then normalise the inputs. `keep_normaliser`: the model's does.
    """
    networks = model.training
    members = networks.mean_head.bias.shape[0]
    if rows is None:
        rows = sample_rows(key, (members, draws), offline, online, online_share, train_only=True)
        normaliser = weighted_normaliser(offline, online, online_share)
    else:
        inputs, _ = inputs_and_targets(gather(offline, online, rows.reshape(-1)))
        std = jnp.std(inputs, axis=0)
        normaliser = Normaliser(jnp.mean(inputs, axis=0), jnp.where(std < MIN_STD, 1.0, std))
    return Fit(
        networks=networks,
        normaliser=model.ensemble.normaliser if keep_normaliser else normaliser,
        opt_state=model.opt_state,
        best=networks,
        # MBPO's start value: the first finite error of a fit always counts as an improvement.
        best_error=jnp.full(members, 1e10, float),
        rows=rows,
    )


@program(static_argnames=("config",), donate_argnames=("fit",), repeats=True)
def train_pass(
    fit: Fit,
    offline: Replay,
    online: Replay,
    online_share: Float[Array, ""],
    size: int | Int[Array, ""],
    steps: int | Int[Array, ""],
    config: ModelConfig,
    progress: tuple[float | Float[Array, ""], float | Float[Array, ""]] = (0.0, 0.0),
) -> tuple[Fit, Bool[Array, ""], Float[Array, " members"]]:
    """`steps` batches over the first `size` bootstrap rows, then the comparison on the holdout.

    `progress`: the share of the fit that is done before and after; for `anneal`.
    """
    begins, ends = progress

    def step(i, carry):
        networks, opt_state = carry
        # The last batch of a pass reaches back into the one before, so that all are full.
        start = jnp.minimum(i * config.batch_size, size - config.batch_size)
        rows = jax.lax.dynamic_slice_in_dim(fit.rows, start, config.batch_size, axis=1)
        rate: float | Array = config.learning_rate
        if config.anneal:
            done = begins + (ends - begins) * i / steps
            rate = rate * 0.5 * (1.0 + jnp.cos(jnp.pi * done))
        return train_step(networks, opt_state, fit.normaliser, offline, online, rows, config, rate)

    networks, opt_state = jax.lax.fori_loop(0, steps, step, (fit.networks, fit.opt_state))
    error = holdout_error(networks, fit.normaliser, offline, online, online_share)
    improved = (fit.best_error - error) / fit.best_error > MIN_RELATIVE_GAIN
    new_fit = Fit(
        networks=networks,
        normaliser=fit.normaliser,
        opt_state=opt_state,
        best=_choose_members(improved, networks, fit.best),
        best_error=jnp.where(improved, error, fit.best_error),
        rows=fit.rows,
    )
    return new_fit, jnp.any(improved), error


def train_step(
    networks: Networks,
    opt_state: optax.OptState,
    normaliser: Normaliser,
    offline: Replay,
    online: Replay,
    rows: Int[Array, "members batch"],
    config: ModelConfig,
    rate: float | Float[Array, ""] | None = None,
) -> tuple[Networks, optax.OptState]:
    """One Adam step of every member on its own rows, at this learning rate or the given one's."""
    rate = config.learning_rate if rate is None else rate
    flat = gather(offline, online, rows.reshape(-1))
    inputs, targets = jax.tree.map(
        lambda x: x.reshape(*rows.shape, x.shape[-1]), inputs_and_targets(flat)
    )
    gradient = jax.grad(loss)(networks, normaliser, inputs, targets, config.weight_decay)
    change, opt_state = optax.adam(rate).update(gradient, opt_state)
    return optax.apply_updates(networks, change), opt_state


def _choose_members(choice: Bool[Array, " members"], new: Networks, old: Networks) -> Networks:
    """The layers of `new` for the chosen members, of `old` for the others.

    The log-variance bounds belong to no member and stay those of `new`, as in MBPO.
    """

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(choice.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    def layers(networks: Networks):
        return networks.trunk, networks.mean_head, networks.log_var_head

    return eqx.tree_at(layers, new, jax.tree.map(choose, layers(new), layers(old)))


@program(donate_argnames=("fit",), repeats=True)
def _shuffle(fit: Fit, size: int | Int[Array, ""], key: PRNGKeyArray) -> Fit:
    """Reorders the first `size` bootstrap rows of each member."""
    draws = fit.rows.shape[1]
    rank = jnp.where(jnp.arange(draws) < size, jax.random.uniform(key, fit.rows.shape), 2.0)
    _, rows = jax.lax.sort((rank, fit.rows), dimension=1, num_keys=1)
    return eqx.tree_at(lambda f: f.rows, fit, rows)


@program(static_argnames=("config",))
def finish_fit(
    fit: Fit, offline: Replay, online: Replay, online_share: Float[Array, ""], config: ModelConfig
) -> tuple[ModelState, Bool[Array, ""]]:
    """Every member at its best weights, and whether everything is finite."""
    # The bounds go on from where training left them; only the members go back.
    networks = _choose_members(jnp.zeros_like(fit.best_error, bool), fit.networks, fit.best)
    elites = jnp.argsort(fit.best_error)[: config.elites].astype(jnp.int32)
    training = networks if config.warm_start == "best" else fit.networks
    std_scale = jnp.ones_like(networks.max_log_var)
    if config.calibrate:
        std_scale = std_errors(networks, fit.normaliser, offline, online, online_share)
    ensemble = Ensemble(networks, fit.normaliser, elites, std_scale)
    model = ModelState(ensemble, training, fit.opt_state)
    floats = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    return model, jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in floats]))


def fit_ensemble(
    model: ModelState,
    offline: Replay,
    online: Replay,
    online_share: float,
    key: PRNGKeyArray,
    config: ModelConfig,
    *,
    max_steps: int,
    draw: Callable | None = None,
    keep_normaliser: bool = False,
    on_pass: Callable[[int, tuple[float, ...]], None] | None = None,
) -> tuple[ModelState, FitReport]:
    """Trains the ensemble on D_off and D_on until convergence or `max_steps` gradient steps.

    Args:
        model: where to start; not donated, so that a fit that fails can be undone.
        offline: the log.
        online: the online data; may be empty with `online_share` 0.
        online_share: probability that a bootstrap draw is an online training row.
        key: PRNG key.
        config: constants.
        max_steps: cap on the gradient steps.
        draw: `(key, shape, train_only=True) -> rows`, where priorities differ from row to row; by
            default the draws are uniform within each group.
        keep_normaliser: standardise the inputs as `model` does, instead of by the data drawn.
        on_pass: called after each pass with the steps done and the members' holdout errors.
    """
    size = max(int(offline.train_size) + int(online.train_size), config.batch_size)
    # A capped fit never sees more than this many draws, and draws are exchangeable.
    capacity = max(offline.capacity + online.capacity, config.batch_size)
    draws = min(capacity, max_steps * config.batch_size)
    size = min(size, draws)
    share = jnp.asarray(online_share, jnp.float32)

    key_begin, key_shuffle = jax.random.split(key)
    rows = None if draw is None else draw(key_begin, (config.members, draws), train_only=True)
    fit = begin_fit(model, offline, online, share, key_begin, draws, rows, keep_normaliser)
    steps = passes = stale = 0
    while True:
        pass_steps = min(math.ceil(size / config.batch_size), max_steps - steps)
        progress = steps / max_steps, (steps + pass_steps) / max_steps
        fit, improved, error = train_pass(
            fit, offline, online, share, size, pass_steps, config, progress
        )
        steps, passes = steps + pass_steps, passes + 1
        stale = 0 if bool(improved) else stale + 1
        if on_pass is not None:
            on_pass(steps, tuple(error.tolist()))
        if stale > PATIENCE or steps >= max_steps:
            break
        fit = _shuffle(fit, size, jax.random.fold_in(key_shuffle, passes))

    new_model, finite = finish_fit(fit, offline, online, share, config)
    if bool(finite):
        why = "converged" if stale > PATIENCE else "cap"
        return new_model, FitReport(steps, passes, why, tuple(fit.best_error.tolist()))
    return model, FitReport(steps, passes, "non-finite", tuple(error.tolist()))
