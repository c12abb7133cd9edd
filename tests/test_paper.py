"""Algorithm 1 and what the paper and the systems it builds on fix, one claim a test."""

import dataclasses
import inspect
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore import algorithms
from moore.agents.sac import SACConfig
from moore.config import OfflineConfig, OnlineConfig
from moore.dynamics.fit import FitReport
from moore.errors import InputError
from moore.experience.imagination import Imagination
from moore.experience.protocol import Refreshed
from moore.presets import preset
from moore.replay.buffer import Transition
from moore.replay.schemes import moore
from moore.runs.setup import prepare
from moore.stages import online
from moore.stages.online_learning import OnlineLearning
from steps import fit, imagine, refit
from tiny import ENV, tiny_config, tiny_log


@pytest.fixture(scope="module")
def setup():
    return prepare(tiny_config(), dataset=tiny_log(), env=ENV)


@pytest.fixture
def handed_over(setup):
    state = setup.learner.init(setup.key)
    return setup.learner.hand_over(state)


class Recorder:
    """A learner, a system and a chooser that only write down what they are asked to do."""

    def __init__(self, config, *, ends=False):
        self.config, self.calls = config, []
        self.ends, self.running = ends, []
        self.offline = SimpleNamespace(size=1)
        self.over = False

    def summarise_data(self, state):
        self.calls.append("summarise_data")
        return state

    def observed(self, state, transition, *, in_episode):
        return state

    def consider(self, state, epoch, returns, *, in_episode, on_pass=None):
        self.running.append(in_episode)
        return state, {}

    def metrics(self):
        return {}

    def reported(self, metrics):
        return metrics

    def observation(self):
        return np.zeros(1)

    def act(self, state, obs, *, random):
        self.calls.append("act")
        return np.zeros(1), state

    def step(self, action):
        self.calls.append("step")
        return SimpleNamespace(terminated=False, truncated=self.ends)

    def observe(self, state, transition):
        self.calls.append("observe")
        return state

    def start(self, state):
        self.calls.append("start")
        return state, Refreshed()

    def refresh(self, state, epoch, *, on_pass):
        self.calls.append(f"refresh {epoch}")
        return state, Refreshed()

    def update(self, state, epoch, updates):
        self.calls.append(f"update {updates}")
        return state, {}

    def take_episode_returns(self):
        return []

    @property
    def in_episode(self):
        return not self.ends


def test_the_online_stage_is_algorithm_1(monkeypatch):
    config = dataclasses.replace(
        tiny_config(),
        online=OnlineConfig(
            epochs=2, steps_per_epoch=4, refit_every=2, rollout_batch=9, updates_per_step=3
        ),
    )
    # Without the runtime type check, which would want a real learner.
    stage = inspect.unwrap(online.online_stage)
    parts = {name: inspect.unwrap(part) for name, part in vars(OnlineLearning).items()}
    parts = {name: part for name, part in parts.items() if name not in ("__dict__", "__weakref__")}
    monkeypatch.setattr(online, "OnlineLearning", type("Unchecked", (), parts))
    for ends in (True, False):
        recorder = Recorder(config, ends=ends)
        stage(recorder, None, recorder, on_epoch=lambda *args: None, chooser=recorder)
        assert recorder.running == [not ends] * 4, "the gate knows whether an episode goes on"
    step = ["act", "step", "observe"]

    def epoch(t):
        return ["summarise_data", *[*step, "update 3", *step, f"refresh {t}", "update 3"] * 2]

    assert recorder.calls == ["start", *epoch(1), *epoch(2)]


