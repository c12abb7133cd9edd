"""Checks whether anything speaks for the policy before it acts in a live system."""

from dataclasses import dataclass

import numpy as np

from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.findings.scales import far_outside
from moore.numbers import finite
from moore.runs.world import World

# The words that --accept takes to go online nevertheless.
ACCEPT = "hand-over"
ACCEPT_FIRST = "first-observation"
# Number of standard errors by which a return must lie below another to be clearly below it.
_CLEARLY = 2.0


@dataclass(frozen=True)
class HandOverFindings:
    """The policy at the end of the offline stage, compared with the controller that made the log.

    Attributes:
        policy_return: mean return of its evaluation episodes; None if it was not evaluated.
        log_return: mean return of the log's complete episodes; None without a log.
        below_log: whether the first is below the second by more than chance explains.
        passed_gate: whether any policy has passed the gate or the log was cloned; None without a
            gate.
    """

    policy_return: float | None
    log_return: float | None
    below_log: bool
    passed_gate: bool | None

    @property
    def line(self) -> str | None:
        """A line with the two returns; None if one of them is missing."""
        if self.policy_return is None or self.log_return is None:
            return None
        return (
            f"hand-over: the policy earns {self.policy_return:.1f} an episode, the controller that "
            f"made the log {self.log_return:.1f} on average."
        )

    @property
    def objections(self) -> list[str]:
        """Reasons why the policy should not act in a live system, one clause each."""
        found = []
        if self.passed_gate is False:
            found.append("no policy has passed the gate, so the untrained first one would act")
        if self.below_log:
            found.append(
                f"the policy earns {self.policy_return:.4g} an episode, clearly below the "
                f"{self.log_return:.4g} of the log"
            )
        return found


def was_cloned(rows: list[dict]) -> bool:
    """Whether the log had a policy to clone, which acted; from the metrics of the offline stage."""
    return any(row.get("clone/acts") for row in rows)


def hand_over(rows: list[dict], log: Dataset | None) -> HandOverFindings:
    """Compares the policy that is handed over with the log, from the metrics of the offline stage.

    Args:
        rows: rows of metrics.jsonl. Without an offline epoch nothing was learned, and there are no
            findings.
        log: the log; None for an algorithm without one.
    """
    rows = [row for row in rows if row["stage"] == "offline"]
    cloned = was_cloned(rows)
    rows = [row for row in rows if row["epoch"] > 0]
    logged = np.zeros(0) if log is None else log.episode_returns
    if not rows or not len(logged):
        return HandOverFindings(None, None, False, None)
    asked = [row["gate/accepted"] for row in rows if row.get("gate/accepted") is not None]
    returns = np.asarray(finite(rows[-1].get("eval/returns")), float)
    earned = float(returns.mean()) if len(returns) else None
    return HandOverFindings(
        policy_return=earned,
        log_return=float(logged.mean()),
        below_log=earned is not None and _clearly_below(returns, logged),
        passed_gate=(cloned or any(asked)) if asked else None,
    )


def _clearly_below(returns: np.ndarray, logged: np.ndarray) -> bool:
    """Whether one mean is lower by more than `_CLEARLY` standard errors of the difference.

    A single episode, or equal ones, do not tell how much returns vary; then the log's spread is
    used.
    """
    spread = max(returns.std(ddof=1) if len(returns) > 1 else 0.0, logged.std())
    error = np.hypot(spread / np.sqrt(len(returns)), logged.std() / np.sqrt(len(logged)))
    return bool(returns.mean() < logged.mean() - _CLEARLY * error)


def check_hand_over(
    found: HandOverFindings, world: World, *, accepted: bool, is_live: bool
) -> None:
    """Refuses to go online with a policy that has objections against it.

    An environment that is made from a Gymnasium id is a simulator, where any policy may act; a
    function may make anything.

    Args:
        found: findings of `hand_over`.
        world: environments in which the policy would act.
        accepted: whether the user wants to go online nevertheless.
        is_live: whether the policy acts elsewhere than it is evaluated.

    Raises:
        InputError: there are objections, the system may be a live one, and the user did not accept
            them.
    """
    if accepted or not found.objections or (world.is_simulator and not is_live):
        return
    raise InputError(
        f"the run does not go online: {', and '.join(found.objections)}. The offline stage is "
        "kept. Look at its report, learn offline for longer or with other settings, or go online "
        f"nevertheless: moore online --from RUN --accept {ACCEPT}, or accept=('{ACCEPT}',) in "
        "Python."
    )


def check_first(obs: np.ndarray, log: Dataset | None) -> None:
    """Refuses to act on the first observation of a live system if it is unlike all logged ones.

    Entries that never change in the log are not looked at: it does not tell what is far from them.

    Args:
        obs: (obs,) the observation, in the user's units.
        log: the log; None for an algorithm without one.

    Raises:
        InputError: an entry lies far outside the log.
    """
    if log is None:
        return
    moving = log.obs.min(axis=0) < log.obs.max(axis=0)
    far = far_outside(np.where(moving, obs, log.obs[0])[None], log.obs)
    if far:
        raise InputError(
            "no action was sent: the live system shows values that the log never holds, in "
            f"observation entries {far}. See whether units and order are the same. To act on them "
            f"nevertheless: moore online --from RUN --accept {ACCEPT_FIRST}, or "
            f"accept=('{ACCEPT_FIRST}',) in Python."
        )
