"""Proximal policy optimisation near an anchor: numbers by hand, and a task with a known answer."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_models import replay, transitions
from moore.agents import ppo
from moore.agents.ppo import PPOBatch, PPOConfig
from moore.agents.ppo_anchor import begun_anew

CONFIG = PPOConfig(hidden=(16,), batch_size=64, critic_first=0, critic_warm_up=200)
OBS = jnp.zeros((64, 1))


def agent(seed=0, config=CONFIG):
    return ppo.init(jax.random.key(seed), 1, 1, config)


def batch(state, advantage, *, key=0, target=0.0):
    """Rows that the state's actor has drawn at one state."""
    action = ppo.draw_action(state.actor, OBS, jax.random.key(key))
    density = ppo.log_density(state.actor, OBS, action)
    advantage = jnp.broadcast_to(advantage(action[:, 0]), (64,))
    return PPOBatch(OBS, action, density, advantage, jnp.full(64, target))


def learn(state, rows, times=1, config=CONFIG):
    update = jax.jit(lambda s: ppo.update(s, rows, jax.random.key(0), config))
    for _ in range(times):
        state, metrics = update(state)
    return state, metrics


def mode(state):
    return float(ppo.act_mode(state.actor, OBS)[0, 0])


def test_the_density_is_that_of_a_gaussian_around_tanh_of_the_network():
    state = agent()
    mean, log_std = state.actor(OBS[:1])
    center, std = float(jnp.tanh(mean[0, 0])), float(jnp.exp(log_std[0, 0]))
    found = ppo.log_density(state.actor, OBS[:1], jnp.asarray([[center + std]]))
    assert float(found[0]) == pytest.approx(-0.5 - np.log(std * np.sqrt(2 * np.pi)), rel=1e-5)


def test_a_fresh_actor_draws_with_the_standard_deviation_of_the_settings():
    config = dataclasses.replace(CONFIG, log_std=-1.0, hidden=(256,))
    _, log_std = agent(config=config).actor(OBS)
    assert float(log_std.mean()) == pytest.approx(-1.0, abs=0.2)


def test_it_acts_within_the_bounds_and_closer_to_the_mode_than_it_draws():
    state = agent(config=dataclasses.replace(CONFIG, log_std=1.0))
    keys = jax.random.split(jax.random.key(1), 2000)
    acted = jax.vmap(lambda k: ppo.act(ppo.policy(state), OBS[0], k))(keys)
    drawn = jax.vmap(lambda k: ppo.draw_action(state.actor, OBS[0], k))(keys)
    assert float(jnp.abs(acted).max()) <= 1.0 < float(jnp.abs(drawn).max())
    assert float(acted.std()) < 0.5 * float(drawn.std())


def test_rows_hold_lambda_returns_and_what_they_exceed_the_critic_by():
    config = dataclasses.replace(CONFIG, discount=0.5, trace=1.0)
    state = agent()
    nothing = jax.tree.map(jnp.zeros_like, state.critic)
    state = dataclasses.replace(state, critic=nothing)
    steps = jnp.zeros((3, 1, 1))
    reward = jnp.asarray([[2.0], [4.0], [8.0]])
    ends = jnp.asarray([[False], [True], [False]])
    cut = jnp.asarray([[False], [False], [True]])
    rows = ppo.rows_of(state, steps, steps, reward, steps, ends, cut, config)
    # In units of 1 / (1 - gamma) rewards: 1 + 0.5 * 2, then 2 at the end, then 4 alone.
    assert rows.target.tolist() == [2.0, 2.0, 4.0]
    assert rows.advantage.tolist() == rows.target.tolist()
    assert rows.obs.shape == (3, 1)


def test_the_actor_moves_to_actions_of_more_advantage():
    state = agent()
    before = mode(state)
    after, _ = learn(state, batch(state, lambda a: a), 200)
    assert mode(after) > before


def test_a_row_that_has_moved_beyond_the_clip_pulls_no_more():
    state = agent()
    rows = batch(state, jnp.sign)
    far = dataclasses.replace(rows, log_density=rows.log_density - jnp.sign(rows.action[:, 0]))
    grad = jax.grad(lambda actor: ppo.actor_loss(actor, state, far, CONFIG)[0])(state.actor)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(grad)) < 1e-6


def test_the_anchor_pulls_the_actor_back():
    other = agent(1).actor
    bias = other.trunk.layers[-1].bias.at[0].set(0.5)
    other = eqx.tree_at(lambda actor: actor.trunk.layers[-1].bias, other, bias)
    state = dataclasses.replace(agent(0), anchor=other, pull=jnp.asarray(10.0))

    def away(now):
        return float(jnp.abs(ppo.act_mode(now.actor, OBS) - ppo.act_mode(now.anchor, OBS)).max())

    rows = batch(state, jnp.zeros_like)
    after, metrics = learn(state, rows, 600)
    assert away(after) < 0.95 * away(state)
    assert float(metrics["anchor_distance"]) < away(state) ** 2


