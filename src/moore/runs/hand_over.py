"""Does anything speak for the policy that is handed over? Asked before it touches a live system."""

from dataclasses import dataclass

import numpy as np

from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.numbers import finite
from moore.runs.world import World

# Name of what --accept takes to go online all the same.
ACCEPT = "hand-over"
# Standard errors by which a return must lie below another one to be clearly below it.
_CLEARLY = 2.0


@dataclass(frozen=True)
class HandOverFindings:
    """The policy at the end of the offline stage, beside the controller that made the log.

    Attributes:
        policy_return: mean of its evaluation episodes; None: it was not evaluated.
        log_return: mean of the log's complete episodes; None: there is no log.
        below_log: whether the first is below the second by more than chance explains.
        passed_gate: whether the gate has let any policy through, or the log was cloned; None: there
            is no gate.
    """

    policy_return: float | None
    log_return: float | None
    below_log: bool
    passed_gate: bool | None

    @property
    def line(self) -> str | None:
        """The two returns side by side; None where there are not two."""
        if self.policy_return is None or self.log_return is None:
            return None
        return (
            f"hand-over: the policy earns {self.policy_return:.1f} an episode, the controller that "
            f"made the log {self.log_return:.1f} on average."
        )

    @property
    def objections(self) -> list[str]:
        """Why the policy should not act on a live system, a clause each."""
        found = []
        if self.passed_gate is False:
            found.append("no policy has passed the gate, so the untrained first one would act")
        if self.below_log:
            found.append(
                f"the policy earns {self.policy_return:.4g} an episode, clearly below the "
                f"{self.log_return:.4g} of the log"
            )
        return found


def hand_over(rows: list[dict], log: Dataset | None) -> HandOverFindings:
    """What the offline stage's metrics and the log say of the policy that is handed over.

    Args:
        rows: of metrics.jsonl; without an offline epoch nothing is said, for nothing was learned.
        log: None for an algorithm without one.
    """
    rows = [row for row in rows if row["stage"] == "offline"]
    cloned = any(row.get("clone/acts") for row in rows)
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
    """By more than `_CLEARLY` standard errors of the difference of the means.

    One episode, or equal ones, say nothing of how much returns vary: the log's spread stands in.
    """
    spread = max(returns.std(ddof=1) if len(returns) > 1 else 0.0, logged.std())
    error = np.hypot(spread / np.sqrt(len(returns)), logged.std() / np.sqrt(len(logged)))
    return bool(returns.mean() < logged.mean() - _CLEARLY * error)


def check_hand_over(
    found: HandOverFindings, world: World, *, accepted: bool, is_live: bool
) -> None:
    """Refuses to go online with a policy that nothing speaks for.

    An environment that is made from a Gymnasium id is a simulator, and takes no harm; a function
    may make anything.

    Args:
        found: see `hand_over`.
        world: where the policy would act.
        accepted: the user wants it all the same.
        is_live: whether it acts elsewhere than it is evaluated.

    Raises:
        InputError: see above.
    """
    if accepted or not found.objections or (world.is_simulator and not is_live):
        return
    raise InputError(
        f"the run does not go online: {', and '.join(found.objections)}. The offline stage is "
        "kept. Look at its report; learn offline for longer or with other settings; or go online "
        f"all the same: moore online --from RUN --accept {ACCEPT}, or accept=('{ACCEPT}',) in "
        "Python."
    )
