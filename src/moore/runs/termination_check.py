"""Checks a termination rule against the terminal flags of the log.

A rule that belongs to the name of an environment expects its default observations, but a wrapper
may show others. Then the rule would end imagined rollouts at wrong states, or never.
"""

from dataclasses import dataclass

import jax
import numpy as np

from moore.data.checks import blocks
from moore.data.dataset import Dataset
from moore.dynamics.imagine import TerminationFn
from moore.errors import InputError

# Largest share of ends on which rule and flags disagree. Rounding to float32 moves a few states
# across a limit.
MOST_DISAGREEING = 0.1
# This number of disagreeing rows is always tolerated.
_FEW = 3
_BLOCK = 2**15


@dataclass(frozen=True)
class Agreement:
    """Agreement of a rule with the terminal flags of a log, in rows whose successor is known.

    Attributes:
        ends: number of rows that the flags or the rule end.
        flagged_alone: number of rows that are flagged terminal but not ended by the rule.
        ruled_alone: number of rows that the rule ends but that go on in the log.
    """

    ends: int
    flagged_alone: int
    ruled_alone: int

    @property
    def good(self) -> bool:
        wrong = self.flagged_alone + self.ruled_alone
        return wrong <= max(_FEW, MOST_DISAGREEING * self.ends)

    def __str__(self) -> str:
        return (
            f"it ends {self.ruled_alone:,} rows that go on in the log, and goes on in "
            f"{self.flagged_alone:,} that are flagged terminal, of {self.ends:,} ends in all"
        )


def compare(rule: TerminationFn, log: Dataset) -> Agreement:
    """Applies the rule, in the environment's units, to every row of the log."""
    judge = jax.jit(jax.vmap(rule))
    ends = flagged_alone = ruled_alone = 0
    for rows in blocks(log.size, 1, most=_BLOCK):
        count = rows.stop - rows.start
        # The last block is filled up, so that all blocks use the same program.
        fill = ((0, min(_BLOCK, log.size) - count), (0, 0))
        columns = (np.pad(x[rows], fill) for x in (log.obs, log.action, log.next_obs))
        ruled = np.asarray(judge(*columns))[:count] & log.successor_known[rows]
        flagged = log.terminated[rows] & log.successor_known[rows]
        ends += int((ruled | flagged).sum())
        flagged_alone += int((flagged & ~ruled).sum())
        ruled_alone += int((ruled & ~flagged).sum())
    return Agreement(ends, flagged_alone, ruled_alone)


def check_rule_against(log: Dataset, rule: TerminationFn, *, spec: str, env_id: str) -> None:
    """Refuses a rule that the log contradicts.

    `never` is accepted if the user names it: then no end is imagined.

    Args:
        log: the log with its flags.
        rule: the rule in the environment's units.
        spec: name of the rule in the configuration.
        env_id: the environment whose rule "auto" takes.

    Raises:
        InputError: rule and flags disagree on more than `MOST_DISAGREEING` of the ends.
    """
    if spec == "never":
        return
    agreement = compare(rule, log)
    if agreement.good:
        return
    name = f"the rule of {env_id}" if spec == "auto" else f"--termination {spec}"
    raise InputError(
        f"{log.name}: {name} does not fit the log's terminal flags: {agreement}; more than "
        f"{MOST_DISAGREEING:.0%} disagree. The observations may be others than the rule expects, "
        "or the flags may be wrong. Learn a rule from the flags (--termination learned), give one "
        "(--termination module:function), or let nothing end imagined episodes (--termination "
        "never)."
    )
