"""A short trial of a simulator before a run, to see whether it behaves as moore expects.

The environment for evaluations is made twice, reset twice and stepped a few times. A live system is
never tried: only its spaces and attributes are checked.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from moore.data.dataset import Dataset
from moore.data.precision import LOST, lost_in_float32
from moore.envs.adapter import Adapter
from moore.envs.apart import disturbance
from moore.errors import InputError, in_short
from moore.findings.resets import ITSELF, SystemSteps, resets_itself
from moore.findings.scales import far_outside, opposite_signs

_STEPS = 20  # of the trial
_OTHER_SIZE = 100.0  # times the size of the log's rewards
_ENDS, _STEPS_TO_ENDS, _SECONDS = 8, 1000, 1.0  # at most, of a trial of ends


@contextlib.contextmanager
def tried(
    make: Callable[[], Adapter], *, at_once: int, seed: int, log: Dataset | None
) -> Iterator[tuple[Adapter, list[str]]]:
    """An environment after the trial, with notes for the user; it is closed at the end.

    Args:
        make: makes an environment.
        at_once: how many environments the run will have open at the same time.
        seed: seed of the resets.
        log: a log of the same system; None if there is none.

    Raises:
        InputError: the interface is another one, `make` returns the same environment twice, or
            only one can be open, or one fails.
    """
    with contextlib.ExitStack() as stack:
        envs: list[Adapter] = []
        for _ in range(max(at_once, 1)):
            one = make() if not envs else _another(make, len(envs), at_once)
            envs.append(stack.enter_context(contextlib.closing(one)))
        refuse_shared(envs)
        with failures_told(
            f"a trial of {_STEPS} steps with random actions",
            "evaluate nothing, so that it is not tried: --evaluation.episodes 0",
        ):
            notes = _try(envs[0], envs[-1], seed, log)
            if log is not None:
                notes += _unlike_the_log(envs[0], log, seed)
        with failures_told(
            "episodes with random actions",
            "evaluate nothing, so that it is not tried: --evaluation.episodes 0",
        ):
            notes += _ends_tried(envs[0], seed)
        yield envs[0], notes


def refuse_shared(envs: Sequence[Adapter]) -> None:
    """Refuses environments that are one and the same.

    Raises:
        InputError: two of them step the same object.
    """
    if len({id(env.unwrapped) for env in envs}) < len(envs):
        raise InputError(
            "the function that makes the environment returns the same one each time; moore steps "
            "several at once (evaluation, acting). Let it make a new one at each call; or, if "
            "there is only one, use it as the live system and evaluate nothing: "
            "--evaluation.episodes 0."
        )


def refuse_one_simulator(envs: Sequence[Adapter], seed: int) -> None:
    """Refuses simulators of which the first goes on from the second's state; steps both.

    Raises:
        InputError: they are one system.
    """
    if len(envs) > 1:
        actions, trial = _random_episode(envs[0], seed)
        _side_by_side(envs[0], envs[1], actions, trial, seed)


def _another(make: Callable[[], Adapter], there: int, wanted: int) -> Adapter:
    try:
        return make()
    except Exception as error:  # whatever the next of a kind raises
        raise InputError(
            f"no further environment can be opened beside {there} ({in_short(error)}), and this "
            f"run needs {wanted} at once. Evaluate fewer episodes (--evaluation.episodes), or "
            "none: --evaluation.episodes 0."
        ) from error


@contextlib.contextmanager
def failures_told(doing: str, remedy: str) -> Iterator[None]:
    """Tells in one line what an environment raises before a run has begun.

    Args:
        doing: what it was stepped for.
        remedy: what the user may do but mend it.

    Raises:
        InputError: the environment has raised an error.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # an environment may raise anything
        raise InputError(
            f"the environment fails in {doing}, with {in_short(error)}. Mend it, or {remedy}."
        ) from error


def _try(first: Adapter, second: Adapter, seed: int, log: Dataset | None) -> list[str]:
    """Steps both environments in the same way, and compares what they show."""
    as_given, first.env = first.env, _Precise(first.env)
    actions, trial = _random_episode(first, seed)
    notes = _lost(first.env.seen)
    first.env = as_given
    if trial.faults:
        notes.append(
            f"a trial of {_STEPS} steps had readings that are not finite ({trial.faults[0]})."
        )
    elif trial.stands_still:
        notes.append(
            f"no observation changes in a trial of {_STEPS} steps with random actions; does the "
            "environment write its state into them?"
        )
    if second is not first:
        notes += _side_by_side(first, second, actions, trial, seed)
    elif not np.array_equal(trial.seen[0], first.reset(seed=seed)[0]):
        notes.append(_CARRIED)
    return notes if log is None else notes + _other_rewards(trial.rewards, log)


