"""Scores of a predicted end of an episode: threshold, precision, recall, calibration."""

import numpy as np

# Bins of equal width for the expected calibration error (Guo et al. 2017).
BINS = 15


def best_threshold(
    probability: np.ndarray, terminated: np.ndarray, weight: np.ndarray
) -> tuple[float, float]:
    """The threshold with the highest F1, midway between two rows, and that F1.

    Args:
        probability: (rows,) p(end).
        terminated: (rows,) 0 or 1, at least one of them 1.
        weight: (rows,) number of rows that each row represents.
    """
    order = np.argsort(-probability, kind="stable")
    p, y, w = (np.asarray(x, np.float64)[order] for x in (probability, terminated, weight))
    f1 = 2.0 * np.cumsum(w * y) / (np.cumsum(w) + w @ y)
    below = np.append(p[1:], 0.0)
    best = int(np.argmax(np.where(p > below, f1, -1.0)))
    return float(0.5 * (p[best] + below[best])), float(f1[best])


def score(probability: np.ndarray, terminated: np.ndarray, threshold: float) -> dict:
    """Scores of the rule `p > threshold` and of the probabilities, on rows with known ends.

    Returns:
        precision (None if no row is predicted to end), recall (None if no row ends), f1, hits
        (terminals found), false_alarms, nll in nats a row, brier, and calibration_error, the mean
        over the rows of |mean p - share of terminals| in their bin.
    """
    p = np.clip(np.asarray(probability, np.float64), 1e-7, 1.0 - 1e-7)
    y = np.asarray(terminated, bool)
    ends = np.asarray(probability) > threshold
    hits, predicted, actual = int((ends & y).sum()), int(ends.sum()), int(y.sum())
    return {
        "precision": hits / predicted if predicted else None,
        "recall": hits / actual if actual else None,
        "f1": 2.0 * hits / (predicted + actual) if predicted + actual else None,
        "hits": hits,
        "false_alarms": predicted - hits,
        "nll": float(-np.mean(np.where(y, np.log(p), np.log1p(-p)))),
        "brier": float(np.mean((p - y) ** 2)),
        "calibration_error": _calibration_error(p, y),
    }


def _calibration_error(p: np.ndarray, y: np.ndarray) -> float:
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, weights=p - y, minlength=BINS)
    return float(np.abs(gap).sum() / len(p))
