"""May the policy of a run be deployed? What its folder and a log say about it, without a system."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moore.assessing.controller import JudgedController
from moore.assessing.importance import logged_densities
from moore.assessing.judge import STARTS, Case, Judgement, as_json
from moore.assessing.logged import Logged, as_logged
from moore.assessing.other_log import BesideTheRun, compared
from moore.assessing.saved_models import saved_models
from moore.config import Config
from moore.data.column_names import check_columns
from moore.data.dataset import Dataset
from moore.dynamics.imagine import TerminationFn
from moore.envs.bounds import Bounds
from moore.envs.termination import never
from moore.errors import InputError
from moore.files import whole_path
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import check_against_spaces, load_dataset
from moore.jax_settings import key_of, plain_jax
from moore.numbers import with_nulls
from moore.reports.assess_page import write_assess_page
from moore.runs.changes import settings_of
from moore.runs.log_checks import check_rewards
from moore.runs.plan import read_plan
from moore.runs.policy import Policy, load_policy
from moore.runs.termination_choice import make_rule

PAGE = "assessment.html"


@dataclass(frozen=True)
class Asked:
    """What the user may say beside the run.

    Attributes:
        log: a log that the policy was not trained on; None: the log of the run.
        reward, termination: functions module:function that the run uses; they are imported only if
            they are given here.
        starts: number of starts of imagined episodes.
        seed: seed of all draws.
        accept: names of findings about that log which would refuse it.
    """

    log: str | None = None
    reward: str | None = None
    termination: str | None = None
    starts: int = STARTS
    seed: int = 0
    accept: tuple[str, ...] = ()


@plain_jax()
def assess(
    run: str | Path, asked: Asked | None = None, *, out: str | Path | None = None
) -> tuple[Path, dict]:
    """Judges the saved policy of a run and writes a page about it.

    Args:
        run: folder of a run with a log.
        asked: log, functions and sizes.
        out: path of the page; None: assessment.html in the run's folder.

    Returns:
        The path of the page, and the judgement as nested tables: `verdict` is "yes", "no" or
        "unknown", `line` says why.

    Raises:
        InputError: there is no policy or no log, or the log is of another system.
    """
    asked = Asked() if asked is None else asked
    folder = whole_path(run)
    policy, config = load_policy(folder), settings_of(folder)
    config = _trusting(config, asked)
    log = _log(config, policy, asked)
    notes = check_columns(log, policy.columns, of="the policy")
    found, beside = _findings(log, config, asked)
    notes += [*found, *beside.notes]
    case = _case(folder, policy, config, log, asked, beside)
    judged = case.judge(JudgedController(policy.agent.act_mode, policy.weights))
    result = _about(folder, policy, log, case.logged, asked, notes) | _numbers(judged)
    page = folder / PAGE if out is None else whole_path(out)
    return write_assess_page(page, result, _pictures(judged)), result


def _log(config: Config, policy: Policy, asked: Asked) -> Dataset:
    """The log that the policy is judged by."""
    source = asked.log or config.dataset
    if not source:
        raise InputError(
            "the run has no log; give one of the controller that ran before with --log."
        )
    reward = asked.reward or config.reward or None
    if config.reward and not asked.reward:
        raise InputError(
            f"the run computes its rewards with {config.reward}; to import this function, give "
            f"--reward {config.reward}."
        )
    log = load_dataset(
        source,
        columns=config.columns or None,
        reward=reward,
        max_episode_steps=config.episode_steps,
        max_rows=None if asked.log else config.max_rows,
        fraction=None if asked.log else config.fraction,
    )
    sizes = (log.obs_dim, log.action_dim), (policy.obs_dim, policy.low.size)
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{source}: its observations and actions have {sizes[0]} entries, those of the policy "
            f"{sizes[1]}; give a log of the same system."
        )
    check_against_spaces(
        log, obs_dim=policy.obs_dim, action_low=policy.low, action_high=policy.high,
        env_id="the policy",
    )  # fmt: skip
    return log


def _findings(log: Dataset, config: Config, asked: Asked) -> tuple[list[str], BesideTheRun]:
    """Notes on a log that no run has checked, and how it is unlike the run's own.

    Raises:
        InputError: a judgement by it would be wrong.
    """
    if asked.log is None:
        return [], BesideTheRun()
    check_rewards(log)
    scales = ("reward-scale", "observation-scale")  # of no importance here
    notes = check_log_for_run(log, None, accept=(*config.accept, *asked.accept, *scales))
    return notes, compared(log, config, asked.reward, asked.accept)


def _trusting(config: Config, asked: Asked) -> Config:
    """The settings, whose termination rule is a function only if the user has named it."""
    if asked.termination is not None:
        return replace(config, termination=asked.termination)
    if ":" in config.termination:
        raise InputError(
            f"the run ends imagined episodes by {config.termination}; to import this function, "
            f"give --termination {config.termination}."
        )
    return config


def _case(
    folder: Path, policy: Policy, config: Config, log: Dataset, asked: Asked, beside: BesideTheRun
) -> Case:
    steps = config.episode_steps
    if steps is None and beside.longest is not None:  # shorter ones were cut by the recording
        steps = max(beside.longest, int(log.episode_lengths.max()))
    logged = as_logged(log, policy.units, Bounds(policy.low, policy.high), steps)
    ensemble = saved_models(folder, config, (policy.obs_dim, policy.low.size))
    rule = never if ensemble is None else _rule(folder, policy, config, log)
    bounds = Bounds(policy.low, policy.high)
    density = logged_densities(asked.log or config.dataset, log, bounds)
    return Case(
        logged, policy.units, rule, ensemble, asked.seed, asked.starts, density=density,
        doubts=beside.doubts,
    )  # fmt: skip


def _rule(folder: Path, policy: Policy, config: Config, log: Dataset) -> TerminationFn:
    """The rule of the run; a learned one is fitted to this log as the run fitted it to its own."""
    split_seed = read_plan(folder).split_seed
    key = key_of(config.seed if split_seed is None else split_seed)
    rule, _ = make_rule(
        config, log, policy.env_id, policy.obs_dim, policy.low, policy.high, key, policy.units
    )
    return rule


def _about(
    folder: Path, policy: Policy, log: Dataset, logged: Logged, asked: Asked, notes: list[str]
) -> dict:
    """What was judged, and by what."""
    about = json.loads((folder / "policy" / "policy.json").read_text(encoding="utf-8"))
    if asked.log is None:
        notes = [
            *notes,
            "The same log has trained the policy and judges it, so the estimates lean towards the "
            "policy. Give a log that it has not seen: --log HELD_OUT.",
        ]
    return {
        "run": folder.name,
        "env_id": policy.env_id,
        "algorithm": policy.config.algorithm,
        "policy_id": str(about.get("sha256", "")),
        "log": {
            "name": log.name, "sha256": log.sha256, "rows": log.size, "held_out": bool(asked.log),
            "episodes": len(log.episode_returns), "whole_episodes": len(logged.returns),
        },
        "steps_per_episode": logged.horizon,
        "interval": 0.9,
        "seed": asked.seed,
        "notes": notes,
    }  # fmt: skip


def _numbers(judged: Judgement) -> dict:
    return with_nulls(as_json(judged))


def _pictures(judged: Judgement) -> dict[str, dict[str, np.ndarray]]:
    """What the page draws and the JSON object does not hold."""
    covered = judged.facts.covered
    return {
        "courses": judged.courses,
        "distances": {"the log": covered.own_distances, "new policy": covered.state_distances},
    }
