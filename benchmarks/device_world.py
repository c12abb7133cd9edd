"""Environments on the device, and a whole online epoch of many cells as one program.

The environment is a function in JAX: HalfCheetah in mujoco.mjx where that is installed, and a point
that is pushed otherwise. Nothing leaves the device within an epoch.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from cells import Cells
from jaxtyping import Array, Float, PRNGKeyArray

from moore.dynamics.fit import begin_fit, finish_fit, train_pass
from moore.experience import rollouts
from moore.experience.diagnostics import observed_range
from moore.experience.learning import gradient_steps
from moore.experience.partly_imagined import PartlyImagined
from moore.experience.settings import rollout_settings
from moore.replay.buffer import Transition
from moore.stages import acting

# Steps of the simulator for one of HalfCheetah's, and the weight of the cost of its actions.
FRAME_SKIP, CONTROL_COST = 5, 0.1


@dataclass(frozen=True)
class World:
    """An environment in JAX, whose episodes never end.

    Attributes:
        name: for the table.
        obs, action: entries of an observation and of an action.
        reset: key -> (state, obs).
        step: (state, action) -> (state, obs, reward).
    """

    name: str
    obs: int
    action: int
    reset: Callable[[PRNGKeyArray], tuple[Any, Array]]
    step: Callable[[Any, Array], tuple[Any, Array, Array]]


def pushed_point(dims: int = 2) -> World:
    """Places and speeds of a point; the reward is that it is near 0."""

    def reset(key: PRNGKeyArray):
        state = jax.random.uniform(key, (2 * dims,), minval=-1.0, maxval=1.0)
        return state, state

    def step(state: Array, action: Array):
        place, speed = jnp.split(state, 2)
        speed = 0.9 * speed + 0.1 * action
        state = jnp.concatenate([place + 0.1 * speed, speed])
        return state, state, -jnp.sum(state**2)

    return World("a pushed point", 2 * dims, dims, reset, step)


def half_cheetah() -> World:
    """Gymnasium's HalfCheetah-v5 in mujoco.mjx.

    Raises:
        ImportError: mujoco.mjx is not installed.
    """
    import gymnasium
    import mujoco
    from mujoco import mjx

    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    simulated = mujoco.MjModel.from_xml_path(str(assets / "half_cheetah.xml"))
    model = mjx.put_model(simulated)
    seconds = FRAME_SKIP * simulated.opt.timestep

    def seen(data: Any) -> Float[Array, " obs"]:
        return jnp.concatenate([data.qpos[1:], data.qvel])

    def reset(key: PRNGKeyArray):
        fresh = mjx.make_data(model)
        noise = jax.random.uniform(key, fresh.qpos.shape, minval=-0.1, maxval=0.1)
        data = mjx.forward(model, fresh.replace(qpos=fresh.qpos + noise))
        return data, seen(data)

    def step(data: Any, action: Array):
        after = data.replace(ctrl=action)
        after = jax.lax.fori_loop(0, FRAME_SKIP, lambda _, d: mjx.step(model, d), after)
        forward = (after.qpos[0] - data.qpos[0]) / seconds
        return after, seen(after), forward - CONTROL_COST * jnp.sum(action**2)

    return World("HalfCheetah in mjx", int(simulated.nq + simulated.nv - 1), int(simulated.nu),
                 reset, step)  # fmt: skip


def world() -> World:
    """HalfCheetah where mjx is installed, otherwise the point."""
    try:
        return half_cheetah()
    except ImportError:
        return pushed_point()


def epoch_program(cells: Cells, world: World) -> tuple[Callable[[Any], tuple[Any, Any]], Any]:
    """An online epoch of all cells, and its first argument.

    It takes the steps of the system, then fits the models, imagines, and updates the agent: the
    work of Algorithm 1 with one refit an epoch, of a fixed number of steps.
    """
    learner, sizes, config, log = cells.learner, cells.sizes, cells.config, cells.log
    agent, sac, model = learner.algorithm.agent, learner.agent_config, config.model
    settings = rollout_settings(config, sac.discount, sizes.rollouts)
    seen, coef = observed_range(log), jnp.full((), config.penalty_coef)
    planned = jnp.zeros((sizes.updates, 0), jnp.int32)
    draws = sizes.steps * model.batch_size

    def in_system(state, place, obs, key):
        """Lines 10 and 11, once."""
        action, key = acting.act(agent.policy(state.agent), obs, key, agent)
        place, after, reward = world.step(place, action)
        ends = jnp.zeros((), bool)
        row = Transition(obs, action, reward, after, ends, ends)
        online, key = acting.observe(state.online, row, key, model.holdout_fraction)
        return (dataclasses.replace(state, online=online), place, after, key), reward

    def learned(state, key):
        """Lines 13 to 18."""
        key_fit, key_rows, key_rollout, key_steps = jax.random.split(key, 4)
        experience, online = state.experience, state.online
        fit = begin_fit(experience.model, log, online, cells.share, key_fit, draws)
        fit, _, _ = train_pass(fit, log, online, cells.share, draws, sizes.steps, model)
        fitted, _ = finish_fit(fit, log, online, cells.share, model)
        rows = jax.random.randint(key_rows, (sizes.rollouts,), 0, log.capacity)
        imagined, _ = rollouts.imagine(
            experience.imagined, agent.policy(state.agent), fitted, log, online, seen, rows, coef,
            key_rollout, agent=agent, terminated_fn=learner.task.terminated_fn, settings=settings,
        )  # fmt: skip
        newest, _, losses = gradient_steps(
            state.agent, None, imagined, planned, log, online,
            jax.random.split(key_steps, sizes.updates), how=PartlyImagined(sac.batch_size, 0),
            agent=agent, agent_config=sac,
        )  # fmt: skip
        experience = dataclasses.replace(experience, model=fitted, imagined=imagined)
        return dataclasses.replace(state, agent=newest, experience=experience), losses

    def epoch(carry):
        state, place, obs, key = carry
        carry, rewards = jax.lax.scan(
            lambda c, _: in_system(*c), (state, place, obs, key), length=sizes.updates
        )
        state, place, obs, key = carry
        key, key_learn = jax.random.split(key)
        state, losses = learned(state, key_learn)
        return (state, place, obs, key), (rewards.sum(), losses)

    places, obs = jax.jit(jax.vmap(world.reset))(cells.keys)
    return jax.jit(jax.vmap(epoch), donate_argnums=0), (cells.state, places, obs, cells.keys)
