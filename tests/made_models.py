"""Models whose predictions are linear in (s, a), and logs of a few rows, for numbers by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from moore.dynamics.ensemble import Dense, Ensemble, Networks, Normaliser
from moore.replay.buffer import Transition, empty_replay, full_replay


def models(means, stds, *, mean_slope=((0, 0), (0, 0)), log_std_slope=((0, 0), (0, 0))) -> Ensemble:
    """One observation entry, one action; member k predicts (r, s' - s) linearly in (s, a).

    Its mean is means[k] + (s, a) @ mean_slope, its sigma stds[k] * exp((s, a) @ log_std_slope).
    """
    members = len(means)

    def head(slope, bias) -> Dense:
        weight = jnp.tile(jnp.asarray(slope, jnp.float32), (members, 1, 1))
        return Dense(weight, jnp.asarray(bias, jnp.float32))

    networks = Networks(
        trunk=(),
        mean_head=head(mean_slope, means),
        log_var_head=head(2 * np.asarray(log_std_slope), 2 * np.log(np.asarray(stds))),
        max_log_var=jnp.full(2, 50.0),
        min_log_var=jnp.full(2, -50.0),
    )
    normaliser = Normaliser(jnp.zeros(2), jnp.ones(2))
    return Ensemble(networks, normaliser, jnp.arange(members, dtype=jnp.int32), jnp.ones(2))


def transitions(obs, rewards, next_obs, terminated=None) -> Transition:
    """Rows of a task with one observation entry and one action, which is 0."""
    column = lambda values: jnp.asarray(values, jnp.float32)  # noqa: E731
    flags = jnp.zeros(len(rewards), bool)
    ends = flags if terminated is None else jnp.asarray(terminated)
    states = column(obs)[:, None], column(next_obs)[:, None]
    return Transition(states[0], jnp.zeros_like(states[0]), column(rewards), states[1], ends, flags)


def replay(data: Transition, *, holdout: float = 0.5, max_holdout: int = 8):
    rows = np.ones(len(data.reward), bool)
    key = jax.random.key(0)
    return full_replay(data, rows, key, holdout_fraction=holdout, max_holdout=max_holdout)


def of_rewards(rewards):
    return replay(transitions(np.zeros(len(rewards)), rewards, np.zeros(len(rewards))))


NOTHING = empty_replay(1, 1, 1, max_holdout=1)
NEVER = lambda obs, action, next_obs: jnp.zeros((), bool)  # noqa: E731
TINY = 1e-8
