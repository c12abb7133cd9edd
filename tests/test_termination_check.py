"""A termination rule is used only where the log's own flags bear it out."""

import numpy as np
import pytest

from made_plants import tank_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.envs.termination import never
from moore.errors import InputError
from moore.runs.termination_check import Agreement, check_rule_against, compare


def high(obs, action, next_obs):
    return next_obs[0] > 0.5


def log_with(terminated) -> Log:
    arrays = tank_log(rows=40_000)
    ends = arrays["next_obs"][:, 0] > 0.5
    flagged = terminated(ends)
    arrays |= {"terminated": flagged, "truncated": arrays["truncated"] & ~flagged}
    return from_log(Log(**arrays, name="tank log")), int(ends.sum())


def test_both_kinds_of_disagreement_are_counted_over_all_blocks_of_rows():
    log, ends = log_with(lambda ends: ends)
    assert compare(high, log) == Agreement(ends, 0, 0)
    log, ends = log_with(np.zeros_like)
    assert compare(high, log) == Agreement(ends, 0, ends)
    log, ends = log_with(lambda ends: ends)
    assert compare(never, log) == Agreement(ends, ends, 0)


def test_rows_without_a_known_successor_say_nothing():
    log, _ = log_with(lambda ends: ends)
    log.successor_known[:] = False
    assert compare(high, log) == Agreement(0, 0, 0)


@pytest.mark.parametrize(("wrong", "good"), [(0, True), (100, True), (101, False), (999, False)])
def test_a_tenth_of_the_ends_may_lie_within_rounding(wrong, good):
    assert Agreement(1000, wrong, 0).good == Agreement(1000, 0, wrong).good == good


def test_three_rows_say_nothing():
    assert Agreement(3, 3, 0).good and not Agreement(4, 4, 0).good


def test_a_rule_that_the_log_contradicts_is_refused_with_both_numbers_and_what_to_do():
    log, ends = log_with(np.zeros_like)
    with pytest.raises(InputError, match=rf"Hopper-v5 .*ends {ends:,} rows .* in 0 .*learned"):
        check_rule_against(log, high, spec="auto", env_id="Hopper-v5")
    with pytest.raises(InputError, match="--termination my:rule"):
        check_rule_against(log, high, spec="my:rule", env_id="Hopper-v5")


def test_never_is_the_user_s_word_where_the_user_says_it_and_not_where_a_name_does():
    log, _ = log_with(lambda ends: ends)
    check_rule_against(log, never, spec="never", env_id="custom")
    with pytest.raises(InputError, match="HalfCheetah"):
        check_rule_against(log, never, spec="auto", env_id="HalfCheetah-v5")