def test_lines_12_to_16_measure_then_refit_then_imagine_the_epochs_rollouts(setup, monkeypatch):
    calls = []

    def writes(name, found):
        def call(self, state, *arguments, **options):
            calls.append(name)
            return (state, arguments[1], found) if name != "surprise" else {"model/new_mse": 1.0}

        return call

    monkeypatch.setattr(Imagination, "surprise", writes("surprise", None))
    monkeypatch.setattr(Imagination, "imagine", writes("imagine", {"model/uncertainty_mean": 2.0}))
    report = FitReport(1, 1, "cap", (0.0,))
    monkeypatch.setattr(
        Imagination,
        "fit",
        lambda self, state, now, drawn, key, on_pass: (calls.append("fit") or state, key, report),
    )
    learner, state = setup.learner, setup.learner.hand_over(setup.learner.init(setup.key))
    _, found = learner.refresh(state, 1)
    assert calls == ["surprise", "fit", "imagine"] and found.report == report
    assert found.metrics == {"model/new_mse": 1.0, "model/uncertainty_mean": 2.0}
    calls.clear()
    learner.refresh(setup.learner.init(setup.key), 1)
    assert calls == ["imagine"], "offline the models stay as they are"


def test_at_the_hand_over_d_model_and_d_on_are_empty_and_everything_learned_goes_on(setup):
    state = setup.learner.init(setup.key)
    state, _ = imagine(setup.learner, state, 1, 200)
    assert int(state.experience.imagined.size) > 0
    model, agent = (
        state.experience.model,
        jax.tree.map(jnp.copy, state.agent),
    )  # whose memory is reused
    after = setup.learner.hand_over(state)
    assert int(after.experience.imagined.size) == int(after.online.size) == 0
    assert eqx.tree_equal(after.agent, agent) and after.experience.model is model


def test_d_model_holds_exactly_one_epoch_of_rollouts(setup, handed_over):
    config = setup.config
    one_epoch = 3 * 200 * 3  # refits an epoch, R, H
    assert handed_over.experience.imagined.capacity == one_epoch
    state = handed_over
    for count, size in ((1, 600), (2, 1200), (3, 1800), (4, 1800)):
        state, _ = imagine(setup.learner, state, 1, config.online.rollout_batch)
        assert int(state.experience.imagined.size) == size, f"after {count} rounds"


def test_the_offline_pool_holds_five_epochs_of_rollouts(setup):
    assert setup.learner.init(setup.key).experience.imagined.capacity == 5 * 200 * 3


def test_a_refit_never_empties_d_model(setup, handed_over):
    learner = setup.learner
    state, _ = fit(learner, handed_over)
    state, _ = imagine(learner, state, 1, 200)
    rows = np.asarray(state.experience.imagined.data.obs)
    state, report = refit(learner, state, 1)
    assert report.steps == 20
    np.testing.assert_array_equal(np.asarray(state.experience.imagined.data.obs), rows)


def test_imagined_rewards_are_penalised_and_real_ones_are_not(setup, handed_over):
    again = setup.learner.hand_over(setup.learner.init(setup.key))
    unpenalised = dataclasses.replace(again.experience, penalty_coef=jnp.asarray(0.0))
    free = dataclasses.replace(again, experience=unpenalised)
    with_penalty, metrics = imagine(setup.learner, handed_over, 1, 200)
    without, _ = imagine(setup.learner, free, 1, 200)
    rewards = (s.experience.imagined.data.reward for s in (without, with_penalty))
    gap = np.subtract(*rewards)[:600]
    assert gap.mean() == pytest.approx(0.5 * float(metrics["model/uncertainty_mean"]), rel=1e-3)
    assert gap.min() > 0
    reward = np.asarray(setup.learner.offline.data.reward)
    np.testing.assert_array_equal(reward, setup.dataset.reward)


def test_predictions_that_leave_the_bound_are_dropped_and_counted(setup, handed_over):
    tight = setup.learner.changed(config=dataclasses.replace(setup.config, imagined_bound=1.0))
    state, metrics = imagine(tight, handed_over, 1, 200)
    dropped, steps = float(metrics["model/imagined_dropped"]), float(metrics["model/rollout_steps"])
    assert 0.0 < dropped < 1.0 and steps < 3.0
    assert int(state.experience.imagined.size) == round(200 * steps)
    assert float(jnp.abs(state.experience.imagined.data.next_obs).max()) < 1.0
    nothing = setup.learner.changed(config=dataclasses.replace(setup.config, imagined_bound=1e-9))
    with pytest.raises(InputError, match="no imagined transition is usable"):
        imagine(nothing, setup.learner.hand_over(state), 1, 200)


