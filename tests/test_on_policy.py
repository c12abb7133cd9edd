"""Rows of the newest policy alone before the hand-over, real rows after it, and a run of both."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore.agents import ppo
from moore.agents.ppo import PPOConfig
from moore.agents.td3 import TD3Config
from moore.config import GateConfig
from moore.dynamics.chains import ChainsConfig
from moore.experience.on_policy import _passes
from moore.planning.calibration import Miniature
from moore.replay.buffer import measured, take
from moore.runs import execution
from moore.runs.budgeting import dip_budget
from moore.runs.folder import read_metrics
from moore.runs.run import resume, run
from moore.runs.setup import prepare
from moore.stages import trials as trials_module
from moore.stages.budget import REFERENCE
from moore.stages.earnings import Earnings
from moore.stages.first_policy import begin_with_clone
from moore.stages.from_log import learn_from_log
from moore.stages.learner import Learner, LearnerState
from moore.stages.line_search import LineSearch
from moore.stages.rehearsal import rehearse
from moore.stages.trials import Trials
from moore.trees import copied
from runs_alike import assert_same_run
from tiny import ENV, tiny_config, tiny_log


def config(**changes):
    tiny = tiny_config(
        algorithm="moore_safe",
        gate=GateConfig(enabled=True, rollouts=8, penalised=False, confidence=1.0),
        ppo=PPOConfig(
            discount=0.9,
            hidden=(32,),
            batch_size=100,
            critic_warm_up=100,
            critic_first=20,
            average_rate=0.05,
        ),
        td3=TD3Config(hidden=(32,), batch_size=32, return_updates=50, warm_up=50),
        chains=ChainsConfig(restart=0.05),
        rollout_length=20,
        imagined_range=0.1,
        one_member=True,
        member_noise=False,
        clone=True,
        dip_budget=0.1,
    )
    online = replace(
        tiny.online,
        epochs=3,
        steps_per_epoch=60,
        refit_every=20,
        update_every=20,
        rollout_batch=20,
        rehearsal_epochs=1,
        rehearse_every=1,
    )
    offline = replace(
        tiny.offline, epochs=3, rounds=5, updates_per_epoch=100, rollout_batch=20, log_updates=100
    )
    return replace(tiny, online=online, offline=offline, **changes)


@pytest.fixture(scope="module")
def quiet_log():
    """A log of a controller that is far from the best one."""
    return tiny_log(episodes=40, gain=0.5, noise=0.2)


@pytest.fixture(scope="module")
def exact_log():
    """A log whose actions follow its observations exactly, so that it can be cloned.

    It has as many rows as the quiet one, so that both are learned from by the same programs.
    """
    log = tiny_log(episodes=40)
    return replace(log, action=np.clip(-log.obs, -2.0, 2.0).astype(np.float32))


@pytest.fixture(scope="module")
def learner(exact_log):
    return prepare(config(), dataset=exact_log, env=ENV).learner


@pytest.fixture(scope="module")
def fitted(learner) -> LearnerState:
    state, _ = learner.start(learner.init(jax.random.key(0)))
    return begin_with_clone(learner, state)[0]


@pytest.fixture
def begun(fitted) -> LearnerState:
    """What a test uses up is its own."""
    return copied(fitted)


@pytest.fixture(scope="module")
def finished(quiet_log, tmp_path_factory):
    out = tmp_path_factory.mktemp("on_policy") / "run"
    return run(config(), dataset=quiet_log, env=ENV, out=out, quiet=True)


def test_a_pass_uses_every_row_once():
    planned = _passes(jax.random.key(0), rows=12, batch=4, count=7)
    assert planned.shape == (7, 4)
    for one in (planned[:3], planned[3:6]):
        assert sorted(one.reshape(-1).tolist()) == list(range(12))
    assert planned[:3].tolist() != planned[3:6].tolist()


def test_the_log_is_measured_once_even_if_it_is_first_asked_for_while_shapes_are_traced(learner):
    fresh = learner.changed(config=replace(learner.config, imagined_bound=10.0))
    eqx.filter_eval_shape(fresh.init, jax.random.key(0))
    assert np.isfinite(np.asarray(fresh.models.spread.mean)).all()


def test_learning_begins_with_the_clone(learner, begun):
    agent, clone = begun.agent.offline, begun.gate.acting
    obs = learner.offline.data.obs[:5]
    for actor in (agent.actor, agent.anchor):
        assert np.array_equal(ppo.act_mode(actor, obs), ppo.act_mode(clone, obs))
    assert float(agent.pull) == learner.agent_config.offline.anchor


def test_a_round_holds_rows_of_the_newest_policy_and_its_chains_go_on(learner, begun):
    state, fresh = learner.refresh(begun, 1)
    rows = state.experience.rows
    assert rows.obs.shape == (20 * 20, 1)
    found = ppo.log_density(state.agent.offline.actor, rows.obs, rows.action)
    assert np.allclose(found, rows.log_density, atol=1e-4)
    assert 0.0 <= float(fresh.metrics["model/excess_uncertainty"]) <= 5.0
    stood = state.experience.chains
    again, _ = learner.refresh(state, 1)
    first = again.experience.rows.obs.reshape(20, 20, 1)[0]
    assert np.array_equal(first, stood)


def test_the_hand_over_keeps_the_models_and_begins_the_chains_anew(learner, begun):
    state, _ = learner.refresh(begun, 1)
    before = state.experience.model
    handed = learner.hand_over(state)
    assert not bool(handed.experience.begun)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: bool(jnp.all(a == b)), handed.experience.model, before)
    )
    # Room for rounds that nobody makes would be in the memory and in every checkpoint of a run.
    assert len(handed.experience.rows.target) == 20 * learner.config.model.elites


def test_the_agent_of_the_system_begins_with_the_policy_that_is_handed_over(learner, begun):
    state, _ = learner.refresh(begun, 1)
    handed = learner.hand_over(state)
    obs = learner.offline.data.obs[:5]
    agent, acting = handed.agent.online, handed.gate.acting
    assert handed.agent.offline is None and bool(agent.warm)
    for actor in (agent.actor, agent.anchor, learner.newest_policy(handed)):
        assert np.array_equal(ppo.act_mode(actor, obs), ppo.act_mode(acting, obs))


def test_the_agent_of_the_system_learns_from_the_log_and_who_acts_stays(learner, begun):
    done, before = [], copied(begun)
    state = learn_from_log(learner, begun, on_pass=done.append)
    assert done == [0, 80]  # an online refresh makes 4 updates for each of 20 steps
    assert eqx.tree_equal(state.gate, before.gate)
    assert eqx.tree_equal(state.agent.offline, before.agent.offline)
    agent = state.agent.online
    assert int(agent.updates) == 100 and bool(agent.warm)
    assert float(agent.reach) == pytest.approx(0.5 * learner.agent_config.online.reach)
    handed = learner.hand_over(state)
    assert eqx.tree_equal(handed.agent.online.actor, agent.actor)
    assert eqx.tree_equal(handed.agent.online.anchor, handed.gate.acting)
    assert not eqx.tree_equal(agent.actor, handed.gate.acting)


def test_the_first_trials_go_towards_what_the_log_has_taught(learner, begun, monkeypatch):
    asked = []

    def rehearsed(learner, state, **how):
        asked.append(now)
        return state, None

    monkeypatch.setattr(trials_module, "rehearse", rehearsed)
    state = learner.hand_over(learn_from_log(learner, begun))
    newest, known = learner.newest_policy(state), Earnings(20, -5.0, False)
    trials = Trials.begun(learner, dip_budget(0.1, known), state)
    for _ in range(4):
        known.add([5.0] * len(known.marks), 100.0, 20)
    for now in (1, 2):
        state, _ = trials.consider(state, now, [], in_episode=False)
        if now == 1:
            tried = [trials.policies[trials.offered], *trials.search.left]
            assert not asked and eqx.tree_equal(tried[-1], newest)
            trials.search = LineSearch()  # it is over
    assert asked == [2], "rehearsals follow"


@pytest.mark.parametrize("earned", [-5.0, 9.0], ids=("refused", "right"))
def test_what_the_log_taught_is_unlearned_where_the_system_refuses_it(learner, begun, earned):
    state = learner.hand_over(learn_from_log(learner, begun))
    known = Earnings(20, -5.0, False)
    for _ in range(4):
        known.add([5.0 * mark for mark in known.marks], 100.0, 20)
    trials = Trials.begun(learner, dip_budget(0.5, known), state)
    state, _ = trials.consider(state, 1, [], in_episode=False)
    assert trials.budget.acting != REFERENCE
    zeros, how = np.zeros(1, np.float32), {"terminated": False, "truncated": False}
    row = learner.units.transition_in(measured(zeros, zeros, earned, zeros, **how))
    for step in range(20):
        state = trials.observed(state, row, in_episode=step < 19)
    agent, acting = state.agent.online, trials.policies[trials.budget.incumbent]
    assert trials.budget.lost == (earned < 0.0) and trials.taught == (earned > 0.0)
    assert eqx.tree_equal(agent.actor, acting)  # it begins anew from one that was promoted, too
    assert float(agent.reach) == pytest.approx(learner.agent_config.online.reach)


@pytest.mark.parametrize("confidence", [-1e9, 1e9], ids=("promising", "not"))
def test_a_rehearsal_learns_in_the_models_and_changes_nothing_else(learner, begun, confidence):
    gate = replace(learner.config.gate, confidence=confidence)
    learner = learner.changed(config=replace(learner.config, gate=gate))
    online = learner.hand_over(begun)
    before, acting = copied(online), learner.policy(online)
    called = []
    after, goal = rehearse(
        learner, online, epochs=2, earned=-3.0, on_pass=lambda *_: called.append(1)
    )
    assert eqx.tree_equal(replace(after, key=before.key), before) and len(called) == 2
    if confidence > 0.0:
        assert goal is None, "the models do not promise so much"
    else:
        assert jax.tree.structure(goal) == jax.tree.structure(acting)
        assert not eqx.tree_equal(goal, acting)


def test_trials_rehearse_as_soon_as_policies_may_be_tried_and_then_every_so_many_epochs(
    learner, begun, monkeypatch
):
    epochs = []

    def rehearsed(learner, state, **how):
        epochs.append(now)
        return state, None

    monkeypatch.setattr(trials_module, "rehearse", rehearsed)
    online = replace(learner.config.online, rehearse_every=3)
    offline = replace(learner.config.offline, log_updates=0)
    learner = learner.changed(config=replace(learner.config, online=online, offline=offline))
    state = learner.hand_over(begun)
    unknown = Earnings(20, -5.0, False)
    trials = Trials.begun(learner, dip_budget(0.1, unknown), state)
    for now in range(1, 10):
        unknown.add([5.0] * len(unknown.marks), 100.0, 20)
        for _ in range(2):
            state, _ = trials.consider(state, now, [], in_episode=False)
    assert epochs == [4, 7]


def test_in_the_system_it_learns_from_rows_of_log_and_system_by_the_scheme(learner, begun):
    handed = learner.hand_over(learner.refresh(begun, 1)[0])
    for place in range(4):
        one = take(learner.offline.data, jnp.asarray([place]))
        row = jax.tree.map(lambda column: np.asarray(column)[0], one)
        handed = learner.observe(handed, row)
    drawn = learner.experience.batches(
        handed.experience, learner.moment(handed, 1), jax.random.key(0), count=200
    )
    logged = int(learner.offline.size)
    share = float(np.mean(np.asarray(drawn.planned) >= logged))
    assert share == pytest.approx(4 / (4 + logged), rel=0.4)
    before = learner.newest_policy(handed)
    handed, metrics = learner.update(copied(handed), 1, 8)
    assert float(metrics["losses/skipped_updates"]) == 0.0
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before, learner.newest_policy(handed))
    assert jax.tree.reduce(lambda a, b: a or b, moved)


def test_the_offline_stage_gains_on_the_log(finished, quiet_log):
    rows = read_metrics(finished.folder / "metrics.jsonl")
    last = [row for row in rows if row["stage"] == "offline"][-1]
    log_return = float(quiet_log.episode_returns.mean())
    # Most of what is lost is lost on the way from the start, which nobody can help.
    assert last["eval/return"] > 0.75 * log_return


def test_a_stopped_run_goes_on_bit_for_bit(finished, quiet_log, tmp_path):
    folder = tmp_path / "stopped"
    until = lambda row, state: row["epoch"] == 1  # noqa: E731
    run(config(), dataset=quiet_log, env=ENV, out=folder, quiet=True, until=until)
    resume(folder, dataset=quiet_log, env=ENV, quiet=True)
    assert_same_run(finished.folder, folder)


def test_a_run_that_dies_while_it_learns_from_the_log_begins_that_again(
    exact_log, tmp_path, monkeypatch
):
    how, learned = {"dataset": exact_log, "env": ENV, "quiet": True}, []
    first_epoch = lambda row, state: row["epoch"] == 1  # noqa: E731

    def dies(*_, **__):
        raise RuntimeError("no power")

    def learns(*args, **options):
        learned.append(1)
        return learn_from_log(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="no power"):
        patch.setattr(execution, "learn_from_log", dies)
        run(config(), out=tmp_path / "died", **how)
    monkeypatch.setattr(execution, "learn_from_log", learns)
    resume(tmp_path / "died", until=first_epoch, **how)
    run(config(), out=tmp_path / "whole", until=first_epoch, **how)
    assert_same_run(tmp_path / "whole", tmp_path / "died")
    assert len(learned) == 2, "each of them once"


def test_a_log_that_cannot_be_cloned_teaches_nothing_before_the_hand_over(tmp_path, monkeypatch):
    def learns(*_, **__):
        raise AssertionError

    monkeypatch.setattr(execution, "learn_from_log", learns)
    short = replace(config(), offline=replace(config().offline, epochs=1))
    log = tiny_log(episodes=20, gain=0.0, noise=1.0)  # actions at random
    result = run(short, dataset=log, env=ENV, out=tmp_path / "run", stages="offline", quiet=True)
    assert not read_metrics(result.folder / "metrics.jsonl")[0]["clone/acts"]


def test_an_estimate_counts_updates_in_which_the_actor_learns(exact_log, monkeypatch):
    """In the run 20 updates at the beginning teach the critic alone, and those cost less."""
    update, moved = Learner.update, []

    def spy(learner, state, epoch, updates):
        before = copied(learner.newest_policy(state))
        state, metrics = update(learner, state, epoch, updates)
        moved.append(
            (state.stage, updates, not eqx.tree_equal(learner.newest_policy(state), before))
        )
        return state, metrics

    monkeypatch.setattr(Learner, "update", spy)
    Miniature(prepare(config(), dataset=exact_log, env=ENV)).costs()
    assert moved == 2 * [("offline", 20, True), ("online", 20, True)]


def test_an_estimate_does_not_charge_the_first_actions_with_what_the_hand_over_learns(exact_log):
    slow = replace(config(), td3=replace(config().td3, warm_up=5000))
    costs = Miniature(prepare(slow, dataset=exact_log, env=ENV)).costs()
    # Half a second or more of learning, over 20 actions of less than a millisecond each.
    assert costs.online["act"] < 0.01, "seconds a step"
