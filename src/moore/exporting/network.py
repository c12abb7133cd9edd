"""What an exported file computes: the deterministic policy as arrays, in the user's units.

    x = (obs - obs_mean) / obs_std
    y = mean over the members of network(x)
    action = clip(low + (tanh(y) + 1) (high - low) / 2, low, high)

With a rate limit, the action then comes as near to this one as the limit allows:

    p = clip(previous_action, low, high)
    action = clip(action, p - rate_limit, p + rate_limit)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moore.agents.acting import as_arrays
from moore.agents.numpy_acting import LayerArrays, forward
from moore.errors import InputError
from moore.runs.policy import Policy


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class Network:
    """The deterministic policy.

    Attributes:
        obs_mean, obs_std: (obs,) float64; empty where observations stay as they are.
        layers: weights (inputs, outputs) and biases, with ReLU between them; with several members,
            stacked along a leading axis.
        low, high: (action,) float32, bounds of the actions in their own units.
        rate_limit: (action,) float32, the largest change of each entry from one action to the next;
            None for none.
    """

    obs_mean: Float[np.ndarray, " columns"]
    obs_std: Float[np.ndarray, " columns"]
    layers: tuple[LayerArrays, ...]
    low: Float[np.ndarray, " action"]
    high: Float[np.ndarray, " action"]
    rate_limit: Float[np.ndarray, " action"] | None = None

    @property
    def obs_dim(self) -> int:
        return self.layers[0].weight.shape[-2]

    @property
    def members(self) -> int:
        """How many networks are averaged; 1 for an ordinary policy."""
        return self.layers[0].weight.shape[0] if self.layers[0].weight.ndim == 3 else 1

    @property
    def half_range(self) -> Float[np.ndarray, " action"]:
        return 0.5 * (self.high - self.low)

    @property
    def split_mean(self) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " columns"]]:
        """The mean as a sum of two float32 numbers.

        A graph that subtracts one after the other loses nothing where the mean is much larger than
        the deviation, such as 101,325 Pa that vary by 10 Pa, and needs no float64.
        """
        coarse = self.obs_mean.astype(np.float32)
        return coarse, (self.obs_mean - coarse).astype(np.float32)

    def exact(self, obs: Float[np.ndarray, "rows obs"]) -> Float[np.ndarray, "rows action"]:
        """The actions before any rate limit in float64: what float32 comes near to."""
        x = obs.astype(np.float64)
        x = (x - self.obs_mean) / self.obs_std if self.obs_mean.size else x
        layers = [LayerArrays(*(part.astype(np.float64) for part in x)) for x in self.layers]
        output = forward(layers, x)
        output = output.mean(axis=0) if output.ndim == 3 else output
        return self.low + (np.tanh(output) + 1.0) * self.half_range

    def limited(
        self, action: Float[np.ndarray, "rows action"], previous: Float[np.ndarray, "rows action"]
    ) -> Float[np.ndarray, "rows action"]:
        """The action that the rate limit allows after the previous one."""
        if self.rate_limit is None:
            return action
        start = np.clip(previous, self.low, self.high)
        return np.clip(action, start - self.rate_limit, start + self.rate_limit)


def network_of(policy: Policy, rate_limit: tuple[float, ...] | None = None) -> Network:
    """The network of a policy.

    Args:
        policy: as `moore.load_policy` reads it.
        rate_limit: largest change of the action from one step to the next, in its own units: one
            number for all entries, or one for each.

    Raises:
        InputError: a limit that is not positive, or another number of them.
    """
    actor, action_dim = as_arrays(policy.weights), policy.low.size
    *hidden, last = (LayerArrays(layer.weight, layer.bias) for layer in actor.layers)
    # The other outputs of a Gaussian policy are its log standard deviations.
    last = LayerArrays(last.weight[..., :action_dim], last.bias[..., :action_dim])
    mean, std = (np.asarray(x) for x in (policy.units.obs_mean, policy.units.obs_std))
    limit = None if rate_limit is None else _checked(rate_limit, action_dim)
    return Network(mean, std, (*hidden, last), policy.low, policy.high, limit)


def _checked(rate_limit: tuple[float, ...], action_dim: int) -> np.ndarray:
    """(action,) float32."""
    given = " ".join(f"{number:g}" for number in rate_limit)
    if len(rate_limit) not in (1, action_dim):
        raise InputError(
            f"--rate-limit {given}: {len(rate_limit)} numbers for {action_dim} entries of the "
            "action; give one number for all of them, or one for each."
        )
    limit = np.broadcast_to(np.asarray(rate_limit, np.float32), (action_dim,))
    if not (np.isfinite(limit).all() and (limit > 0).all()):
        raise InputError(
            f"--rate-limit {given}: expected positive numbers, the largest change of the action "
            "from one step to the next in its own units."
        )
    return limit
