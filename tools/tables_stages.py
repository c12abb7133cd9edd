"""Single studies of docs/results-*.md: quickstart, two MuJoCo logs, SAC, termination rules."""

from collections import defaultdict

import numpy as np

from handover_runs import number, reference_for, rows_of, table
from moore.evaluation.transfer import transfer_metrics
from text import fixed, listed, markdown

# Returns of a uniformly random policy on the quickstart's Pendulum, measured.
RANDOM_PENDULUM = -1325.0
# Printed by the runs: the acting dip share of a policy that does not change. No CSV has it.
LUCK = {"20": 0.02, "21": 0.03, "22": 0.03, "23": 0.03, "24": 0.02}


def _curves(name: str, seed: str) -> dict[str, np.ndarray]:
    """Evaluated and acting returns of a run, the hand-over first, and episodes acted."""
    rows = rows_of(name, seed=seed, stage="online")
    found = {"evaluated": [], "acting": [], "acting_episodes": []}
    for row in rows:
        for key, values in found.items():
            values.append(number(row[key]))
    return {key: np.asarray(values) for key, values in found.items()}


def _transfer(curves: dict[str, np.ndarray], random_return: float) -> dict:
    evaluated, acting = curves["evaluated"], curves["acting"]
    return transfer_metrics(
        evaluated[0], evaluated[1:], random_return=random_return,
        behaviour_offline=acting[0], behaviour_returns=[[v] for v in acting[1:] if v == v],
    )  # fmt: skip


def _percent(value: float) -> str:
    """A share; 0 if there is none at all."""
    text = fixed(100 * value, 1) if 100 * value < 10 else fixed(100 * value)
    return "0" if value == 0 else f"{text}%"


def _quickstart(name: str, *, ours: bool) -> str:
    head = ("seed", *(("offline epochs",) if ours else ()), "J0", "after epoch 1", "2", "6")
    head += ("dip share", "acting: baseline", "epoch 1", "2", "6", "acting dip share")
    rows = []
    for seed in dict.fromkeys(row["seed"] for row in table(name)):
        curves = _curves(name, seed)
        metrics = _transfer(curves, RANDOM_PENDULUM)
        offline = rows_of(name, seed=seed, stage="offline")
        evaluated, acting = (
            [fixed(curves[key][epoch]) for epoch in (0, 1, 2, 6)] for key in ("evaluated", "acting")
        )
        rows.append([
            seed, *([str(len(offline))] if ours else []), *evaluated,
            _percent(metrics["dip_share"]), *acting, _percent(metrics["behaviour_dip_share"]),
            *([fixed(LUCK[seed], 2)] if ours else []),
        ])  # fmt: skip
    return markdown((*head, "by chance alone") if ours else head, rows)


def quickstart_robust() -> str:
    return _quickstart("quickstart-robust.csv", ours=True)


def quickstart_moore() -> str:
    return _quickstart("quickstart.csv", ours=False)


def quickstart_safe() -> str:
    """Evaluated returns of `moore_safe`, and how its trials went, one row a seed."""
    head = ("seed", "hand-over", "after epoch 1", "2", "3", "4", "5", "6", "lowest", "trials")
    rows = []
    for told in table("quickstart-safe-budget.csv"):
        evaluated = _curves("quickstart-safe.csv", told["seed"])["evaluated"]
        rows.append([
            told["seed"], *(fixed(value) for value in evaluated), fixed(min(evaluated)),
            told["trials"], told["promoted"], fixed(float(told["least_margin"])),
        ])  # fmt: skip
    return markdown((*head, "won", "least left of the budget"), rows)


_LEARNERS = {
    "ppo": "PPO", "td3-first": "TD3, first rules", "td3": "TD3",
    "td3-rehearsal-10": "TD3, long rehearsals", "td3-rehearsal": "TD3, rehearsals",
    "td3-log-10": "TD3, the log first, long rehearsals", "td3-log": "TD3, the log first",
    "td3-steps-1": "TD3, the budget by steps, one episode decides",
    "td3-steps": "TD3, the budget by steps",
    "td3-8": "TD3, eight updates a step",
    "td3-8-failing": "**TD3, eight updates, failures count**",
    "td3-8-explore": "**TD3, eight updates, failures count, explores**",
}  # fmt: skip


def _points(log: str, text: str) -> str:
    """A return, and D4RL's score in brackets; empty where a run has none."""
    if not text:
        return ""
    value = float(text)
    return f"{fixed(value)} ({fixed(reference_for(log).score(value))})"


def safe_runs() -> str:
    """Whole runs of `moore_safe` on MuJoCo logs; D4RL's scores in brackets."""
    rows = []
    for row in table("safe-runs.csv"):
        reference = reference_for(row["task"])
        start, final, lowest = (float(row[name]) for name in ("hand_over", "final", "lowest"))
        gap = (reference.expert - reference.random) / 100.0
        rows.append([
            row["task"], row["seed"], _LEARNERS[row["online"]], row["online_epochs"],
            *(_points(row["task"], row[name]) for name in ("hand_over", "final", "lowest")),
            fixed((final - start) / gap, 1), f"{(start - lowest) / (start - reference.random):.2f}",
            fixed((start - lowest) / gap, 1), fixed(float(row["worst_episode"])),
        ])  # fmt: skip
    head = ("log", "seed", "learns online by", "online epochs", "hand-over", "mean of the last 5")
    head += ("lowest", "gain, points", "dip", "dip, points", "worst episode acted")
    return markdown(head, rows)


