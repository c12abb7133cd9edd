"""How much memory a run needs at most: that of its miniature, and what it has more of."""

from moore.planning.calibration import Costs, reduced, state_bytes
from moore.stages.learner import Learner

# Drawing the report at the end: 17 MiB were measured for a run of 41 epochs (Matplotlib 3.11).
REPORT = 30 * 2**20
# Bytes of an imagined step while its round is summed up: whether it happened, was due and left the
# range; its uncertainty and reward; and these once more, sorted, for the quantiles.
_OF_A_STEP = 3 + 2 * 4 + 3 * 4
# Bytes of a row drawn for a fit: its place, then a random number for it, and both of them sorted.
_OF_A_DRAW = 4 * 4


def memory_of(costs: Costs, learner: Learner) -> int | None:
    """Bytes that a run needs at most; None where the system does not tell what a process has.

    To the miniature's come what the states are larger by, a copy of the larger state (a checkpoint
    is packed before it is written, and at the hand-over both states are there), the rows that are
    drawn for a fit, the statistics of a round of rollouts, and the report.
    """
    if costs.memory is None:
        return None
    state, small = state_bytes(learner), reduced(learner.config)
    larger = max(state - costs.state, 0)
    passing = _passing_bytes(learner) - _passing_bytes(learner.changed(config=small))
    return costs.memory + larger + state + max(passing, 0) + REPORT


def _passing_bytes(learner: Learner) -> int:
    """Bytes of what is there only while the models are fitted, or while they imagine."""
    if learner.models is None:
        return 0
    config, model = learner.config, learner.config.model
    steps = max(model.max_fit_steps, model.max_refit_steps)
    most = learner.offline.capacity + learner.task.online_rows
    drawn = model.members * min(most, steps * model.batch_size)
    offline = config.offline.rollout_batch if learner.algorithm.uses_log else 0
    count = max(offline, config.online.rollout_batch)
    schedule = config.online.rollout_schedule
    longest = max([config.rollout_length, *(schedule[2:] if schedule else ())])
    return max(_OF_A_DRAW * drawn, int(_OF_A_STEP * count * longest))
