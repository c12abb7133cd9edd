"""How far the learner of a session is, and whether it goes on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LearnerReport:
    """How far the learner of a session is.

    Attributes:
        process: number of its process; None: learning runs in calls of `learn`.
        alive: whether it goes on.
        steps: number of steps since the hand-over that were learned from.
        updates: number of updates that the session has made.
        due: number of updates that the schedule of the run asks for and that were not made.
        published: number of the newest policy that has come from the process, 0 before the first.
        trouble: why it does not go on, as a sentence; "" if it does.
    """

    process: int | None
    alive: bool
    steps: int
    updates: int
    due: int
    published: int = 0
    trouble: str = ""
