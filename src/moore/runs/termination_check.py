"""A rule for the ends of episodes is trusted only where the log's own flags bear it out.

An environment's name says what its default observations mean; a wrapper may show others. Then the
rule of the name ends imagined rollouts where nothing ends, or never.
"""

from dataclasses import dataclass

import jax
import numpy as np

from moore.data.checks import blocks
from moore.data.dataset import Dataset
from moore.dynamics.imagine import TerminationFn
from moore.errors import InputError

# Of the ends that either of the two sees. Rounding to float32 moves a few ends across a limit.
MOST_DISAGREEING = 0.1
# So few rows say nothing, whatever their share.
_FEW = 3
_BLOCK = 2**15


@dataclass(frozen=True)
class Agreement:
    """A rule beside the terminal flags of a log, in rows whose successor is known.

    Attributes:
        ends: rows that the flags or the rule end.
        flagged_alone: rows that are flagged terminal, and in which the rule goes on.
        ruled_alone: rows that the rule ends, and which go on in the log.
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
    """The rule, in the environment's units, on every row of the log."""
    judge = jax.jit(jax.vmap(rule))
    ends = flagged_alone = ruled_alone = 0
    for rows in blocks(log.size, 1, most=_BLOCK):
        count = rows.stop - rows.start
        fill = ((0, min(_BLOCK, log.size) - count), (0, 0))  # one program for all blocks
        columns = (np.pad(x[rows], fill) for x in (log.obs, log.action, log.next_obs))
        ruled = np.asarray(judge(*columns))[:count] & log.successor_known[rows]
        flagged = log.terminated[rows] & log.successor_known[rows]
        ends += int((ruled | flagged).sum())
        flagged_alone += int((flagged & ~ruled).sum())
        ruled_alone += int((ruled & ~flagged).sum())
    return Agreement(ends, flagged_alone, ruled_alone)


def check_rule_against(log: Dataset, rule: TerminationFn, *, spec: str, env_id: str) -> None:
    """Refuses a rule that the log contradicts.

    `never`, where the user says it, is the user's word: an end is not learned, and nothing else.

    Args:
        log: with its flags.
        rule: in the environment's units.
        spec: as the configuration names it.
        env_id: the environment whose rule "auto" is.

    Raises:
        InputError: more than `MOST_DISAGREEING` of the ends are seen by one of the two alone.
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
