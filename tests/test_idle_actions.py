"""Logs whose actions have nothing to do with their rows, and logs in which they hardly show."""

from dataclasses import replace

import numpy as np
import pytest

from made_logs import refuses
from made_oscillators import oscillator_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.idle_actions import have_no_effect
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

EPISODES, STEPS = 20, 60


def controlled_log(seed: int = 0, *, effect: float = 0.2, delay: int = 0) -> Log:
    """A level under a proportional controller with noise, which starts anywhere."""
    rng = np.random.default_rng(seed)
    columns = ([], [], [], [])
    for _ in range(EPISODES):
        level, sent = rng.uniform(-2, 2), [0.0] * delay
        for _ in range(STEPS):
            sent.append(float(np.clip(-0.8 * level + 0.3 * rng.normal(), -1, 1)))
            after = 0.95 * level + effect * sent[-1 - delay] + 0.02 * rng.normal()
            for column, value in zip(columns, ([level], [sent[-1]], -abs(after), [after]),
                                     strict=True):  # fmt: skip
                column.append(value)
            level = after
    obs, action, reward, after = map(np.array, columns)
    ends = np.arange(len(obs)) % STEPS == STEPS - 1
    return Log(obs, action, reward, ends & False, ends, after, name="level")


def of_log(log: Log) -> int:
    return have_no_effect(log, log.terminated | log.truncated)


def level(log: Log) -> str | None:
    return {f.name: f.level for f in findings(summarize(log))}.get("idle-actions")


def in_any_order(log: Log) -> Log:
    return replace(log, action=np.random.default_rng(1).permutation(log.action))


def of_the_episode_before(log: Log) -> Log:
    return replace(log, action=np.roll(log.action, STEPS, axis=0))


def in_any_order_inside_episodes(log: Log) -> Log:
    chance = np.random.default_rng(1).uniform(size=len(log.action))
    return replace(log, action=log.action[np.lexsort((chance, np.arange(len(chance)) // STEPS))])


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("make", [oscillator_log, controlled_log])
@pytest.mark.parametrize(
    "other", [in_any_order, of_the_episode_before, in_any_order_inside_episodes]
)
def test_actions_of_other_rows_are_told(other, make, stored):
    log = make()
    log = log if stored else replace(log, next_obs=None)
    assert level(log) is None
    assert level(other(log)) in ("note", "ruins")


def test_they_stop_a_run_where_observations_do_not_tell_them_either():
    log = in_any_order(controlled_log())
    assert level(log) == "ruins"
    refuses("other episodes.*--accept idle-actions", check_log_for_run, from_log(log), None)


def test_a_controller_in_a_plant_that_hardly_answers_is_a_note():
    """What observations tell of the actions shows that they belong to these rows."""
    log = controlled_log(effect=0.0)
    assert level(log) == "note"
    told = [n for n in check_log_for_run(from_log(log), None) if "[idle-actions]" in n]
    assert len(told) == 1 and "hardly answers" in told[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("delay", [0, 2, 6])
def test_actions_that_show_at_once_or_later_say_nothing(delay, seed):
    assert of_log(controlled_log(seed, delay=delay)) == 0
    assert of_log(oscillator_log(seed=seed)) == 0


def test_a_controller_without_noise_held_actions_and_few_rows_say_nothing():
    log = controlled_log(effect=0.0)
    assert of_log(replace(log, action=-0.5 * log.obs)) == 0
    assert of_log(replace(log, action=np.zeros_like(log.action))) == 0
    few = {key: getattr(log, key)[:300] for key in ("obs", "action", "reward", "next_obs")}
    flags = {key: getattr(log, key)[:300] for key in ("terminated", "truncated")}
    assert of_log(in_any_order(replace(log, **few, **flags))) == 0


def test_an_effect_that_observations_multiply_is_one():
    log = controlled_log(effect=0.0)
    sign = np.sign(np.random.default_rng(0).normal(size=log.obs.shape))
    after = log.obs + 0.5 * sign * log.obs * log.action
    assert of_log(replace(log, obs=sign * log.obs, next_obs=sign * after)) == 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("key", ["obs", "action", "next_obs"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_say_nothing(key, bad):
    log = in_any_order(controlled_log())
    values = getattr(log, key).copy()
    values[::7] = bad
    assert of_log(replace(log, **{key: values})) == 0


def test_the_built_in_logs_say_nothing():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        log = load_dataset(f"builtin:{name}")
        assert of_log(log) == 0 and of_log(in_any_order(log)) == 2
