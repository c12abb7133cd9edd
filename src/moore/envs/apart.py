"""Whether environments that are open at the same time leave each other alone.

Objects of their own may still be one system: clients of one simulator, or of one global state. A
run steps several side by side, for its evaluations and to act, and each would move the others.
"""

from collections.abc import Sequence

import numpy as np

from moore.envs.adapter import Adapter
from moore.errors import InputError

_ALONE = 3  # steps of the first one, before the second is reset


def disturbance(
    first: Adapter,
    second: Adapter,
    actions: Sequence[np.ndarray],
    seen: Sequence[np.ndarray],
    seed: int,
) -> list[str]:
    """Resets the second environment while the first one is in an episode.

    Args:
        first, second: two simulators that repeat what they do after a reset with one seed.
        actions: actions of an episode of the first one, one for each step.
        seen: what it shows in this episode if it is alone, from the reset on.
        seed: seed of its reset.

    Returns:
        A note if the first one now shows something else.

    Raises:
        InputError: it goes on from the state of the second one.
    """
    steps = min(_ALONE, len(seen) - 2)
    second.reset(seed=seed + 1)
    of_second, *_ = second.step(actions[steps])
    first.reset(seed=seed)
    for action in actions[:steps]:
        first.step(action)
    second.reset(seed=seed + 1)
    of_first, *_ = first.step(actions[steps])
    if np.array_equal(of_first, seen[steps + 1]):
        return []
    if np.array_equal(of_first, of_second):
        raise InputError(
            "two environments of the function that makes them are one system: once the second is "
            "reset, the first goes on from the second's state. moore steps several at once "
            "(evaluation, acting). Give each a simulator of its own; or, if there is only one, use "
            "it as the live system and evaluate nothing: --evaluation.episodes 0."
        )
    return [
        "an environment shows something else if another one is reset beside it: they share a "
        "generator or another global state, so evaluations of one policy differ by chance."
    ]
