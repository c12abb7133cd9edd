"""What is known about an exported policy besides its network: its run, its scores, its log."""

import json
from dataclasses import dataclass
from pathlib import Path

from moore.numbers import is_finite
from moore.runs.folder import read_metrics, read_summary
from moore.runs.policy_file import hash_of, read_files


@dataclass(frozen=True)
class PolicyFacts:
    """What is known about a policy besides its network; it can be written as JSON.

    Attributes:
        policy_id: SHA-256 over the weights and all else that the actions depend on.
        saved_by: version of moore that saved the policy.
        scores: returns with how they were measured; empty where none were.
        log: name, hash, rows and episodes of the log; empty where none is known.
    """

    policy_id: str
    saved_by: str
    scores: dict
    log: dict


def read_policy_facts(run: Path) -> PolicyFacts:
    """The facts in a run folder, as far as it has them; a `policy` folder alone has few.

    Raises:
        InputError: no policy is there, or a file is damaged.
    """
    _, about, weights = read_files(run)
    summary = read_summary(run) if (run / "summary.json").exists() else {}
    metrics = run / "metrics.jsonl"
    rows = read_metrics(metrics) if metrics.exists() else []
    return PolicyFacts(
        policy_id=hash_of(about, weights),
        saved_by=str(about.get("moore", "a version before formats had numbers")),
        scores=_scores(rows, summary),
        log=_log(run, summary),
    )


def _scores(rows: list[dict], summary: dict) -> dict:
    """The last evaluation of the acting policy, and what it earned online."""
    scores: dict = {}
    measured = [row for row in rows if is_finite(row.get("eval/return"))]
    if measured:
        last = measured[-1]
        scores["evaluation"] = {
            "return": last["eval/return"],
            "score": last.get("eval/score"),
            "returns": last.get("eval/returns"),
            "stage": last["stage"],
            "epoch": last["epoch"],
            "how": "deterministic policy in the environment of evaluation, one return an episode",
            "is_of_this_policy": bool(summary),
        }
    transfer = summary.get("transfer") or {}
    names = ("offline", "final", "gain", "dip", "dip_share")
    if found := {name: transfer[name] for name in names if name in transfer}:
        scores["transfer"] = found
    if summary.get("acting"):
        scores["acting"] = summary["acting"]
    if summary.get("reference"):
        scores["reference"] = summary["reference"]
    return scores


def _log(run: Path, summary: dict) -> dict:
    """What the run recorded about its log; an unfinished run has the hash in its checkpoints."""
    if summary.get("dataset"):
        return summary["dataset"]
    for manifest in sorted((run / "checkpoints").glob("*/manifest.json"), reverse=True):
        try:
            info = json.loads(manifest.read_text(encoding="utf-8"))["info"]
            if sha256 := info["dataset_sha256"]:
                return {"sha256": str(sha256)}
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            continue  # a damaged checkpoint: an earlier one knows it too
    return {}
