"""The metrics, the summary and the folder of a run that nobody has made."""

import json
import math
from pathlib import Path

from moore.evaluation.scores import ReferenceScores
from moore.evaluation.transfer import transfer_metrics

REFERENCE = {"random": -20.272305, "expert": 3234.3, "source": "D4RL infos.py"}
ONLINE = [812.5, 640.0, 700.0, 900.0, 1530.25]
CONFIG = """algorithm = "moore"
dataset = "hopper.hdf5"
env_id = "Hopper-v5"
penalty_coef = 2.5
seed = 7
"""


def made_row(stage: str, epoch: int, mean: float) -> dict:
    returns = [mean - 30.0, mean, mean + 30.0]
    row = {"stage": stage, "epoch": epoch, "env_steps": 1000 * epoch, "updates": 5000 * epoch}
    row |= {"eval/return": mean, "eval/returns": returns, "eval/score": mean / 32.5}
    if stage == "online":
        row |= {"online/episode_returns": [mean - 50.0, mean + 10.0]}
    if (stage, epoch) != ("online", 0):
        row |= {"model/uncertainty_mean": 0.4, "model/uncertainty_p20": 0.2}
        row |= {"model/uncertainty_p80": 0.7, "model/holdout_mse": 0.05, "model/fit_steps": 400}
        row |= {"model/fit_stopped_by": "cap,converged", "losses/critic_loss": 1.0 / epoch}
        row |= {"losses/q_target": 230.0, "losses/entropy": -3.0, "time/epoch": 80.0}
        row |= {"replay/online_share": 0.01 * epoch, "replay/online_share_expected": 0.01 * epoch}
        row |= {"replay/shift": 0.02}
    return row


ROWS = [made_row("offline", epoch, 300.0 * math.sqrt(epoch)) for epoch in (1, 2, 3)]
ROWS += [made_row("online", epoch, mean) for epoch, mean in enumerate(ONLINE)]


def made_summary() -> dict:
    transfer = transfer_metrics(
        ONLINE[0],
        ONLINE[1:],
        reference=ReferenceScores(**REFERENCE),
        behaviour_offline=ONLINE[0] - 20.0,
        behaviour_returns=[[mean - 50.0, mean + 10.0] for mean in ONLINE[1:]],
    )
    return {
        "env_id": "Hopper-v5",
        "algorithm": "moore",
        "scheme": "moore(1)",
        "seed": 7,
        "dataset": {"name": "hopper.hdf5", "sha256": "ab12" * 16, "rows": 200000, "episodes": 900},
        "reference": REFERENCE,
        "random_return": REFERENCE["random"],
        "evaluation_episodes": 3,
        "transfer": transfer,
        "hand_over": {"log_return": 400.0},
        "online": {"return": ONLINE[-1]},
        "time": {"total": 3725.0, "update": 1800.5},
        "updates_per_second": 101.0,
        "versions": {"moore": "0.1.0", "gymnasium": "1.2.1", "mujoco": "3.3.6"},
        "hardware": {"processor": "a <fast> one", "devices": ["TFRT_CPU_0"]},
    }


def written_run(folder: Path, rows: list[dict], summary: dict | None, *, end: str = "\n") -> Path:
    folder.mkdir(exist_ok=True)
    text = "\n".join(json.dumps(row) for row in rows) + end
    (folder / "metrics.jsonl").write_text(text)
    (folder / "config.toml").write_text(CONFIG)
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder
