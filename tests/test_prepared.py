"""What scripts ask of a run that is prepared and not begun."""

from dataclasses import replace

import numpy as np

from moore.runs.setup import prepare
from tiny import ENV, tiny_config


def test_the_learner_tells_how_long_episodes_are_and_when_they_end(log_file):
    config = replace(tiny_config(), episode_steps=17)
    learner = prepare(config, dataset=log_file, env=ENV).learner
    row = [np.zeros(learner.dims[0]), np.zeros(learner.dims[1]), np.zeros(learner.dims[0])]
    assert learner.episode_steps == 17
    assert not bool(learner.terminated_fn(*row))


def test_the_learner_holds_the_log(log_file):
    learner = prepare(tiny_config(), dataset=log_file, env=ENV).learner
    assert int(learner.offline.size) == len(np.load(log_file)["reward"])
