"""Names and units of columns: a policy keeps those of its log, and they are compared."""

from dataclasses import replace

import pytest

from made_logs import refuses
from made_policies import made
from moore.data.column_names import as_columns, check_columns, columns_of
from moore.data.dataset import concatenate
from moore.runs.policy import load_policy, save_policy
from moore.runs.setup import prepare
from tiny import ENV, quick_config, tiny_log

NAMED = {"obs_names": ["x"], "action_names": ["u"], "obs_units": ["bar"]}


def named(**columns):
    return replace(tiny_log(), metadata=columns)


def test_joined_logs_have_the_columns_of_the_first_that_names_them():
    joined = concatenate([tiny_log(), named(**NAMED)])
    assert columns_of(joined) == columns_of(named(**NAMED)) == NAMED
    assert columns_of(None) == columns_of(tiny_log()) == {}


def test_what_is_no_list_of_texts_is_no_name():
    assert as_columns(None) == as_columns(["x"]) == {}
    assert as_columns(
        {"obs_names": "x", "action_names": [1], "obs_units": ["m"], "other": ["x"]}
    ) == {"obs_units": ["m"]}


def test_other_names_are_told_and_other_units_refused():
    assert check_columns(named(**NAMED), NAMED, of="the policy") == []
    assert check_columns(tiny_log(), NAMED, of="the policy") == []
    (note,) = check_columns(named(obs_names=["y"], obs_units=["Pa"]), NAMED, of="the policy")
    assert note == (
        "The obs columns are named y in tiny, and x in the policy; check that they mean the same."
    )
    other = named(**NAMED | {"obs_units": ["Pa"]})
    refuses("its obs columns are in .*Pa.*bar", check_columns, other, NAMED, of="the policy")


@pytest.mark.parametrize("columns", [{}, NAMED])
def test_a_policy_keeps_the_columns_of_its_run_s_log(tmp_path, columns):
    setup = prepare(quick_config(), dataset=named(**columns), env=ENV)
    assert setup.policy(()).columns == columns
    save_policy(tmp_path / "policy", replace(made(), columns=columns))
    assert load_policy(tmp_path).columns == columns
