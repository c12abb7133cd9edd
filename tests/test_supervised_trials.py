"""Before a policy of the learner has acted: which newer ones take the place of the first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore.config import GateConfig
from moore.runs.budgeting import dip_budget
from moore.runs.setup import prepare
from moore.stages.earnings import earnings_of_log
from moore.stages.supervised import SupervisedTrials, supervised
from tiny import ENV, tiny_config, tiny_log


@pytest.fixture(scope="module")
def learner():
    gate = GateConfig(enabled=True, rollouts=8, penalised=False, earned=True)
    log = tiny_log(episodes=4)
    return prepare(tiny_config(gate=gate, clone=True, dip_budget=0.1), dataset=log, env=ENV).learner


@pytest.fixture
def trials(learner):
    log = [np.full(20, -1.0), np.full(20, -1.1), np.full(20, -0.9)]
    earnings = earnings_of_log(log, length=20, floor=-5.0, ends=False)
    state = learner.hand_over(learner.init(jax.random.key(0)))
    trials = SupervisedTrials.begun(learner, supervised(dip_budget(0.5, earnings)), state)
    trials.policies[0] = jax.tree.map(lambda x: x + 1.0, trials.policies[0])  # not the newest one
    return trials, state


@pytest.mark.parametrize(("gain", "candidate"), [(1.0, 2), (-14.0, 2), (-16.0, 1), (-80.0, 1)])
def test_one_that_the_models_call_clearly_worse_takes_no_place(
    learner, trials, monkeypatch, gain, candidate
):
    """They say -100 of the policy that was handed over, and may be wrong about it by 15."""
    trials, state = trials
    found = {"gate/gain": gain, "gate/standard_error": 0.5, "gate/return": -100.0 + gain}
    scaled = {name: jnp.asarray(learner.units.reward_in(x)) for name, x in found.items()}
    monkeypatch.setattr(type(learner), "compare_newest", lambda self, state, epoch: (state, scaled))
    trials.consider(state, 1, [], in_episode=True)
    assert trials.budget.candidate(trials.policies) == candidate
