"""What a run compiles: no program twice, and a second run of equal settings none at all."""

import logging
import re
from collections import Counter
from dataclasses import replace

import jax
import pytest

from moore.agents.awac import AWACConfig
from moore.agents.ppo_config import PPOConfig
from moore.agents.td3_config import TD3Config
from moore.dynamics import fit
from moore.experience import learning, rollouts
from moore.replay import draws
from moore.runs.run import run
from moore.runs.setup import prepare
from moore.stages import acting
from tiny import ENV, quick_config, tiny_config

_COMPILING = re.compile(r"Compiling (?:jit\()?([\w<>]+)\)? with global shapes and types (.*)")


@pytest.fixture
def compiled():
    """The programs that JAX has compiled or looked up since, each with its arguments' types."""
    found = []

    class Note(logging.Handler):
        def emit(self, record):
            if match := _COMPILING.match(record.getMessage()):
                found.append(match.groups())

    logger, note = logging.getLogger("jax._src.interpreters.pxla"), Note()
    before = logger.level, logger.propagate
    logger.addHandler(note)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield found
    logger.removeHandler(note)
    logger.level, logger.propagate = before


def go(log_file, folder, config, **options):
    config = replace(config, accept=("hand-over",))  # a policy of few updates may be a bad one
    run(config, dataset=log_file, env=ENV, out=folder, quiet=True, **options)


def test_a_second_run_of_equal_settings_compiles_nothing(log_file, tmp_path, compiled):
    go(log_file, tmp_path / "first", quick_config())
    compiled.clear()
    go(log_file, tmp_path / "second", quick_config())
    assert compiled == []


def test_nor_does_one_of_another_seed(log_file, tmp_path, compiled):
    go(log_file, tmp_path / "first", quick_config())
    compiled.clear()
    go(log_file, tmp_path / "second", quick_config(seed=7))
    assert compiled == []


def test_nor_does_one_with_models_that_is_shorter(tiny_run, log_file, tmp_path, compiled):
    short = tiny_config(offline=replace(tiny_config().offline, epochs=1))
    once = {"until": lambda row, state: row["epoch"] == 1}
    go(log_file, tmp_path / "first", short, **once)
    compiled.clear()
    go(log_file, tmp_path / "second", short, **once)
    assert compiled == []


def test_a_run_compiles_each_of_its_programs_once_a_stage(log_file, tmp_path, compiled):
    """In the offline stage the room for online rows is one row, online it is that of the stage."""
    no_other_test_has_these = AWACConfig(hidden=(7, 7), batch_size=15)
    go(log_file, tmp_path / "run", quick_config(awac=no_other_test_has_these))
    counts = Counter(name for name, _ in compiled if name in _own_programs())
    assert counts["gradient_steps"] == counts["sample_rows"] == 2
    assert max(counts.values()) == 2


def test_a_run_fits_its_models_with_one_program_a_stage(log_file, tmp_path, compiled):
    """However many passes and fits it makes: what a pass returns is of the types that it took."""
    no_other_test_has_these = replace(tiny_config().model, hidden=(7, 9))
    go(log_file, tmp_path / "run", tiny_config(model=no_other_test_has_these))
    counts = Counter(name for name, _ in compiled if name in _own_programs())
    assert counts["begin_fit"] == counts["train_pass"] == 2
    assert max(counts.values()) == 2


@pytest.mark.parametrize("algorithm", ["moore", "moore_safe", "awac"])
def test_no_state_holds_numbers_that_would_compile_a_program_twice(log_file, algorithm):
    small = (8, 8)
    config = tiny_config(
        algorithm=algorithm,
        awac=AWACConfig(hidden=small),
        ppo=PPOConfig(hidden=small),
        td3=TD3Config(hidden=small, return_updates=10),
    )
    learner = prepare(config, dataset=log_file, env=ENV).learner
    begun = learner.init(jax.random.key(0))
    for state in (begun, learner.hand_over(begun)):
        arrays = [x for x in jax.tree.leaves(state) if isinstance(x, jax.Array)]
        assert not any(x.aval.weak_type for x in arrays)


def _own_programs() -> set[str]:
    """The functions of learning and observing that the package gives to `jax.jit`."""
    programs = [
        value.__name__
        for room in (fit, learning, rollouts, acting, draws)
        for value in vars(room).values()
        if hasattr(value, "lower") and callable(value)
    ]
    # The evaluation has programs of its own with the name of one of these.
    return set(programs) - {"act", "act_mode"}
