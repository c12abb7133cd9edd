"""The policy of Balanced Replay's ensemble (Lee et al. 2021): one Gaussian for all members."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from moore.agents.nets import LOG_STD_MAX, LOG_STD_MIN, Actor, squashed_log_density


class Mixture(eqx.Module):
    """pi(a|s): one squashed Gaussian with the moments of the members' mixture before the tanh."""

    actors: Actor

    def __call__(
        self, obs: Float[Array, "*batch obs"]
    ) -> tuple[Float[Array, "*batch action"], Float[Array, "*batch action"]]:
        """Mean and log standard deviation: mu = E_i[mu_i], E_i[mu_i^2 + sigma_i^2] - mu^2."""
        means, log_stds = jax.vmap(lambda actor: actor(obs))(self.actors)
        mean = means.mean(axis=0)
        # The same variance, computed without cancellation.
        variance = jnp.mean(jnp.exp(2.0 * log_stds) + (means - mean[None]) ** 2, axis=0)
        return mean, jnp.clip(0.5 * jnp.log(variance), LOG_STD_MIN, LOG_STD_MAX)


def sample_mixture(
    mixture: Mixture, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
) -> tuple[Float[Array, "*batch action"], Float[Array, " *batch"]]:
    """A reparametrised sample of the mixture's Gaussian and its log-density."""
    mean, log_std = mixture(obs)
    pre_tanh = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
    return jnp.tanh(pre_tanh), squashed_log_density(pre_tanh, mean, log_std)
