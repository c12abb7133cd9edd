"""How much the hand-over cost and how much the online stage gained, in numbers.

The paper judges a transfer by its curves (section 5: no dip after the hand-over, then a rise). This
module turns these two judgements into numbers, so that runs can be compared. With J0 for the return
at the hand-over and J(t) for that after epoch t of T:

- offline: J0.
- dip: max(0, J0 - the lowest J(t) of the first 10 epochs); 0 if T is 0.
- dip_share: dip / |J0 - random|; None if random is unknown or equal to J0.
- dip_area: sum over all online epochs of max(0, J0 - J(t)), in return times epochs.
- recovery_epochs: epochs from the first J(t) < J0 to the first J >= J0 after it; 0 if no
  evaluation is below J0, None if none after the fall is back at J0.
- epochs_to_threshold: first epoch t with J(t) >= threshold; 0 if J0 is, None if none is.
- final: mean of the last 5 online evaluations (of all, if fewer); J0 if T is 0.
- gain: final - offline.
- auc: mean of J(1), ..., J(T), the area under the curve per epoch; J0 if T is 0.
- behaviour_dip, behaviour_dip_share: dip and dip_share of the acting policy, with
  `behaviour_offline` for J0 and each epoch's mean for J(t); None if the baseline or
  every episode of the first 10 epochs is missing (0 if no epoch was run at all).
- behaviour_worst_episode: lowest return of an episode that the acting policy finished
  online; None without one.
- behaviour_loss: sum over these episodes of `log_return` minus the return, which is negative
  where the live system earned more than under the controller before; None if
  `log_return` is unknown.
- behaviour_loss_peak: the largest value that this sum had after any episode; at least 0.
- dip_by_yardstick, dip_area_by_yardstick, gain_by_yardstick, behaviour_dip_by_yardstick:
  the metric divided by `yardstick`; None if that is unknown.

With a reference also `offline_score`, `final_score`, `auc_score` and
`behaviour_worst_episode_score` (levels, on the 0 to 100 scale), and `dip_score`,
`dip_area_score`, `gain_score`, `behaviour_dip_score`, `behaviour_loss_score` and
`behaviour_loss_peak_score` (differences, times 100 / (expert - random)).
"""

from collections.abc import Sequence

import numpy as np

from moore.evaluation.scores import ReferenceScores

Returns = Sequence[float] | np.ndarray

DIP_EPOCHS = 10
FINAL_EVALUATIONS = 5
THRESHOLD_SHARE = 0.95
LUCK_DRAWS = 4000

_LEVELS = ("offline", "final", "auc", "behaviour_worst_episode")
_DIFFERENCES = (
    "dip",
    "dip_area",
    "gain",
    "behaviour_dip",
    "behaviour_loss",
    "behaviour_loss_peak",
)
_BY_YARDSTICK = ("dip", "dip_area", "gain", "behaviour_dip")