@dataclass(frozen=True)
class _Trial:
    """Observations (one more than steps), rewards and faults of an episode, as far as it went."""

    seen: list[np.ndarray]
    rewards: list[float]
    faults: list[str]

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same; readings that are not finite are equal."""
        if not isinstance(other, _Trial):
            return NotImplemented
        same = np.array_equal(self.rewards, other.rewards, equal_nan=True)
        return same and np.array_equal(self.seen, other.seen, equal_nan=True)

    @property
    def stands_still(self) -> bool:
        moved = self.seen[1:]
        return len(moved) == _STEPS and all(np.array_equal(obs, moved[0]) for obs in moved)


def _random_episode(env: Adapter, seed: int) -> tuple[list[np.ndarray], _Trial]:
    """Random actions, and an episode with them."""
    rng = np.random.default_rng(seed)
    actions = [rng.uniform(-1, 1, env.action_space.shape) for _ in range(_STEPS)]
    return actions, _stepped(env, actions, seed)


def _stepped(env: Adapter, actions: list[np.ndarray], seed: int) -> _Trial:
    """An episode with these actions."""
    obs, _ = env.reset(seed=seed)
    seen, rewards, faults = [obs], [], [env.fault]
    for action in actions:
        obs, reward, terminated, truncated, _ = env.step(action)
        seen.append(obs)
        rewards.append(float(reward))
        faults.append(env.fault)
        if terminated or truncated:
            break
    return _Trial(seen, rewards, [fault for fault in faults if fault is not None])


_CARRIED = (
    "an environment that is reset with the same seed shows or pays something else once it has run: "
    "something is carried over between its episodes, such as running statistics of a "
    "normalisation; evaluation and live system may show other numbers for the same state."
)


def _side_by_side(
    first: Adapter, second: Adapter, actions: list[np.ndarray], trial: _Trial, seed: int
) -> list[str]:
    """Notes on an episode that is not repeated by the same environment, or by another one."""
    again, other = _stepped(first, actions, seed), _stepped(second, actions, seed)
    if not np.array_equal(trial.seen[0], other.seen[0]):
        return [
            "two environments that are reset with the same seed begin differently, so evaluations "
            "of one policy differ by chance."
        ]
    if trial.faults or again.faults or other.faults:
        return [] if np.array_equal(trial.seen[0], again.seen[0]) else [_CARRIED]
    if trial != other:
        return [
            "two environments that are reset with the same seed part under the same actions: their "
            "steps draw from a generator that reset(seed=...) does not seed, so evaluations of one "
            "policy differ by chance."
        ]
    if trial != again:
        return [_CARRIED]
    return disturbance(first, second, actions, trial.seen, seed)


def _other_rewards(rewards: list[float], log: Dataset) -> list[str]:
    """A note if the rewards of the trial are of another sign or size than all of the log's."""
    here, there = np.array(rewards), log.reward
    if not np.isfinite(here).all() or not here.any() or not there.any():
        return []
    least, most = sorted((np.abs(here).mean(), np.abs(there).mean(dtype=np.float64)))
    if most < _OTHER_SIZE * least and not opposite_signs(here, there):
        return []
    return [
        f"the environment's rewards ({here.min():.3g} to {here.max():.3g} in a trial with random "
        f"actions) are unlike the log's ({there.min():.3g} to {there.max():.3g}); are they in the "
        "same units, and rewards in both, not costs in one of them?"
    ]


class _Precise(gym.Wrapper):
    """Keeps the observations in the precision in which they came, and changes nothing."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.seen: list[np.ndarray] = []

    def reset(self, **options):
        return self._keep(self.env.reset(**options))

    def step(self, action):
        return self._keep(self.env.step(action))

    def _keep(self, result):
        # The adapter refuses what is no array of numbers, in words.
        with contextlib.suppress(TypeError, ValueError, IndexError):
            self.seen.append(np.array(result[0]))
        return result


def _lost(seen: list[np.ndarray]) -> list[str]:
    """A note if float32, in which moore takes observations, loses their steps."""
    found = lost_in_float32({"obs": np.stack(seen)}, np.zeros(len(seen), bool)).get("obs", [])
    entries = [column["dim"] for column in found if column["rounding"] >= LOST]
    if not entries:
        return []
    return [
        f"observations are taken as float32, which loses the steps of entries {entries} from one "
        "observation to the next; subtract an offset inside the environment, or leave out what "
        "only counts time."
    ]


def _unlike_the_log(env: Adapter, log: Dataset, seed: int) -> list[str]:
    """Notes on first observations that lie far outside the range of the log."""
    starts = np.stack([env.reset(seed=seed + i)[0] for i in range(5)])
    if starts.shape[1] != log.obs_dim:
        return []  # told elsewhere
    far = far_outside(starts, log.obs)
    if not far:
        return []
    return [
        "the environment begins with values that the log never holds, in observation entries "
        f"{far}; are units and order the same?"
    ]


def _ends_tried(env: Adapter, seed: int) -> list[str]:
    """A note if the environment resets itself before it shows how an episode has ended."""
    rng, began = np.random.default_rng(seed), time.monotonic()
    rows: list[tuple] = []
    ends, obs = 0, None
    while ends < _ENDS and len(rows) < _STEPS_TO_ENDS and time.monotonic() - began < _SECONDS:
        if obs is None:
            obs, _ = env.reset(seed=seed + ends)
        action = rng.uniform(-1, 1, env.action_space.shape)
        after, _, terminated, truncated, _ = env.step(action)
        rows.append((obs, action, after, terminated, truncated))
        over = terminated or truncated
        ends, obs = ends + over, None if over else after
    obs, action, after, terminated, truncated = (np.array(x) for x in zip(*rows, strict=True))
    found = resets_itself(SystemSteps(obs, action, after), terminated, truncated)
    return [ITSELF.format(who="the environment")] if found else []
