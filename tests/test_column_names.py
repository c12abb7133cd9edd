"""Names and units of columns: a policy keeps those of its log, and they are compared."""

from dataclasses import replace

import numpy as np
import pytest

from made_logs import refuses
from made_policies import made
from moore.data.column_names import as_columns, check_columns, columns_of
from moore.data.dataset import concatenate
from moore.runs.policy import load_policy, save_policy
from moore.runs.setup import prepare
from moore.sessions.readings import rows_of
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


class Series:
    """A row of a table whose entries have names, as pandas has them."""

    def __init__(self, **entries: float):
        self.index, self._values = list(entries), list(entries.values())

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, dtype)


THREE = {"obs_names": ["level", "inflow", "temperature"]}
IN_ORDER = Series(level=1.0, inflow=2.0, temperature=3.0)
OTHER_ORDER = Series(inflow=2.0, level=1.0, temperature=3.0)
ORDER = "in the order inflow, level, temperature; expected level, inflow, temperature"


def test_entries_with_the_log_s_names_must_have_its_order():
    policy = replace(made(), columns=THREE)
    assert policy(IN_ORDER).tolist() == policy([1.0, 2.0, 3.0]).tolist()
    assert policy(Series(a=1.0, b=2.0, c=3.0)).tolist() == policy(IN_ORDER).tolist()
    refuses(ORDER, policy, OTHER_ORDER)
    assert made()(OTHER_ORDER).shape == (2,)  # its log had no names
    rows, _, single = rows_of("obs", IN_ORDER, 3, None, THREE)
    assert single and rows.tolist() == [[1.0, 2.0, 3.0]]
    refuses(ORDER, rows_of, "next_obs", OTHER_ORDER, 3, None, THREE)
