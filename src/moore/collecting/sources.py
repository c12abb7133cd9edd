"""Who acts while a log is recorded: nobody, a policy of the training, or the training itself."""

import contextlib
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Int, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.collecting.recipe import DEFAULT_STEPS, Recipe
from moore.collecting.training import SACTraining, best, first_reaching
from moore.envs.make import episode_seed, make_env
from moore.envs.recorder import Act
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores
from moore.jax_settings import key_of
from moore.runs.policy import Policy


@dataclass(frozen=True)
class Source:
    """Who acts, for how many rows, with reset seeds for what purpose, and what is known of it."""

    act: Act
    steps: int
    purpose: str
    about: dict


def acting_source(
    recipe: Recipe, learner: SACTraining, reference: ReferenceScores | None
) -> Source:
    if recipe.tier == "random":
        with contextlib.closing(make_env(recipe.env_id)) as env:
            dim = env.bounds.low.size
        steps = recipe.steps or DEFAULT_STEPS
        return Source(_acts_randomly(dim, recipe.seed), steps, "collect", {})
    if recipe.tier == "expert":
        learner.advance(lambda rows: False)
        return _acting(recipe, learner, best(learner.curve()))
    wanted = recipe.target_return
    if wanted is None:
        assert reference is not None  # only random rows may have none
        wanted = reference.random + (reference.expert - reference.random) / 3
    if recipe.tier == "medium":
        return _acting(recipe, learner, _medium(learner, wanted, recipe))
    return _replaying(recipe, learner, wanted)


def _medium(learner: SACTraining, wanted: float, recipe: Recipe) -> dict:
    """The first epoch that reached the wanted return."""
    learner.advance(lambda rows: first_reaching(rows, wanted) is not None)
    curve = learner.curve()
    epoch = first_reaching(curve, wanted)
    if epoch is None:
        raise InputError(
            f"{recipe.train_steps} steps of SAC reached {best(curve)['eval/return']:.1f} on "
            f"{recipe.env_id}, not the {wanted:.1f} of a medium policy; give more --train-steps, a "
            "lower --target-return, or another --seed."
        )
    return epoch


def _acting(recipe: Recipe, learner: SACTraining, epoch: dict) -> Source:
    """One of the training's policies, sampled."""
    policy = learner.policy(epoch["epoch"])
    about = _about(learner, epoch["env_steps"]) | {"policy_return": epoch["eval/return"]}
    steps = recipe.steps or DEFAULT_STEPS
    return Source(_acts_as(policy, recipe.seed), steps, "collect", about)


def _replaying(recipe: Recipe, learner: SACTraining, wanted: float) -> Source:
    """The training's own actions from its first step on."""
    if recipe.steps is None:
        steps = _medium(learner, wanted, recipe)["env_steps"]
    else:
        steps = recipe.steps
        learner.advance(lambda rows: rows[-1]["env_steps"] >= steps)
        done = learner.curve()[-1]["env_steps"]
        if done < steps:
            raise InputError(
                f"--steps is {steps}, the training has {done}; give more --train-steps."
            )
    actions = np.asarray(learner.buffer(steps).action)
    last = len(actions) - 1
    # The running episode goes on past the wanted rows; what it does there is cut off.
    return Source(lambda obs, row: actions[min(row, last)], steps, "act", _about(learner, steps))


def _acts_randomly(action_dim: int, seed: int) -> Act:
    def act(obs: np.ndarray, row: int) -> np.ndarray:
        draws = np.random.default_rng([seed, row])
        return draws.uniform(-1.0, 1.0, action_dim).astype(np.float32)

    return act


def _acts_as(policy: Policy, seed: int) -> Act:
    key = key_of(episode_seed(seed, "collect", 0))

    def act(obs: np.ndarray, row: int) -> np.ndarray:
        seen = policy.units.obs_in(obs)
        return np.asarray(_sampled(policy.agent, policy.weights, seen, key, np.int32(row)))

    return act


@partial(jax.jit, static_argnames="agent")
def _sampled(
    agent: Agent, weights: PyTree, obs: Array, key: PRNGKeyArray, row: Int[ArrayLike, ""]
) -> Array:
    """The action of one row of the log, by a key of its own."""
    return agent.act(weights, obs, jax.random.fold_in(key, row))


def _about(learner: SACTraining, steps: int) -> dict:
    """Where in the training, and the learning curve up to there."""
    curve = [row for row in learner.curve() if row["env_steps"] <= steps]
    return {
        "trained_steps": steps,
        "learning_curve": [[row["env_steps"], row["eval/return"]] for row in curve],
    }