def transfer_metrics(
    offline: float,
    returns: Returns,
    *,
    random_return: float | None = None,
    reference: ReferenceScores | None = None,
    threshold: float | None = None,
    behaviour_offline: float | None = None,
    behaviour_returns: Sequence[Returns] = (),
    log_return: float | None = None,
    yardstick: float | None = None,
) -> dict[str, float | None]:
    """The metrics of one run that stand at the top of this file, ready for `summary.json`.

    Returns are undiscounted sums of rewards; an epoch is one online epoch, counted from 1.

    Args:
        offline: J0, the mean evaluation return of the offline policy at the hand-over.
        returns: J(1), ..., J(T), the evaluation return after each online epoch; T may be 0.
        random_return: return of a uniformly random policy; the reference's if not given.
        reference: reference returns for the normalised score, if the task has them.
        threshold: the return that `epochs_to_threshold` waits for. Not given: 95% of the best
            known score, best - 0.05 |best - random|, where best is the highest of J0 and all
            J(t), and random counts as 0 when it is unknown.
        behaviour_offline: mean return of episodes that the stochastic offline policy acted at
            the hand-over.
        behaviour_returns: for each online epoch the returns of the episodes that the acting
            policy finished in it; an epoch with none is left out.
        log_return: what the controller before earns an episode, the mean return of the log.
        yardstick: a difference of returns that dips are measured by and that does not come from
            the run, greater than 0 (`moore.evaluation.yardstick`).

    Raises:
        ValueError: if any number given is not finite, or the yardstick is not above 0.
    """
    curve = _finite(returns, "returns")
    _finite([offline], "offline")
    given = {"random_return": random_return, "threshold": threshold, "yardstick": yardstick}
    given |= {"behaviour_offline": behaviour_offline, "log_return": log_return}
    for name, value in given.items():
        _finite([] if value is None else [value], name)
    if yardstick is not None and yardstick <= 0.0:
        raise ValueError(f"yardstick: expected a difference above 0, got {yardstick}")
    if random_return is None and reference is not None:
        random_return = reference.random
    if threshold is None:
        threshold = _threshold(offline, curve, random_return)
    metrics = _evaluated(float(offline), curve, random_return, threshold)
    metrics |= _behaviour(behaviour_offline, behaviour_returns, random_return)
    metrics |= _live(behaviour_returns, log_return)
    metrics |= {f"{name}_by_yardstick": _over(metrics[name], yardstick) for name in _BY_YARDSTICK}
    return metrics if reference is None else metrics | _scores(metrics, reference)


def _evaluated(
    offline: float, curve: np.ndarray, random_return: float | None, threshold: float
) -> dict[str, float | None]:
    """The metrics of the evaluated policy; curve [T]."""
    dip = _dip(offline, curve[:DIP_EPOCHS])
    final = float(curve[-FINAL_EVALUATIONS:].mean()) if curve.size else offline
    return {
        "offline": offline,
        "dip": dip,
        "dip_share": _share(dip, offline, random_return),
        "dip_area": float(np.maximum(0.0, offline - curve).sum()),
        "recovery_epochs": _recovery_epochs(offline, curve),
        "epochs_to_threshold": _first(np.append(offline, curve) >= threshold),
        "final": final,
        "gain": final - offline,
        "auc": float(curve.mean()) if curve.size else offline,
    }


def _behaviour(
    baseline: float | None, episodes: Sequence[Returns], random_return: float | None
) -> dict[str, float | None]:
    """The dip of the acting policy, from the returns of its episodes per epoch."""
    every = [_finite(epoch, "behaviour_returns") for epoch in episodes]
    early = every[:DIP_EPOCHS]
    means = np.array([epoch.mean() for epoch in early if epoch.size])
    if baseline is None or (early and not means.size):
        return {"behaviour_dip": None, "behaviour_dip_share": None}
    dip = _dip(float(baseline), means)
    return {
        "behaviour_dip": dip,
        "behaviour_dip_share": _share(dip, baseline, random_return),
    }


def _live(episodes: Sequence[Returns], log_return: float | None) -> dict[str, float | None]:
    """What the live system earned while the run learned, episode by episode."""
    returns = np.concatenate([np.zeros(0), *(_finite(e, "behaviour_returns") for e in episodes)])
    worst = float(returns.min()) if returns.size else None
    if log_return is None:
        loss, peak = None, None
    else:
        losses = np.append(0.0, np.cumsum(log_return - returns))
        loss, peak = float(losses[-1]), float(losses.max())
    return {
        "behaviour_worst_episode": worst,
        "behaviour_loss": loss,
        "behaviour_loss_peak": peak,
    }


def _over(value: float | None, yardstick: float | None) -> float | None:
    return None if value is None or yardstick is None else value / yardstick


def _scores(
    metrics: dict[str, float | None], reference: ReferenceScores
) -> dict[str, float | None]:
    """The return-valued metrics in per cent of the gap between random and expert."""
    percent = 100.0 / (reference.expert - reference.random)
    scores: dict[str, float | None] = {}
    for name in _LEVELS:
        level = metrics[name]
        scores[f"{name}_score"] = None if level is None else reference.score(level)
    for name in _DIFFERENCES:
        value = metrics[name]
        scores[f"{name}_score"] = None if value is None else percent * value
    return scores


