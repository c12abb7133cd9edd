"""The observations that an exported policy is compared with the original on: random and logged."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from moore.data.column_names import check_columns, columns_of
from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.formats.load import load_dataset
from moore.runs.policy import Policy

COUNT = 10_000
# Random states reach so far beyond the range of the log, as a share of it on both sides.
_BEYOND = 0.1


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class LoggedStates:
    """What the run's log says about the inputs.

    Attributes:
        obs: (rows, obs) float32: at most 10,000 rows, drawn at random; empty without a log.
        low, high: (obs,) range of each entry over the whole log; empty without a log.
        sha256: of the log that was read.
        columns: names and units of the entries, where the log has them.
        missing: why there are no logged states; "" if there are some.
    """

    obs: Float[np.ndarray, "rows obs"]
    low: Float[np.ndarray, " columns"]
    high: Float[np.ndarray, " columns"]
    sha256: str = ""
    columns: dict[str, list[str]] = field(default_factory=dict)
    missing: str = ""


def logged_states(
    policy: Policy, dataset: str | None, *, seed: int, known: Mapping[str, object] | None = None
) -> LoggedStates:
    """Observations of the log that the policy was trained on, if it can be read here.

    Args:
        policy: its settings name the log.
        dataset: where the log is now; None for where it was.
        seed: seed of the random draw.
        known: what the run recorded of its log: `sha256` and `rows`, if they are known.

    Raises:
        InputError: a log that was given cannot be read, or is not that of the run.
    """
    config = policy.config
    source = dataset or config.dataset
    if not source:
        return _without("the settings of the policy name no log")
    try:
        log = load_dataset(
            source,
            max_rows=config.max_rows,
            fraction=config.fraction,
            columns=config.columns or None,
            # The states need no rewards, so that no function of the user's is imported.
            reward=_no_rewards if config.reward else None,
        )
        _check(log, policy, source)
        _check_same(log, source, known or {}, computed=bool(config.reward))
    except InputError as error:
        if dataset:
            raise
        return _without(f"the log cannot be read here: {error}")
    rows = np.random.default_rng(seed).permutation(log.size)[:COUNT]
    low, high = log.obs.min(axis=0), log.obs.max(axis=0)
    sha256 = "" if config.reward else log.sha256  # which the computed rewards change
    return LoggedStates(log.obs[np.sort(rows)], low, high, sha256, columns_of(log))


def random_states(
    policy: Policy, logged: LoggedStates, *, seed: int
) -> tuple[Float[np.ndarray, "rows obs"], str]:
    """10,000 random observations, float32, and in words how they were drawn.

    Uniform over the range of the log and a tenth more on both sides. Without the log they are
    normal, with twice the standard deviation that the policy divides by, or around 0 with 1.
    """
    rng, shape = np.random.default_rng(seed), (COUNT, policy.obs_dim)
    if logged.low.size:
        more = _BEYOND * (logged.high.astype(np.float64) - logged.low)
        drawn = rng.uniform(logged.low - more, logged.high + more, shape)
        how = "uniform over the range of the log and 10% more on both sides"
    elif policy.units.obs_mean:
        drawn = rng.normal(policy.units.obs_mean, 2.0 * np.asarray(policy.units.obs_std), shape)
        how = "normal around the mean of the log, with twice its standard deviation"
    else:
        drawn = rng.normal(size=shape)
        how = "normal around 0 with standard deviation 1"
    return drawn.astype(np.float32), how


def _no_rewards(obs: np.ndarray, action: np.ndarray, next_obs: np.ndarray) -> np.ndarray:
    del action, next_obs
    return np.zeros(len(obs), np.float32)


def _check(log: Dataset, policy: Policy, source: str) -> None:
    sizes = (log.obs_dim, log.action_dim), (policy.obs_dim, policy.low.size)
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{source}: its observations and actions have {sizes[0]} entries, those of the policy "
            f"{sizes[1]}; give the log that the policy was trained on."
        )
    check_columns(log, policy.columns, of="the policy")


def _check_same(log: Dataset, source: str, known: Mapping[str, object], *, computed: bool) -> None:
    """Raises InputError for another log, whose ranges would stand in the contract.

    Computed rewards, which are left out here, change the hash.
    """
    sha256, rows = known.get("sha256"), known.get("rows")
    other = not computed and sha256 and sha256 != log.sha256
    if other or rows not in (None, log.size):
        raise InputError(
            f"{source}: is not the log that the policy was trained on (its SHA-256 was "
            f"{str(sha256)[:12]}...); put that log back, or say with --dataset where it is."
        )


def _without(missing: str) -> LoggedStates:
    nothing = np.zeros(0, np.float32)
    return LoggedStates(np.zeros((0, 0), np.float32), nothing, nothing, missing=missing)
