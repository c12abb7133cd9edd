"""`moore run --dry-run`: what a run would do, after all checks and before anything is written."""

import numpy as np

from moore.config import Config, flat
from moore.data.dataset import Dataset
from moore.files import short_path
from moore.numbers import counted, fixed
from moore.planning.estimate import RunEstimate
from moore.planning.text import estimate_line
from moore.runs.beginning import ReadyRun
from moore.runs.sections import run_dict, run_toml
from moore.runs.world import World

_NOT_SET = "not set"


def dry_facts(
    ready: ReadyRun, base: Config, *, origin: str, stages: str, takes: RunEstimate
) -> dict:
    """What the run would do, for JSON.

    Args:
        ready: the run, which has not begun.
        base: the settings that the flags changed.
        origin: what these settings are, in words such as "the preset quickstart".
        stages: stages of the run: both, offline or online.
        takes: time and memory that are expected.

    Returns:
        `algorithm`, `scheme`, `stages`, `log` (None without one), `environment`, `folder`,
        `starts_from`, `changed` (by setting, the values of `origin` and of the run), `origin`,
        `config` (all settings), `estimate` (seconds and bytes, as of `moore run --estimate --json`)
        and `notes`.
    """
    config, setup = ready.setup.config, ready.setup
    log = setup.dataset if setup.learner.algorithm.uses_log else None
    return {
        "algorithm": config.algorithm,
        "scheme": str(setup.learner.task.scheme),
        "stages": [name for name in ("offline", "online") if stages in ("both", name)],
        "log": None if log is None else _log_facts(log),
        "environment": _environment_facts(setup.world),
        "folder": str(ready.folder),
        "starts_from": None if ready.start is None else str(ready.start),
        "origin": origin,
        "changed": changed_settings(base, config),
        "config": run_dict(config),
        "estimate": takes.as_json(),
        "notes": list(setup.notes),
    }


def dry_text(ready: ReadyRun, facts: dict, takes: RunEstimate) -> str:
    """The settings as a TOML file that `moore run` takes, then the facts as its comments."""
    config, log, world = ready.setup.config, facts["log"], facts["environment"]
    lengths = {
        "offline": f"offline (epochs: {config.offline.epochs:,} at most)",
        "online": f"online (epochs: {config.online.epochs:,}, of {config.online.steps_per_epoch:,} "
        "steps)",
    }
    lines = {
        "algorithm": f"{facts['algorithm']}, sampling scheme {facts['scheme']}",
        "log": "none" if log is None else _told_log(log),
        "environment": _told_world(world),
        "stages": ", then ".join(lengths[name] for name in facts["stages"]),
        "starts from": ready.start and short_path(ready.start),
        "would write": short_path(ready.folder),
        "would take": estimate_line(takes),
    }
    told = [f"{name:<12} {value}" for name, value in lines.items() if value is not None]
    told += [f"note: {note}" for note in facts["notes"]]
    told.append(_told_changes(facts["changed"], facts["origin"]))
    told.append("dry run: nothing was started, and nothing was written.")
    comments = "\n".join(told).splitlines()
    return "\n".join([run_toml(config), *(f"# {line}" for line in comments)])


def changed_settings(base: Config, config: Config) -> dict[str, dict]:
    """By setting, its value in `base` and in `config`, where these differ."""
    before, after = (_listed(flat(run_dict(settings))) for settings in (base, config))
    return {
        name: {"before": before.get(name, _NOT_SET), "now": after.get(name, _NOT_SET)}
        for name in dict.fromkeys([*after, *before])
        if before.get(name) != after.get(name)
    }


def _listed(settings: dict) -> dict:
    """The settings with a list in place of every tuple, because TOML and JSON have no tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
    }


def _log_facts(log: Dataset) -> dict:
    returns = log.episode_returns
    found = {}
    if len(returns):
        low, high = float(np.min(returns)), float(np.max(returns))
        found = {"mean": float(np.mean(returns)), "lowest": low, "highest": high}
    return {
        "name": log.name,
        "rows": log.total,
        "episodes": len(returns),
        "return": found,
    }


def _told_log(log: dict) -> str:
    rows, episodes = counted(log["rows"], "row"), counted(log["episodes"], "complete episode")
    text = f"{log['name']}: {rows}, {episodes}"
    if returns := log["return"]:
        low, high = fixed(returns["lowest"]), fixed(returns["highest"])
        text += f", mean return {fixed(returns['mean'])} ({low} to {high})"
    return text


def _environment_facts(world: World) -> dict:
    low, high = world.bounds.low.tolist(), world.bounds.high.tolist()
    return {
        "id": world.env_id,
        "obs": world.obs_dim,
        "actions": len(low),
        "action_low": low,
        "action_high": high,
        "episode_steps": world.limit.steps,
        "episode_steps_from": world.limit.source,
    }


def _told_world(world: dict) -> str:
    low, high = world["action_low"], world["action_high"]
    if len({*low}) == len({*high}) == 1:
        low, high = low[0], high[0]
    return (
        f"{world['id']}: observations of {world['obs']} entries, actions of {world['actions']} "
        f"from {low} to {high}, episodes of {world['episode_steps']:,} steps"
    )


def _told_changes(changed: dict, origin: str) -> str:
    if not changed:
        return f"all settings are those of {origin}."
    lines = (f"  {name} = {of['now']}, not {of['before']}" for name, of in changed.items())
    return "\n".join([f"differs from {origin}:", *lines])