def _threshold(offline: float, curve: np.ndarray, random_return: float | None) -> float:
    """95% of the best known score, on the return scale.

    The distance is an absolute value, because otherwise the threshold of a run that never beats
    random would lie above its best return.
    """
    best = max(offline, *curve) if curve.size else offline
    origin = 0.0 if random_return is None else random_return
    return best - (1.0 - THRESHOLD_SHARE) * abs(best - origin)


def _recovery_epochs(offline: float, curve: np.ndarray) -> int | None:
    fall = _first(curve < offline)
    return 0 if fall is None else _first(curve[fall:] >= offline)


def _dip(offline: float, curve: np.ndarray) -> float:
    return max(0.0, offline - float(curve.min())) if curve.size else 0.0


def acting_levels(episodes: Sequence[Returns]) -> dict[str, float | int]:
    """Returns of the acting policy online; a run without evaluations has no others.

    Args:
        episodes: for each online epoch the returns of the episodes that ended in it.

    Returns:
        `episodes`, their number. If there are any, also `first`, `lowest` and `last`: the first,
        the lowest and the last of the means of the epochs that have episodes.
    """
    means = [float(np.mean(epoch)) for epoch in episodes if len(epoch)]
    levels = {"first": means[0], "lowest": min(means), "last": means[-1]} if means else {}
    return {"episodes": sum(map(len, episodes)), **levels}


def dip_share_by_luck(
    baseline: Returns, episodes: Sequence[int], random_return: float | None
) -> float | None:
    """The dip share that chance alone would give an acting policy that never changes.

    The lowest of ten epochs lies below the mean by chance, and the further, the fewer episodes an
    epoch has. To measure this, the episodes of every epoch, and of the baseline itself, are drawn
    anew from the baseline's episodes many times; the result is the median.

    Args:
        baseline: returns of episodes that the policy acted before the first online step.
        episodes: number of episodes of each online epoch; only the first 10 epochs count.
        random_return: return of a random policy.

    Returns:
        The share. It is None with fewer than two baseline episodes, without an online one, or if
        the random return is unknown or equal to the baseline's mean.
    """
    returns = _finite(baseline, "baseline")
    counts = [count for count in episodes[:DIP_EPOCHS] if count > 0]
    if returns.size < 2 or not counts or _share(0.0, returns.mean(), random_return) is None:
        return None
    rng = np.random.default_rng(0)

    def means(size: int) -> np.ndarray:
        return rng.choice(returns, (LUCK_DRAWS, size)).mean(axis=1)

    lowest = np.min([means(count) for count in counts], axis=0)
    dips = np.maximum(means(returns.size) - lowest, 0.0)
    return _share(float(np.median(dips)), float(returns.mean()), random_return)


def swing_share(offline: Returns, random_return: float | None) -> float | None:
    """The dip share of the last ten offline epochs, measured like that of the first online ones.

    A dip that does not exceed this share is no sign of a change at the hand-over, because the
    policy's returns swung as much before.

    Args:
        offline: evaluation returns of the offline epochs, the last one that of the hand-over.
        random_return: return of a random policy.

    Returns:
        How far the lowest of the last ten returns lies below the last one, as a share of the gap
        between the last one and a random policy; None if there are fewer than two returns, or if
        that gap is 0 or unknown.
    """
    last = _finite(offline, "offline")[-DIP_EPOCHS:]
    return _share(_dip(last[-1], last), last[-1], random_return) if last.size > 1 else None


def _share(dip: float, offline: float, random_return: float | None) -> float | None:
    if random_return is None or random_return == offline:
        return None
    return dip / abs(offline - random_return)


def _first(condition: np.ndarray) -> int | None:
    """Index of the first true entry, or None."""
    return int(condition.argmax()) if condition.any() else None


def _finite(values: Returns, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite returns, got {array.tolist()}")
    return array
