"""The learned end of an episode: p(end | s, a, s') as a calibrated ensemble, and its rule.

MOPO and MBPO give the model the environment's own termination test. If there is none, it is
learned from the log (`moore.dynamics.terminal_fit`). There are two kinds of members:

- `HalfSpaces`: the odds of ending are a sum over a few units of exp(sharpness (u . s' - offset)),
  plus a floor for ends that no border explains. So the states that do not end form a convex region,
  as with most limits of real systems (a height, an angle, a pressure), and a state past a border
  ends the episode, however far past it is. A plain network is not reliable there: a log holds at
  most one row past the border in each episode, but imagination also reaches states further out.
- `Networks`: plain networks of (s', s' - s, a), for ends of another shape.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.dynamics.ensemble import Dense
from moore.dynamics.imagine import TerminationFn
from moore.replay.buffer import AnyArray

Obs = Float[AnyArray, "rows obs"]
Action = Float[AnyArray, "rows action"]
Inputs = Float[Array, "members rows inputs"]

# Distances in standard deviations over which the odds of an untrained half-space change e-fold.
START_WIDTH = 1.0 / 3.0


class HalfSpaces(eqx.Module):
    """Members whose odds of ending are sums over half-spaces of the standardised next_obs."""

    normal: Float[Array, "members inputs units"]
    log_sharpness: Float[Array, "members units"]
    offset: Float[Array, "members units"]
    floor: Float[Array, " members"]

    @staticmethod
    def features(obs: Obs, action: Action, next_obs: Obs) -> Float[AnyArray, "rows inputs"]:
        """The input of the members: next_obs."""
        del obs, action
        return next_obs

    def units(self, x: Inputs) -> Float[Array, "members rows units"]:
        """Log-odds of each unit: the signed distance to its border, times its sharpness."""
        distance = x @ direction(self.normal) - self.offset[:, None]
        return jnp.exp(self.log_sharpness)[:, None] * distance

    def __call__(self, x: Inputs) -> Float[Array, "members rows"]:
        """Log-odds of ending."""
        return jnp.logaddexp(jax.nn.logsumexp(self.units(x), axis=-1), self.floor[:, None])


class TerminalNetworks(eqx.Module):
    """Members that are networks of the standardised (next_obs, next_obs - obs, action)."""

    layers: tuple[Dense, ...]

    @staticmethod
    def features(obs: Obs, action: Action, next_obs: Obs) -> Float[AnyArray, "rows inputs"]:
        """The input of the members: the successor, the step to it, and the action."""
        return jnp.concatenate([next_obs, next_obs - obs, action], axis=-1)

    def __call__(self, x: Inputs) -> Float[Array, "members rows"]:
        """Log-odds of ending."""
        *trunk, last = self.layers
        for layer in trunk:
            x = jax.nn.swish(layer(x))
        return last(x)[..., 0]


Members = HalfSpaces | TerminalNetworks


class TerminalHead(eqx.Module):
    """p(end | s, a, s') as the mean over calibrated members, with the threshold of the rule.

    Attributes:
        members: the members, all of one kind.
        mean, std: mean and deviation of the inputs over the training rows.
        slope, intercept: Platt's scaling of every member's log-odds.
        threshold: a transition with a higher probability ends its episode.
    """

    members: Members
    mean: Float[Array, " inputs"]
    std: Float[Array, " inputs"]
    slope: Float[Array, ""]
    intercept: Float[Array, ""]
    threshold: Float[Array, ""]


def direction(normal: Float[Array, "members inputs units"]) -> Float[Array, "members inputs units"]:
    """The unit vectors u, normal to the borders."""
    return normal / jnp.linalg.norm(normal, axis=1, keepdims=True)


def init_half_spaces(
    key: PRNGKeyArray, inputs: int, members: int, units: int, log_odds: float
) -> HalfSpaces:
    """Half-spaces in random directions; at the mean of the data the odds are exp(`log_odds`)."""
    return HalfSpaces(
        normal=jax.random.normal(key, (members, inputs, units)),
        log_sharpness=jnp.full((members, units), -jnp.log(START_WIDTH)),
        offset=jnp.full((members, units), START_WIDTH * (jnp.log(units + 1) - log_odds)),
        floor=jnp.full(members, log_odds - jnp.log(units + 1)),
    )


def init_networks(
    key: PRNGKeyArray, inputs: int, members: int, hidden: tuple[int, ...], log_odds: float
) -> TerminalNetworks:
    """Networks with normal weights of variance 1 / (inputs of the layer); odds exp(`log_odds`)."""
    widths = (inputs, *hidden)
    keys = jax.random.split(key, len(hidden))
    trunk = [
        Dense(jax.random.normal(k, (members, n, m)) / jnp.sqrt(n), jnp.zeros((members, m)))
        for k, n, m in zip(keys, widths[:-1], hidden, strict=True)
    ]
    last = Dense(jnp.zeros((members, widths[-1], 1)), jnp.full((members, 1), log_odds))
    return TerminalNetworks((*trunk, last))


def probability(
    head: TerminalHead, obs: Obs, action: Action, next_obs: Obs
) -> Float[Array, " rows"]:
    """p(end | s, a, s') of every row."""
    x = (head.members.features(obs, action, next_obs) - head.mean[None]) / head.std[None]
    members = jax.tree.leaves(head.members)[0].shape[0]
    log_odds = head.members(jnp.broadcast_to(x, (members, *x.shape)))
    return jnp.mean(jax.nn.sigmoid(head.slope * log_odds + head.intercept), axis=0)


def learned_rule(head: TerminalHead) -> TerminationFn:
    """The rule p(end) > threshold for one transition; a next_obs that is not finite has ended."""

    def terminated(
        obs: Float[Array, " obs"], action: Float[Array, " action"], next_obs: Float[Array, " obs"]
    ) -> Bool[Array, ""]:
        p = probability(head, obs[None], action[None], next_obs[None])[0]
        # Not `p > threshold`: a p that has overflowed to NaN ends the episode as well.
        return ~(jnp.all(jnp.isfinite(next_obs)) & (p <= head.threshold))

    return terminated
