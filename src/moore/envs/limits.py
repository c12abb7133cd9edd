"""After how many steps an episode is cut: from where that is known, and else how it is measured.

The discount, imagined episodes, evaluations and the ends of a log without time-out flags all depend
on this limit, so a wrong guess would spoil a run without any sign.
"""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit

from moore.data.dataset import Dataset
from moore.envs.adapter import Adapter

# Where nothing says anything: the limit of most of Gymnasium's MuJoCo tasks.
ASSUMED_STEPS = 1000
# Steps of the probe where no log says how long episodes are.
_PROBED_STEPS = 10_000
# Gymnasium's own wrappers whose step is several steps of what they wrap, by name: not every version
# of Gymnasium has all of them.
_SKIPPING = {"MaxAndSkipObservation", "AtariPreprocessing", "RepeatAction"}


@dataclass(frozen=True)
class StepLimit:
    """A limit in steps of the environment that the user gave, and its source.

    Attributes:
        steps: number of steps after which an episode is cut.
        source: "own" (a TimeLimit wrapper), "given" (the configuration), "measured" (the
            environment truncated its episode), "varying" (it truncates its episodes now here, now
            there: the longest seen), "log" (the logged episodes), "inner" (a TimeLimit inside a
            wrapper that may count other steps), "assumed".
    """

    steps: int
    source: str

    @property
    def note(self) -> str | None:
        """What to tell the user about it; None if the environment or the user stated the limit."""
        steps, remedy = f"{self.steps:,} steps", "--episode-steps sets another limit"
        return {
            "measured": f"the environment cuts its own episodes after {steps} (measured).",
            "varying": "the environment cuts its own episodes, not always after the same number of "
            f"steps; they are taken to have {steps} at most, the most that were seen.",
            "log": f"the environment states no step limit; the log's longest episodes have "
            f"{steps}, and episodes are cut there ({remedy}).",
            "inner": f"a time limit of {steps} lies inside a wrapper that may take several steps "
            f"at a time; episodes are taken to have as many ({remedy}).",
            "assumed": "no step limit is known of the environment or from the log; episodes are "
            f"cut after {steps} ({remedy}).",
        }.get(self.source)


def step_limit(env: gym.Env) -> int | None:
    """The limit that the environment states: that of an `Adapter`, or of a TimeLimit wrapper.

    The result is None if it states no limit. It is also None if a wrapper around the TimeLimit may
    take several steps at a time, because the TimeLimit then counts other steps than the user sees.
    """
    limits = []
    while isinstance(env, gym.Wrapper):
        if isinstance(env, Adapter):
            if env.limit is not None:
                limits.append(env.limit)
        elif isinstance(env, TimeLimit):
            limits.append(env._max_episode_steps)
        elif not _one_to_one(env):
            break
        env = env.env
    return min(limits, default=None)


def inner_limit(env: gym.Env) -> int | None:
    """The lowest TimeLimit of all wrappers, whichever steps it counts; None if there is none."""
    limits = []
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    return min(limits, default=None)


def _one_to_one(wrapper: gym.Wrapper) -> bool:
    """Whether a step of the wrapper is certainly one step of the environment inside it."""
    kind = type(wrapper)
    if _SKIPPING & {base.__name__ for base in kind.__mro__}:
        return False
    step = kind.step
    plain = (gym.Wrapper, gym.ObservationWrapper, gym.ActionWrapper, gym.RewardWrapper)
    return any(step is base.step for base in plain) or step.__module__.startswith("gymnasium.")


def limit_of_log(log: Dataset) -> StepLimit | None:
    """The limit that the logged episodes suggest; None if they suggest none.

    It is the length of the longest episode that was cut, or the common length if all are equal.
    """
    lengths = log.episode_lengths
    if not len(lengths) or not log.metadata.get("timeouts_recorded", True):
        return None
    ends = np.flatnonzero(log.terminated | log.truncated)
    if len(ends) == len(lengths) and log.truncated[ends].any():
        cut = int(lengths[log.truncated[ends]].max())
        return StepLimit(cut, "log") if cut == lengths.max() else None
    if len(lengths) > 1 and lengths.min() == lengths.max():
        return StepLimit(int(lengths[0]), "log")
    return None


def measured_limit(env: Adapter, log: Dataset | None, seed: int) -> StepLimit | None:
    """After how many steps the environment itself truncates an episode; None if it does not.

    Three episodes are tried: with the actions of the longest logged episode, with actions in the
    middle of the bounds, and with random ones. Each takes at most twice as many steps as the
    longest logged episode has. One number of steps is a limit only if nothing contradicts it.

    Args:
        env: a simulator that states no limit; this function steps it.
        log: a log of the environment; None if there is none.
        seed: seed of the resets and the random actions.
    """
    longest = 0 if log is None else int(log.episode_lengths.max(initial=0))
    most = 2 * longest if longest else _PROBED_STEPS
    rng = np.random.default_rng(seed)
    dim = env.bounds.low.size
    kinds = [np.zeros((1, dim)), rng.uniform(-1.0, 1.0, (most, dim))]
    if log is not None and longest:
        kinds.insert(0, _longest_episode(env, log))
    trials = [_episode(env, actions, seed + i, most) for i, actions in enumerate(kinds)]
    cut = [steps for steps, truncated in trials if truncated]
    if not cut or (most, False) in trials:  # it can go on without end
        return None
    steps, most_seen = max(cut), max(longest, *(steps for steps, _ in trials))
    agreed = min(cut) == steps or cut.count(steps) > 1 or steps == longest
    if agreed and all(other <= steps for other, _ in trials):
        return StepLimit(steps, "measured")
    return StepLimit(most_seen, "varying")


def limit_of(env: Adapter, log: Dataset | None, seed: int, *, may_move: bool) -> StepLimit:
    """The limit of an environment: stated, else measured, else the log's, else assumed.

    Args:
        env: an environment whose adapter has no limit.
        log: a log of the environment; None if there is none.
        seed: seed of the measurement.
        may_move: true for a simulator; a live system is not stepped to measure its limit.
    """
    stated, inner = step_limit(env), inner_limit(env)
    if stated is not None:
        return StepLimit(stated, "own")
    if may_move and (measured := measured_limit(env, log, seed)) is not None:
        return measured
    logged = None if log is None else limit_of_log(log)
    # A wrapper that takes k steps at a time sees an inner limit of k times as many.
    if inner is not None and (logged is None or inner % logged.steps or inner == logged.steps):
        return StepLimit(inner, "inner")
    longest = 0 if log is None else int(log.episode_lengths.max(initial=0))
    return logged or StepLimit(max(ASSUMED_STEPS, longest), "assumed")


def _longest_episode(env: Adapter, log: Dataset) -> np.ndarray:
    """The actions of the longest logged episode, in [-1, 1]."""
    ends = np.flatnonzero(log.terminated | log.truncated)
    starts = np.concatenate([[0], ends[:-1] + 1])
    which = int(np.argmax(ends - starts))
    return env.bounds.scaled(log.action[starts[which] : ends[which] + 1])


def _episode(env: Adapter, actions: np.ndarray, seed: int, most: int) -> tuple[int, bool]:
    """Steps of an episode, at most `most`, and whether the environment truncated it there."""
    env.reset(seed=seed)
    for step in range(most):
        _, _, terminated, truncated, _ = env.step(actions[step % len(actions)])
        if terminated or truncated:
            return step + 1, truncated and not terminated
    return most, False
