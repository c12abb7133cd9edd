"""moore collect: logs by the recipe of D4RL's MuJoCo sets (Fu et al. 2020).

All logs come from one SAC training: `medium-replay` is its buffer, `medium` and `expert` are
recorded from two of its policies with sampled actions, `random` from uniform actions. Whole
episodes are recorded, then the arrays are cut to the wanted length, so the last episode may carry
neither flag.
"""

import contextlib
import dataclasses
import shutil
from pathlib import Path

import numpy as np

from moore.collecting.episode_chunks import begun_with, record_in_chunks
from moore.collecting.recipe import Recipe, check_recipe, found_limit, make_recipe_env
from moore.collecting.reference import reference_returns
from moore.collecting.sources import Source, acting_source
from moore.collecting.training import SACTraining, training_config
from moore.data.episodes import episode_statistics
from moore.data.log import Log
from moore.errors import InputError
from moore.files import whole_path
from moore.formats.load import read_log
from moore.formats.write import check_target, write_log
from moore.jax_settings import plain_jax
from moore.runs.summary import versions
from moore.sinks.console import Reporter


@plain_jax()
def collect(
    recipe: Recipe,
    out: str | Path,
    *,
    format: str | None = None,
    training: str | Path | None = None,
    quiet: bool = False,
) -> Log:
    """Makes the log and writes it. If interrupted, the same call goes on where it stopped.

    Args:
        recipe: what to collect.
        out: path.hdf5, path.npz or minari:ID; must not exist.
        format: d4rl, npz or minari; by default the one that the name of `out` implies.
        training: folder of the SAC training, shared by the tiers of one environment, seed and
            number of steps; by default {env}__sac__{seed} beside `out`.
        quiet: print nothing.

    Raises:
        InputError: the environment or the target is unknown, or the training falls short.
    """
    name, minari = str(out), str(out).startswith("minari:")
    # Absolute paths, because an environment may change the working folder.
    target = name if minari else str(whole_path(name))
    place = whole_path(".") if minari else Path(target).parent
    scratch = place / f".{_slug(name if minari else Path(name).name)}.rows"
    if (done := _done(target, scratch, recipe)) is not None:
        return done
    check_target(target, format)
    check_recipe(recipe)
    report = Reporter(quiet=quiet)
    limit = found_limit(recipe.env_id, recipe.seed)
    if limit is not None and limit.note is not None:
        report.say(limit.note)
    folder = place / f"{_slug(recipe.env_id)}__sac__{recipe.seed}"
    folder = whole_path(training) if training else folder
    config = training_config(
        recipe.env_id, steps=recipe.train_steps, seed=recipe.seed, sac=recipe.sac
    )
    learner = SACTraining(folder, config, quiet)
    reference = reference_returns(recipe, learner, report)
    source = acting_source(recipe, learner, reference)
    arrays = _recorded(recipe, source, scratch, report)
    if recipe.tier == "medium-replay":
        arrays = _as_trained(arrays, learner, report)
    state = {name: arrays.pop(name) for name in ("qpos", "qvel") if name in arrays}
    metadata = _metadata(recipe, source)
    log = Log(
        **arrays,
        name=name,
        env_id=recipe.env_id,
        reference=reference,
        infos=state,
        metadata=metadata,
    )
    write_log(target, log, format)
    shutil.rmtree(scratch, ignore_errors=True)
    return log


def _recorded(recipe: Recipe, source: Source, scratch: Path, report: Reporter) -> dict:
    """The columns of the log, as the environment gives them."""
    with contextlib.closing(make_recipe_env(recipe)) as env:
        return record_in_chunks(
            env,
            source.act,
            steps=source.steps,
            run_seed=recipe.seed,
            purpose=source.purpose,
            scratch=scratch,
            identity=dataclasses.asdict(recipe) | source.about,
            report=report,
        )


def _done(out: str, scratch: Path, recipe: Recipe) -> Log | None:
    """The log of an earlier call that was killed after it was written; None if there is none."""
    if not begun_with(scratch, dataclasses.asdict(recipe)):
        return None
    try:
        log = read_log(out, exact=True, infos=True)
    except InputError:
        return None
    facts = {"made_by": "moore collect", "tier": recipe.tier, "seed": recipe.seed}
    if any(log.metadata.get(name) != value for name, value in facts.items()):
        return None
    shutil.rmtree(scratch, ignore_errors=True)
    return dataclasses.replace(log, name=out)


def describe(log: Log) -> dict:
    """Sizes and returns of a collected log, JSON-able."""
    returns, _ = episode_statistics(log.reward, log.terminated | log.truncated)
    mean = float(returns.mean()) if returns.size else None
    reference = log.reference
    return {
        "out": log.name,
        "env_id": log.env_id,
        "tier": log.metadata["tier"],
        "rows": log.size,
        "episodes": len(returns),
        "mean_return": mean,
        "score": None if mean is None or reference is None else reference.score(mean),
        "reference": None if reference is None else vars(reference),
    }


def _slug(text: str) -> str:
    return text.replace("/", "-").replace(":", "-")


def _metadata(recipe: Recipe, source: Source) -> dict:
    names = {"random": "uniform actions", "medium-replay": "SAC replay buffer"}
    facts = {
        "tier": recipe.tier,
        "algorithm": names.get(recipe.tier, "SAC policy, actions sampled"),
        "seed": recipe.seed,
        "made_by": "moore collect",
        "versions": versions(),
    }
    if recipe.tier != "random":
        facts["sac"] = dataclasses.asdict(recipe.sac)
    return facts | source.about


def _as_trained(arrays: dict, learner: SACTraining, report: Reporter) -> dict:
    """The rows as the training saw them; with the simulator's states if they came out the same."""
    seen = learner.buffer(len(arrays["reward"]))
    names = ("obs", "reward", "next_obs", "terminated", "truncated")
    if all(np.array_equal(arrays[name], getattr(seen, name)) for name in names):
        return arrays
    report.say("the environment does not repeat itself: qpos and qvel are left out.")
    action = arrays["action"]
    return {"action": action} | {name: getattr(seen, name) for name in names}
