"""A short trial of a simulator before a run, to see whether it behaves as moore expects.

The environment for evaluations is made twice, reset twice and stepped a few times. A live system is
never tried: only its spaces and attributes are checked.
"""

import contextlib
from collections.abc import Callable, Iterator

import gymnasium as gym
import numpy as np

from moore.data.dataset import Dataset
from moore.data.precision import LOST, lost_in_float32
from moore.data.scales import far_outside
from moore.envs.adapter import Adapter
from moore.errors import InputError

_STEPS = 20  # of the trial


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
            only one can be open.
    """
    with contextlib.ExitStack() as stack:
        envs: list[Adapter] = []
        for _ in range(max(at_once, 1)):
            one = make() if not envs else _another(make, len(envs), at_once)
            envs.append(stack.enter_context(contextlib.closing(one)))
        refuse_shared(envs)
        notes = _try(envs[0], envs[-1], seed)
        if log is not None:
            notes += _unlike_the_log(envs[0], log, seed)
        yield envs[0], notes


def refuse_shared(envs: list[Adapter]) -> None:
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


def _another(make: Callable[[], Adapter], there: int, wanted: int) -> Adapter:
    try:
        return make()
    except Exception as error:  # whatever the next of a kind raises
        told = " ".join(str(error).split())[:200]
        raise InputError(
            f"no further environment can be opened beside {there} ({type(error).__name__}: "
            f"{told}), and this run needs {wanted} at once. Evaluate fewer episodes "
            "(--evaluation.episodes), or none: --evaluation.episodes 0."
        ) from error


def _try(first: Adapter, second: Adapter, seed: int) -> list[str]:
    """Steps the first environment, and compares resets of both with the same seed."""
    as_given, first.env = first.env, _Precise(first.env)
    begun, _ = first.reset(seed=seed)
    other = begun if second is first else second.reset(seed=seed)[0]
    rng = np.random.default_rng(seed)
    faults = [] if first.fault is None else [first.fault]
    for _ in range(_STEPS):
        *_, terminated, truncated, _ = first.step(rng.uniform(-1, 1, first.action_space.shape))
        faults += [] if first.fault is None else [first.fault]
        if terminated or truncated:
            break
    notes = _lost(first.env.seen)
    first.env = as_given
    again, _ = first.reset(seed=seed)
    if faults:
        notes.append(f"a trial of {_STEPS} steps had readings that are not finite ({faults[0]}).")
    if not np.array_equal(begun, other):
        notes.append(
            "two environments that are reset with the same seed begin differently, so evaluations "
            "of one policy differ by chance."
        )
    elif not np.array_equal(begun, again):
        notes.append(
            "an environment that is reset with the same seed begins differently once it has run: "
            "something is carried over between its episodes, such as running statistics of a "
            "normalisation; evaluation and live system may show other numbers for the same state."
        )
    return notes


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