def safe_runs_trials() -> str:
    """The same runs: what was cloned, and how the trials went."""
    rows = [
        [
            row["task"], row["seed"], _LEARNERS[row["online"]], row["online_epochs"],
            _points(row["task"], row["clone"]),
            fixed(float(row["models_of_clone"])) if row["models_of_clone"] else "",
            row["offline_epochs"], *(row[name] for name in ("trials", "promoted", "demoted")),
            fixed(float(row["least_margin"])),
        ]
        for row in table("safe-runs.csv")
    ]  # fmt: skip
    head = ("log", "seed", "learns online by", "online epochs", "clone", "models say of it")
    head += ("offline epochs", "trials", "won", "taken back", "least left of the budget")
    return markdown(head, rows)


def _mujoco(name: str, log: str) -> str:
    """Of the first runs on MuJoCo logs, seed 0: hand-over, lowest of ten epochs, final."""
    reference, curves = reference_for(log), _curves(name, "0")
    rows = []
    for key in ("evaluated", "acting"):
        start, *returns = curves[key][np.isfinite(curves[key])]
        metrics = transfer_metrics(start, returns, random_return=reference.random)
        level, final = fixed(start), fixed(metrics["final"])
        if key == "evaluated":
            level += f" (score {fixed(reference.score(start), 1)})"
            final += f" (score {fixed(reference.score(metrics['final']), 1)})"
        dip = f"dip {fixed(metrics['dip'])}, share {fixed(100 * metrics['dip_share'])}%"
        fell = dip if metrics["dip"] > 0 else "no dip"
        rows.append([key, level, f"{fixed(min(returns[:10]))}: {fell}", final])
    return markdown(("", "at the hand-over", "lowest of epochs 1 to 10", "final (last 5)"), rows)


def hopper_log() -> str:
    return _mujoco("hopper-medium-replay.csv", "hopper-medium-replay")


def halfcheetah_log() -> str:
    return _mujoco("halfcheetah-medium-replay.csv", "halfcheetah-medium-replay")


def _sac_ends() -> np.ndarray:
    rows = rows_of("sac-halfcheetah.csv", env_steps="50000")
    return np.asarray([float(row["evaluated"]) for row in rows])


def sac() -> str:
    ends = _sac_ends()
    spread = f"{listed(ends)}: mean {fixed(ends.mean())}, sd {fixed(ends.std(ddof=1))}"
    rows = [
        ["seeds 0, 1, 2, 3", spread],
        ["Tianshou, HalfCheetah-v3, 10 seeds", "mean 4747, sd 345"],
        ["Stable-Baselines3 (rl-trained-agents), 1 seed", "3044"],
    ]
    return markdown(("at 50,000 steps", "return"), rows)


TERMINATION = (
    ("hopper", "discount 0.99, hidden 128",
     "Hopper, discount 0.99, models of 128, H and lambda of MOPO"),
    ("walker2d", "discount 0.99, hidden 128", "Walker2d, the same"),
    ("walker2d", "quickstart", "Walker2d, quickstart as it is (discount 0.95)"),
)  # fmt: skip


def termination() -> str:
    rows = []
    for task, settings, title in TERMINATION:
        curves = {rule: defaultdict(list) for rule in ("auto", "learned")}
        judged = {}
        for row in rows_of("termination.csv", task=task, settings=settings):
            curves[row["rule"]][row["seed"]].append(float(row["return"]))
            if row["precision"]:
                judged[row["seed"]] = float(row["precision"]), float(row["recall"])
        means, lasts = [
            [listed(np.mean(seeds[s][-count:]) for s in sorted(seeds)) for seeds in curves.values()]
            for count in (15, 5)
        ]
        rows += [[title, "mean of 15 evaluations", *means], ["", "mean of the last 5", *lasts]]
        if settings != "quickstart" and judged:
            pairs = (listed(judged[s], lambda v: fixed(v, 2)) for s in sorted(judged))
            name = "precision, recall on held-out episodes"
            rows.append(["", name, "", "; ".join(pairs)])
    return markdown(("log, settings", "", "known rule", "learned rule"), rows)


def numbers() -> dict[str, str]:
    return {}


TABLES = {
    "quickstart-safe": quickstart_safe,
    "safe-runs": safe_runs,
    "safe-runs-trials": safe_runs_trials,
    "quickstart-robust": quickstart_robust,
    "quickstart-moore": quickstart_moore,
    "hopper-log": hopper_log,
    "halfcheetah-log": halfcheetah_log,
    "sac": sac,
    "termination": termination,
}