def test_learning_anew_begins_at_the_policy_with_the_noise_of_the_settings():
    begun = ppo.begin_with(agent(0), agent(1).actor, CONFIG)
    learned, _ = learn(begun, batch(begun, lambda a: a), 50)
    assert mode(learned) != mode(begun)
    acting = agent(2).actor
    back = begun_anew(learned, acting, CONFIG)
    for place in (back.actor, back.average, back.anchor):
        assert np.array_equal(ppo.act_mode(place, OBS), ppo.act_mode(acting, OBS))
    assert jax.tree.all(jax.tree.map(np.array_equal, back.critic, learned.critic))
    _, log_std = back.actor(OBS)
    assert np.allclose(log_std, CONFIG.log_std)
    assert int(back.updates) == int(learned.updates)


def test_what_may_act_is_an_average_that_follows_the_actor():
    config = dataclasses.replace(CONFIG, average_rate=0.25)
    state = dataclasses.replace(agent(), rate=jnp.asarray(1e-3))
    after, _ = learn(state, batch(state, lambda a: a), config=config)
    before, theirs, ours = (
        x.trunk.layers[-1].bias for x in (state.actor, after.actor, after.average)
    )
    assert np.abs(theirs - before).max() > 5e-4
    assert np.allclose(ours - before, 0.25 * (theirs - before), atol=1e-6)
    assert np.array_equal(ppo.act_mode(ppo.policy(after), OBS), ppo.act_mode(after.average, OBS))


def test_without_an_anchor_nothing_pulls():
    state = agent(0)
    rows = batch(state, jnp.zeros_like)
    loss, _ = ppo.actor_loss(state.actor, state, rows, CONFIG)
    other = dataclasses.replace(state, anchor=agent(1).actor)
    assert float(loss) == float(ppo.actor_loss(state.actor, other, rows, CONFIG)[0])


def test_beginning_with_a_policy_makes_it_actor_and_anchor():
    policy = agent(3).actor
    state = ppo.begin_with(agent(0), policy, CONFIG)
    for place in (state.actor, state.anchor):
        assert np.array_equal(ppo.act_mode(place, OBS), ppo.act_mode(policy, OBS))
    assert float(state.pull) == CONFIG.anchor


@pytest.mark.parametrize(("doubt", "pull"), [(1.0, 10.0), (0.5, 2.5), (2.0, 10.0), (0.0, 10 / 256)])
def test_the_pull_grows_with_the_square_of_the_models_error(doubt, pull):
    begun = ppo.begin_with(agent(0), agent(1).actor, CONFIG, doubt)
    assert float(begun.anchor_weight) == pull


@pytest.mark.parametrize(("share", "grows"), [(0.0, True), (1.0, False)])
def test_the_learning_rate_follows_the_share_of_clipped_rows(share, grows):
    state = agent()
    rows = batch(state, lambda a: a)
    moved = rows.log_density + (2.0 if share else 0.0)
    after, metrics = learn(state, dataclasses.replace(rows, log_density=moved))
    assert float(metrics["clipped_share"]) == share
    assert (float(after.rate) > float(state.rate)) is grows


def test_the_critic_learns_alone_at_first():
    config = dataclasses.replace(CONFIG, critic_first=2)
    state = agent()
    rows = batch(state, lambda a: a, target=1.0)
    second, _ = learn(state, rows, 2, config)
    third, _ = learn(second, rows, 1, config)
    assert mode(second) == mode(state) != mode(third)
    assert float(ppo.worth(second.critic, OBS[0])) > float(ppo.worth(state.critic, OBS[0]))


def test_the_critic_begins_with_the_returns_of_the_log_and_only_once():
    config = dataclasses.replace(CONFIG, discount=0.5)
    obs = np.tile([0.0, 1.0], 50)
    ends = np.tile([False, True], 50)
    log = replay(transitions(obs, np.tile([1.0, 3.0], 50), obs, ends), holdout=0.0)
    nothing = replay(transitions([0.0], [0.0], [0.0]), holdout=0.0)
    state = ppo.summarise_data(agent(), log, nothing, config)
    # Half of 1 + 0.5 * 3, and half of 3.
    found = ppo.worth(state.critic, jnp.asarray([[0.0], [1.0]]))
    assert found.tolist() == pytest.approx([1.25, 1.5], abs=0.05)
    again = ppo.summarise_data(state, log, nothing, config)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), state, again))


def test_a_bandit_is_solved():
    state = agent(2)
    rounds = jax.jit(lambda s, rows: ppo.update(s, rows, jax.random.key(0), CONFIG)[0])
    for number in range(60):
        rows = batch(state, lambda a: -((a - 0.3) ** 2), key=number)
        for _ in range(5):
            state = rounds(state, rows)
    assert mode(state) == pytest.approx(0.3, abs=0.05)
