"""What is in a log, and what may go wrong with it: the content of `moore inspect`."""

from collections.abc import Callable

import numpy as np

from moore.data.dataset import Dataset

# A tanh-squashed float32 action rounds to exactly 1 within this distance of the border.
_BORDER = 1.0 - 1e-6


def summarize(dataset: Dataset) -> dict:
    """Numbers that describe a validated data set, JSON-able.

    Lengths are in steps, returns undiscounted, `score` in per cent (None without references),
    `*_min` and `*_max` lists over dimensions, `share_*` between 0 and 1.
    """
    return {
        "name": dataset.name,
        "env_id": dataset.env_id,
        "sha256": dataset.sha256,
        "rows": dataset.size,
        "obs_dim": dataset.obs_dim,
        "action_dim": dataset.action_dim,
        **_episodes(dataset),
        **_ranges(dataset),
        "terminals": int(dataset.terminated.sum()),
        "timeouts": int(dataset.truncated.sum()),
        "unknown_successors": int((~dataset.successor_known).sum()),
        "duplicate_rows": _duplicates(dataset),
        **_successors(dataset),
        "share_actions_at_border": float(np.mean(np.abs(dataset.action) >= _BORDER)),
    }


def warnings(summary: dict) -> list[str]:
    """What to look at before training, each with a remedy; empty if all is well."""
    return [text.format(**summary) for failed, text in _CHECKS if failed(summary)]


def format_summary(summary: dict) -> str:
    """The summary as one screen of plain text, without a newline at the end or the warnings."""
    s = summary
    score = "no reference returns" if s["score"] is None else f"{s['score']:.1f}"
    sizes = (
        f"{s['rows']:,} rows, {s['obs_dim']} observation and {s['action_dim']} action dimensions"
    )
    lines = [
        ("data set", s["name"]),
        ("environment", s["env_id"] or "not named"),
        ("sha256", s["sha256"]),
        ("size", sizes),
        ("episodes", f"{s['episodes']:,} complete"),
        ("ended by", f"{s['terminals']:,} terminals, {s['timeouts']:,} time-outs or cuts"),
        ("length", _spread_text(s["episode_length"])),
        ("return", _spread_text(s["episode_return"])),
        ("score", score),
        ("reward", f"{s['reward_min']:.4g} to {s['reward_max']:.4g} a step"),
        ("observations", _range_text(s["obs_min"], s["obs_max"])),
        ("  constant", str(s["constant_obs_dims"] or "none")),
        ("actions", _range_text(s["action_min"], s["action_max"])),
        ("  constant", str(s["constant_action_dims"] or "none")),
        ("  at the border", f"{s['share_actions_at_border']:.2%} of the entries"),
        ("successors", f"{s['unknown_successors']:,} unknown, {s['broken_successors']:,} broken,"
         f" {s['reset_successors']:,} after a reset"),
        ("duplicates", f"{s['duplicate_rows']:,} rows"),
    ]  # fmt: skip
    return "\n".join(f"{label:<16}{text}" for label, text in lines)


