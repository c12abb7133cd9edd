"""Whether actions are choices among a few, where a policy's actions are numbers in between, too."""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.row_fits import numbers

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 2000  # rows, evenly spaced
_FEW = 50  # rows say nothing
_MOST = 20  # choices


@np.errstate(all="ignore")  # of values that are refused elsewhere
def actions_are_choices(log: "Log | Dataset") -> str:
    """How actions seem to name one of a few choices, in words; empty if they do not.

    Either each row has a single one among zeros, in every entry at times, or the only entry holds
    the numbers of the choices from 0 on.
    """
    rows = np.arange(0, len(log.action), max(1, -(-len(log.action) // _SAMPLE)))
    if len(rows) < _FEW:
        return ""
    action = numbers(log.action, rows)
    if action.shape[1] > 1:
        ones = action == 1
        single = (ones | (action == 0)).all() and (ones.sum(axis=1) == 1).all()
        return f"a one among {action.shape[1]} entries" if single and ones.any(axis=0).all() else ""
    values = np.unique(action)
    counted = 3 <= len(values) <= _MOST and (values == np.arange(len(values))).all()
    return f"the numbers 0 to {len(values) - 1}" if counted else ""
