"""A cut episode: the system begins the next one, and no row leads from one to the other."""

from dataclasses import replace

import jax
import numpy as np

from moore.envs.collector import Collector
from moore.envs.make import make_env
from moore.runs.setup import prepare
from moore.stages.choosing import Gatekeeper
from moore.stages.online import online_stage
from tiny import ENV, tiny_config, tiny_log


class CutsEverySecondStep(Gatekeeper):
    """A chooser that wants every second step to be the last one of its episode."""

    steps, abandoned = 0, 0

    def observed(self, state, transition, *, in_episode):
        self.steps += 1
        return super().observed(state, transition, in_episode=in_episode)

    @property
    def over(self):
        return self.steps % 2 == 0

    def new_episode(self, state):
        self.abandoned += 1
        return super().new_episode(state)


def test_a_cut_episode_ends_without_a_return_and_the_next_begins():
    every = {"steps_per_epoch": 6, "refit_every": 6, "update_every": 6}
    online = replace(tiny_config().online, epochs=1, frozen_steps=100, **every)
    learner = prepare(tiny_config(online=online), dataset=tiny_log(), env=ENV).learner
    state = learner.hand_over(learner.init(jax.random.key(0)))
    chooser, told = CutsEverySecondStep(learner), []
    system = Collector(make_env(ENV), 0)
    state = online_stage(
        learner, state, system, on_epoch=lambda *row: told.append(row), chooser=chooser
    )
    rows = jax.tree.map(lambda column: np.asarray(column)[:6], state.online.data)
    assert chooser.abandoned == 3
    assert rows.truncated.tolist() == [False, True] * 3
    assert not rows.terminated.any()
    # Within an episode the next row begins where the last one ended, and nowhere else.
    follows = np.isclose(rows.next_obs[:-1], rows.obs[1:])[:, 0]
    assert follows.tolist() == [True, False, True, False, True]
    assert told[0][2]["online/episode_returns"] == []
    assert told[0][2]["online/cut_episodes"] == 3
