"""Random MDPs, models, transfers and sampling masses, for checks without hand-picked cases."""

from typing import Literal

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.theory.mdp import Pairs, Probabilities, TabularMDP, Tie, Transition
from moore.theory.models import LearnedModel, Transfer, ensemble_model, weighted_mle

Reward = Literal["nonneg", "signed", "nonpos", "sparse", "zero"]
Uncertainty = Literal["same", "noisy", "ensemble"]


def random_rows(
    rng: np.random.Generator, *, states: int, actions: int, concentration: float = 1.0
) -> Transition:
    """Dynamics with Dirichlet rows; with concentration 0 each pair has a single successor."""
    if concentration < 0:
        raise InputError(f"the concentration is {concentration}; it must not be negative.")
    if concentration == 0:
        return np.eye(states)[rng.integers(states, size=(states, actions))]
    return rng.dirichlet(np.full(states, concentration), size=(states, actions))


def random_reward(
    rng: np.random.Generator, *, states: int, actions: int, kind: Reward = "signed"
) -> Pairs:
    """Rewards uniform in [0, 1], [-1, 1] or [-1, 0]; `sparse` is 1 at one pair, `zero` always 0."""
    uniform = rng.uniform(size=(states, actions))
    match kind:
        case "nonneg":
            return uniform
        case "signed":
            return 2.0 * uniform - 1.0
        case "nonpos":
            return -uniform
        case "sparse":
            return (uniform == uniform.max()).astype(float)
        case "zero":
            return np.zeros((states, actions))


def random_mdp(
    rng: np.random.Generator,
    *,
    states: int,
    actions: int,
    discount: float,
    horizon: int | None = None,
    reward: Reward = "signed",
    concentration: float = 1.0,
) -> TabularMDP:
    """An MDP with random dynamics, reward and start.

    Args:
        concentration: concentration of the Dirichlet rows; small values give nearly deterministic
            dynamics.
    """
    return TabularMDP(
        random_rows(rng, states=states, actions=actions, concentration=concentration),
        random_reward(rng, states=states, actions=actions, kind=reward),
        rng.dirichlet(np.ones(states)),
        discount,
        horizon,
    )


def perturb(
    rng: np.random.Generator, transition: Transition, *, size: float, row_prob: float = 1.0
) -> Transition:
    """Dynamics mixed with random rows of weight `size`, each pair with probability `row_prob`."""
    states, actions, _ = transition.shape
    other = random_rows(rng, states=states, actions=actions, concentration=0.3)
    weight = size * (rng.uniform(size=(states, actions, 1)) < row_prob)
    return (1.0 - weight) * transition + weight * other


def random_policy(rng: np.random.Generator, mdp: TabularMDP) -> Probabilities:
    """Random action probabilities, for each h if there is a horizon."""
    states, actions = mdp.reward.shape
    time = () if mdp.horizon is None else (mdp.horizon,)
    return rng.dirichlet(np.ones(actions), size=(*time, states))


def random_transfer(
    rng: np.random.Generator,
    true: TabularMDP,
    *,
    model_error: float = 0.2,
    shift: float = 0.1,
    reward_error: float = 0.0,
    uncertainty: Uncertainty = "same",
    penalty_coef: float = 1.0,
    tie: Tie = "first",
) -> Transfer:
    """Two consecutive models of an MDP.

    Args:
        true: the real MDP.
        model_error: the old model's distance from it, see `perturb`.
        shift: the new model's distance from the old one.
        reward_error: the largest error of the learned rewards, independent in both models.
        uncertainty: `same`: equal in both models; `noisy`: up to 10% apart; `ensemble`: for each
            model the disagreement of an ensemble of three around it.
        penalty_coef: lambda.
    """
    rows = [perturb(rng, true.transition, size=model_error)]
    rows.append(perturb(rng, rows[0], size=shift, row_prob=0.7))
    u = rng.uniform(size=true.reward.shape)
    models = []
    for i, dynamics in enumerate(rows):
        if uncertainty == "ensemble":
            members = [perturb(rng, dynamics, size=max(shift, 0.05)) for _ in range(3)]
            dynamics, u = ensemble_model(np.stack(members))
        elif uncertainty == "noisy" and i == 1:
            u = u * rng.uniform(0.9, 1.1, u.shape)
        reward = true.reward + reward_error * rng.uniform(-1.0, 1.0, true.reward.shape)
        mdp = true.with_(transition=dynamics, reward=reward)
        models.append(LearnedModel(mdp, u, penalty_coef, tie))
    return Transfer(true, *models)


def random_masses(
    rng: np.random.Generator, *, states: int, actions: int, logged: int, online: int, weight: float
) -> tuple[
    Float[np.ndarray, "2 states actions states"], Float[np.ndarray, "2 states actions states"]
]:
    """Sampling masses and empirical dynamics before and after online data are added to a log.

    Args:
        logged: size of the log.
        online: size of the online data that are added.
        weight: the priority of a logged transition afterwards, see `weighted_mle`.
    """
    shape = (states, actions, states)
    # Log and online data favour different pairs, as those of two policies do.
    log, data = (
        rng.multinomial(n, rng.dirichlet(np.full(np.prod(shape), 0.3))).reshape(shape).astype(float)
        for n in (logged, online)
    )
    prior = random_rows(rng, states=states, actions=actions)
    before, _, mass_before = weighted_mle(log, 0.0 * data, offline_weight=1.0, prior=prior)
    after, _, mass_after = weighted_mle(log, data, offline_weight=weight, prior=prior)
    return np.stack([mass_before, mass_after]), np.stack([before, after])