def test_logged_actions_are_scaled_to_the_agents_range(setup):
    action = np.asarray(setup.learner.offline.data.action)
    np.testing.assert_allclose(action, setup.dataset.action / 2.0, atol=1e-6)


def test_chunks_change_the_memory_and_not_the_amount(setup):
    state = setup.learner.hand_over(setup.learner.init(setup.key))
    for chunk in (70, 1000):
        config = dataclasses.replace(setup.config, rollout_chunk=chunk)
        learner = setup.learner.changed(config=config)
        state = learner.hand_over(state)
        state, _ = imagine(learner, state, 1, 150)
        assert int(state.experience.imagined.size) == 450
        rows = state.experience.imagined.data.obs[:450]
        assert float(jnp.abs(rows).min()) > 0.0, "no row is left at zero"


def test_every_algorithm_of_the_table_is_the_same_loop_with_another_scheme():
    names = {name: str(row.scheme or moore()) for name, row in algorithms.ALGORITHMS.items()}
    assert names == {
        "moore": "moore:1",
        "moore_robust": "moore:1",
        "moore_safe": "moore:1",
        "naive": "uniform",
        "half_half": "half_half",
        "online_only": "online_only",
        "no_penalty": "moore:1",
        "mbpo": "online_only",
        "awac": "uniform",
        "iql": "uniform",
        "cql": "uniform",
        "cal_ql": "uniform",
        "balanced_replay": "uniform",
        "adaptive_bc": "uniform",
        "combo": "moore:1",
        "morel": "moore:1",
        "bear": "uniform",
        "brac": "uniform",
        "sqil": "half_half",
        "bc": "uniform",
        "rlpd": "half_half",
        "wsrl": "online_only",
        "sac": "online_only",
    }


def test_the_defaults_are_the_papers_and_mopos():
    online_stage, offline_stage, sac = OnlineConfig(), OfflineConfig(), SACConfig()
    assert (online_stage.epochs, online_stage.steps_per_epoch) == (100, 1000)
    assert (online_stage.refit_every, online_stage.rollout_batch) == (250, 100_000)
    assert (online_stage.updates_per_step, online_stage.real_ratio) == (20, 0.0)
    assert (offline_stage.updates_per_epoch, offline_stage.rollout_batch) == (1000, 50_000)
    assert (offline_stage.retain_epochs, offline_stage.real_ratio) == (5, 0.05)
    assert (sac.discount, sac.learning_rate, sac.target_rate) == (0.99, 3e-4, 0.005)
    assert (sac.batch_size, sac.hidden) == (256, (256, 256))
    # MOPO's -3 belongs to its tasks; elsewhere minus the number of action entries.
    assert preset("paper/hopper-medium").sac.target_entropy == -3.0
    assert sac.target_entropy is None
    assert int(offline_stage.real_ratio * sac.batch_size) == 12, "12 real rows and 244 imagined"


@pytest.mark.parametrize("anew", [True, False])
def test_the_inputs_are_standardised_anew_at_a_refit_if_so_configured(anew):
    config = tiny_config()
    model = dataclasses.replace(config.model, refit_normaliser=anew)
    learner = prepare(dataclasses.replace(config, model=model), dataset=tiny_log(), env=ENV).learner
    state, _ = fit(learner, learner.init(jax.random.key(0)))
    fitted = state.experience.model.ensemble.normaliser
    assert float(fitted.std[0]) != 1.0, "the first fit standardises in any case"
    state = learner.hand_over(state)
    nine, no = np.full(1, 9.0, np.float32), np.zeros((), bool)
    far = Transition(nine, 0 * nine, np.zeros((), np.float32), nine, no, no)
    for _ in range(40):
        state = learner.observe(state, far)
    state, _ = refit(learner, state, 1)
    moved = not np.allclose(state.experience.model.ensemble.normaliser.mean, fitted.mean)
    assert moved == anew
