"""Makes summary.json: the final numbers of a run and everything needed to read them."""

import importlib.metadata
import os
import platform

import jax
import numpy as np

from moore.data.dataset import Dataset
from moore.evaluation.transfer import (
    acting_levels,
    dip_share_by_luck,
    swing_share,
    transfer_metrics,
)
from moore.evaluation.yardstick import Yardstick, yardstick
from moore.numbers import finite, is_finite
from moore.processor import processor_facts
from moore.runs.hand_over import hand_over
from moore.runs.setup import Setup
from moore.version import __version__

_PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpy", "gymnasium", "mujoco")


def summarise(
    setup: Setup,
    rows: list[dict],
    *,
    seconds: dict[str, float],
    random_return: float | None,
    inherited: int = 0,
) -> dict:
    """The summary of the epochs logged so far.

    Args:
        setup: parts of the run.
        rows: rows of metrics.jsonl.
        seconds: wall-clock time by part, including "total".
        random_return: mean return of uniformly random actions, measured or a reference, if known.
        inherited: number of updates made by the run that this one starts from.
    """
    config, log = setup.config, setup.dataset
    measure = _yardstick(setup, random_return)
    summary = {
        "env_id": config.env_id,
        "algorithm": config.algorithm,
        "scheme": str(setup.learner.task.scheme),
        "seed": config.seed,
        "discount": setup.learner.agent_config.discount,
        "dataset": None if log is None else _about_log(log),
        "reference": None if setup.reference is None else vars(setup.reference),
        "random_return": random_return,
        "yardstick": None if measure is None else vars(measure),
        "evaluation_episodes": config.evaluation.episodes,
    }
    if setup.termination_report is not None:
        summary["termination"] = setup.termination_report
    offline = [row for row in rows if row["stage"] == "offline"]
    online = [row for row in rows if row["stage"] == "online"]
    if offline:
        # There are fewer epochs than the configuration allows: the values settled before.
        summary["offline"] = _level(setup, offline[-1]) | {"epochs": offline[-1]["epoch"]}
        evaluations = finite(row.get("eval/return") for row in offline)
        summary["offline"]["swing_share"] = swing_share(evaluations, random_return)
        summary["hand_over"] = vars(hand_over(rows, log))
        if cloned := _clone(offline[0]):
            summary["clone"] = cloned
    if online:
        summary |= _online(setup, online, random_return, measure)
    updates = rows[-1]["updates"] if rows else 0
    busy = seconds.get("update", 0.0)
    return summary | {
        "env_steps": rows[-1]["env_steps"] if rows else 0,
        "updates": updates,
        "skipped_updates": skipped_updates(rows),
        "updates_per_second": (updates - inherited) / busy if busy else None,
        "time": {name: round(value, 3) for name, value in sorted(seconds.items())},
        "versions": versions(),
        "hardware": hardware(),
    }


def _online(
    setup: Setup, online: list[dict], random_return: float | None, measure: Yardstick | None
) -> dict:
    """What the online stage has come to so far."""
    found: dict[str, dict | list] = {}
    if budget := _budget(online[-1]):
        found["budget"] = budget
    if "eval/return" in online[0]:
        found["online"] = _level(setup, online[-1])
        if unknown := [r["epoch"] for r in online if not is_finite(r.get("eval/return"))]:
            found["not_finite"] = unknown  # epochs whose evaluation is not finite
        else:
            found["transfer"] = _transfer(setup, online, random_return, measure)
    return found | {"acting": acting_levels(list(map(_acted, online[1:])))}


def _clone(first: dict) -> dict:
    """Facts about the clone, from the first row of the offline stage; empty without a clone.

    `return` is that of its evaluation, or if there is none that of the cloned episodes.
    """
    found = {k.removeprefix("clone/"): v for k, v in first.items() if k.startswith("clone/")}
    if not found:
        return {}
    counts = {name: int(found[name]) for name in ("episodes", "rows", "updates")}
    measured = {"return": found.get("return", found["part_return"]), "acts": bool(found["acts"])}
    return found | counts | measured


def _budget(last: dict) -> dict:
    """The dip budget at the end, from the last online row; empty without one."""
    if "budget/share" not in last:
        return {}
    names = ("share", "credit", "spent", "least_margin")
    counts = ("trials", "promoted", "demoted")
    found = {name: last[f"budget/{name}"] for name in names}
    explored = int(last.get("budget/explored", 0))  # not in runs of earlier versions
    return found | {name: int(last[f"budget/{name}"]) for name in counts} | {"explored": explored}


def skipped_updates(rows: list[dict]) -> int:
    """Number of updates that gave non-finite numbers and were undone."""
    return int(sum(finite(row.get("losses/skipped_updates") for row in rows)))


def _about_log(log: Dataset) -> dict:
    return {
        "name": log.name,
        "sha256": log.sha256,
        "rows": log.total,
        "episodes": len(log.episode_returns),
        "mean_return": _log_return(log),
        "env_id": log.env_id,
    }


def _log_return(log: Dataset | None) -> float | None:
    """What the controller before earned: the mean return of the log's complete episodes."""
    if log is None or not len(log.episode_returns):
        return None
    return float(np.mean(log.episode_returns))


def _yardstick(setup: Setup, random_return: float | None) -> Yardstick | None:
    log = setup.dataset
    returns = np.zeros(0) if log is None else log.episode_returns
    return yardstick(setup.reference, returns, random_return)


def _level(setup: Setup, row: dict) -> dict:
    if "eval/return" not in row:
        return {}
    reference, level = setup.reference, {"return": row["eval/return"]}
    level["returns"] = row.get("eval/returns")
    if reference is None or not is_finite(row["eval/return"]):
        return level
    return level | {"score": reference.score(row["eval/return"])}


def _acted(row: dict) -> list[float]:
    """Finite returns of the acting policy's episodes."""
    return finite(row.get("online/episode_returns"))


def _transfer(
    setup: Setup, online: list[dict], random_return: float | None, measure: Yardstick | None
) -> dict:
    start, epochs = online[0], online[1:]
    acting, before = list(map(_acted, epochs)), _acted(start)
    metrics = transfer_metrics(
        start["eval/return"],
        [row["eval/return"] for row in epochs],
        random_return=random_return,
        reference=setup.reference,
        threshold=setup.config.evaluation.threshold,
        behaviour_offline=float(np.mean(before)) if before else None,
        behaviour_returns=acting,
        log_return=_log_return(setup.dataset),
        yardstick=None if measure is None else measure.gap,
    )
    metrics["behaviour_dip_share_by_luck"] = dip_share_by_luck(
        before, [len(returns) for returns in acting], random_return
    )
    return metrics


def versions() -> dict[str, str]:
    """Versions of moore, Python, and the packages that the numbers depend on."""
    packages = {name: installed(name) or "unknown" for name in _PACKAGES}
    return {"moore": __version__, "python": platform.python_version(), **packages}


def installed(package: str) -> str | None:
    """The version of a package; None if it is not installed, or without its metadata."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def hardware() -> dict:
    """Processor, cores, memory (None where the system does not tell), and JAX's devices."""
    memory = _memory()
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": None if memory is None else round(memory / 2**30, 1),
        "devices": [str(device) for device in jax.devices()],
    }


def _memory() -> int | None:
    """Memory in bytes, which POSIX systems tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _processor() -> str:
    names = processor_facts("model name")
    if names:
        return names[0].split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