_CHECKS: tuple[tuple[Callable[[dict], object], str], ...] = (
    (
        lambda s: s["unknown_successors"],
        "{unknown_successors} terminal rows have no successor in the file: the models are fitted "
        "without them; prefer a file with next_observations (D4RL v2).",
    ),
    (
        lambda s: s["broken_successors"],
        "{broken_successors} rows inside an episode have a next_obs that is not the next row's "
        "obs: harmless if rows were shuffled or files joined without flags, else next_obs is "
        "wrong; write the true successors or add time-out flags.",
    ),
    (
        lambda s: s["reset_successors"],
        "{reset_successors} rows that end an episode have the first obs of the next one as "
        "next_obs: unless the system went on without a reset, store the observation before it "
        "(final_obs in Gymnasium's vector environments), or leave next_obs out.",
    ),
    (
        lambda s: s["duplicate_rows"],
        "{duplicate_rows} rows are exact copies of others: they weigh twice in every fit; check "
        "that no file was joined with itself, and drop the copies.",
    ),
    (
        lambda s: s["constant_obs_dims"],
        "Observation dimensions {constant_obs_dims} never change: the models cannot learn what "
        "they do; remove them from the log and the environment if they may change.",
    ),
    (
        lambda s: s["constant_action_dims"],
        "Action dimensions {constant_action_dims} never change: their effect cannot be learned "
        "offline; log some variation, or remove them from the action.",
    ),
    (
        lambda s: max(map(abs, s["action_min"] + s["action_max"])) > 1 + 1e-4,
        "Actions leave [-1, 1]: check that the environment's bounds are as wide, else rescale.",
    ),
    (
        lambda s: s["share_actions_at_border"] > 0.05,
        "{share_actions_at_border:.0%} of the action entries lie at the border of [-1, 1] or "
        "beyond, where a tanh policy has no finite log-probability: methods that score logged "
        "actions (AWAC, CQL, IQL) need them clipped a little inside.",
    ),
    (
        lambda s: s["reward_min"] == s["reward_max"],
        "The reward never changes, so there is nothing to learn; log the true reward.",
    ),
    (
        lambda s: s["env_id"] is None,
        "The log names no environment; give it with --env-id.",
    ),
    (
        lambda s: s["reference"] is None,
        "No reference returns, so no normalised score; set the file's ref_min_score and "
        "ref_max_score (in an .npz: reference in metadata).",
    ),
)


def _episodes(dataset: Dataset) -> dict:
    reference = dataset.reference
    mean = float(dataset.episode_returns.mean())
    return {
        "episodes": len(dataset.episode_returns),
        "episode_length": _spread(dataset.episode_lengths),
        "episode_return": _spread(dataset.episode_returns),
        "score": None if reference is None else reference.score(mean),
        "reference": None if reference is None else dict(vars(reference)),
    }


def _spread(values: np.ndarray) -> dict[str, float]:
    names = ("min", "q25", "median", "q75", "max")
    quantiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    spread = {"mean": float(values.mean()), "sd": float(values.std())}
    return spread | {name: float(q) for name, q in zip(names, quantiles, strict=True)}


def _ranges(dataset: Dataset) -> dict:
    ranges = {
        "reward_min": float(dataset.reward.min()),
        "reward_max": float(dataset.reward.max()),
    }
    for key in ("obs", "action"):
        low, high = getattr(dataset, key).min(axis=0), getattr(dataset, key).max(axis=0)
        ranges[f"{key}_min"], ranges[f"{key}_max"] = low.tolist(), high.tolist()
        ranges[f"constant_{key}_dims"] = np.flatnonzero(low == high).tolist()
    return ranges


def _duplicates(dataset: Dataset) -> int:
    columns = [dataset.obs, dataset.action, dataset.reward[:, None], dataset.next_obs]
    rows = np.concatenate(columns, axis=1) + np.float32(0)  # -0 + 0 = 0: equal rows, equal bytes
    keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))
    return dataset.size - len(np.unique(keys))


def _successors(dataset: Dataset) -> dict[str, int]:
    is_next = (dataset.next_obs[:-1] == dataset.obs[1:]).all(axis=1)
    ends = (dataset.terminated | dataset.truncated)[:-1]
    reset = is_next & ends & dataset.successor_known[:-1]
    return {
        "broken_successors": int((~ends & ~is_next).sum()),
        "reset_successors": int(reset.sum()),
    }


def _spread_text(s: dict[str, float]) -> str:
    return (
        f"mean {s['mean']:.1f}, sd {s['sd']:.1f}; min {s['min']:.1f}, quartiles {s['q25']:.1f} "
        f"{s['median']:.1f} {s['q75']:.1f}, max {s['max']:.1f}"
    )


def _range_text(low: list[float], high: list[float]) -> str:
    shown = [f"[{a:.3g}, {b:.3g}]" for a, b in zip(low, high, strict=True)][:6]
    more = f" and {len(low) - 6} more" if len(low) > 6 else ""
    return f"{' '.join(shown)}{more}"
