"""moore collect: logs by the recipe of D4RL's MuJoCo sets (Fu et al. 2020).

All logs come from one SAC training: `medium-replay` is its buffer, `medium` and `expert` are
recorded from two of its policies with sampled actions, `random` from uniform actions. Whole
episodes are recorded, then the arrays are cut to the wanted length, so the last episode may carry
neither flag.
"""

import contextlib
import dataclasses
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from moore.agents.sac import SACConfig
from moore.collecting.recording import begun_with, record
from moore.collecting.training import Training, best, first_reaching, training_config
from moore.data.episodes import episode_statistics
from moore.data.load import read_log
from moore.data.log import Log
from moore.data.write import check_target, write_log
from moore.envs.adapter import Adapter
from moore.envs.evaluation import evaluate_policy, random_policy, run_episodes
from moore.envs.limits import limit_of, step_limit
from moore.envs.make import episode_seed, make_env
from moore.envs.record import Act
from moore.envs.several import close_all, open_all
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.files import whole_path
from moore.jax_settings import key_of, plain_jax
from moore.presets import preset
from moore.runs.policy import Policy
from moore.runs.summary import versions
from moore.sinks.console import Reporter

Tier = Literal["random", "medium", "medium-replay", "expert"]

DEFAULT_STEPS = 100_000
# D4RL's random score is the mean of 100 episodes; policies are measured over 20.
RANDOM_EPISODES, EXPERT_EPISODES = 100, 20


@dataclass(frozen=True)
class Recipe:
    """What to collect."""

    env_id: str
    """Id of a Gymnasium environment with continuous actions."""
    tier: Tier
    """Which policy records the log: random, medium or expert; medium-replay is the training's
    own data up to the medium policy. For a medium-expert log, join a medium and an expert log."""
    steps: int | None = None
    """Number of rows. None records 100,000; for medium-replay, all rows up to the medium policy."""
    seed: int = 0
    """Seed of all random numbers."""
    train_steps: int = 1_000_000
    """Largest number of environment steps of the SAC training."""
    target_return: float | None = None
    """Evaluated return at which a policy counts as medium. None uses a third of the way from the
    random policy to the expert."""
    expert_return: float | None = None
    """Return that counts as expert. None uses D4RL's constant if there is one, otherwise the
    measured return of the best policy of the training. A random log names no expert return then."""
    sac: SACConfig = field(default_factory=lambda: preset("sac").sac)
    """Settings of SAC, which learns the policies."""


@dataclass(frozen=True)
class _Source:
    """Who acts, for how many rows, the purpose of the reset seeds, and metadata for the log."""

    act: Act
    steps: int
    purpose: str
    about: dict


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
    _check(recipe)
    report = Reporter(quiet=quiet)
    folder = place / f"{_slug(recipe.env_id)}__sac__{recipe.seed}"
    folder = whole_path(training) if training else folder
    steps, sac = recipe.train_steps, recipe.sac
    config = training_config(recipe.env_id, steps=steps, seed=recipe.seed, sac=sac)
    learner = Training(folder, config, quiet)
    reference = _reference(recipe, learner, report)
    source = _source(recipe, learner, reference)
    with contextlib.closing(_make(recipe)) as env:
        arrays = record(
            env,
            source.act,
            steps=source.steps,
            run_seed=recipe.seed,
            purpose=source.purpose,
            scratch=scratch,
            identity=dataclasses.asdict(recipe) | source.about,
            report=report,
        )
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
    scored = mean is not None and log.reference is not None
    return {
        "out": log.name,
        "env_id": log.env_id,
        "tier": log.metadata["tier"],
        "rows": log.size,
        "episodes": len(returns),
        "mean_return": mean,
        "score": log.reference.score(mean) if scored else None,
        "reference": None if log.reference is None else vars(log.reference),
    }


def _slug(text: str) -> str:
    return text.replace("/", "-").replace(":", "-")


def _check(recipe: Recipe) -> None:
    """Raises InputError for numbers out of range and for an environment that cannot be used."""
    for name in ("steps", "train_steps"):
        value = getattr(recipe, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} is {value}; it must be positive.")
    if not 0 <= recipe.seed < 2**63:
        raise InputError(f"--seed is {recipe.seed}; it must lie in [0, 2**63).")
    for name in ("target_return", "expert_return"):
        value = getattr(recipe, name)
        if value is not None and not np.isfinite(value):
            raise InputError(f"--{name.replace('_', '-')} is {value}; it must be a finite number.")
    make_env(recipe.env_id).close()


def _make(recipe: Recipe) -> Adapter:
    """Makes the environment; if it states no step limit, the limit is measured or assumed."""
    env = make_env(recipe.env_id)
    if step_limit(env) is None:
        limit = limit_of(env, None, recipe.seed, may_move=True)
        env.limit = None if limit.source == "measured" else limit.steps
    return env


# --- reference returns ---


def _reference(recipe: Recipe, learner: Training, report: Reporter) -> ReferenceScores | None:
    """Random and expert return: D4RL's constants, else as given, else measured.

    Measuring the expert needs a training. A random log of an environment whose expert's return is
    unknown needs none, so the result is None.
    """
    known = reference_scores(recipe.env_id)
    if known is None and recipe.tier == "random" and recipe.expert_return is None:
        report.say(
            f"no expert's return is known for {recipe.env_id}, so the log has no normalised score "
            "(--expert-return gives one)."
        )
        return None
    low = known.random if known else _random_return(recipe)
    if recipe.expert_return is not None:
        high, source = recipe.expert_return, "expert given"
    elif known:
        return known
    else:
        report.say(
            f"no expert's return is known for {recipe.env_id}: the best policy of "
            f"{recipe.train_steps:,} steps of SAC is measured (--expert-return gives one)."
        )
        learner.advance(lambda rows: False)
        policy = learner.policy(best(learner.curve())["epoch"])
        episodes = evaluate_policy(
            policy, recipe.env_id, episodes=EXPERT_EPISODES, seed=recipe.seed
        )
        high = episodes.mean_return
        source = (
            f"expert: best policy of {recipe.train_steps} steps of SAC, {EXPERT_EPISODES} episodes"
        )
    if not high > low:
        raise InputError(
            f"the expert's return {high:g} is not above the random one, {low:g}; train for more "
            "--train-steps, or give --expert-return."
        )
    random = "random: D4RL infos.py" if known else f"random: {RANDOM_EPISODES} episodes"
    return ReferenceScores(low, high, source=f"{random}; {source}")


def _random_return(recipe: Recipe) -> float:
    envs = open_all(lambda: _make(recipe), RANDOM_EPISODES)
    seeds = [episode_seed(recipe.seed, "random", i) for i in range(RANDOM_EPISODES)]
    try:
        policy = random_policy(envs[0].action_space.shape[0], recipe.seed)
        return run_episodes(envs, policy, seeds).mean_return
    finally:
        close_all(envs)


# --- who acts ---


def _source(recipe: Recipe, learner: Training, reference: ReferenceScores | None) -> _Source:
    if recipe.tier == "random":
        with contextlib.closing(make_env(recipe.env_id)) as env:
            dim = env.action_space.shape[0]
        steps = recipe.steps or DEFAULT_STEPS
        return _Source(_acts_randomly(dim, recipe.seed), steps, "collect", {})
    if recipe.tier == "expert":
        learner.advance(lambda rows: False)
        return _acting(recipe, learner, best(learner.curve()))
    wanted = recipe.target_return
    if wanted is None:
        wanted = reference.random + (reference.expert - reference.random) / 3
    if recipe.tier == "medium":
        return _acting(recipe, learner, _medium(learner, wanted, recipe))
    return _replaying(recipe, learner, wanted)


def _medium(learner: Training, wanted: float, recipe: Recipe) -> dict:
    """The first epoch whose policy reached the wanted return."""
    learner.advance(lambda rows: first_reaching(rows, wanted) is not None)
    curve = learner.curve()
    epoch = first_reaching(curve, wanted)
    if epoch is None:
        raise InputError(
            f"{recipe.train_steps} steps of SAC reached {best(curve)['eval/return']:.1f} on "
            f"{recipe.env_id}, not the {wanted:.1f} of a medium policy; give more --train-steps, a "
            "lower --target-return, or another --seed."
        )
    return epoch


def _acting(recipe: Recipe, learner: Training, epoch: dict) -> _Source:
    """Records one of the training's policies, with sampled actions."""
    policy = learner.policy(epoch["epoch"])
    about = _about(learner, epoch["env_steps"]) | {"policy_return": epoch["eval/return"]}
    steps = recipe.steps or DEFAULT_STEPS
    return _Source(_acts_as(policy, recipe.seed), steps, "collect", about)


def _replaying(recipe: Recipe, learner: Training, wanted: float) -> _Source:
    """Replays the training's own actions from its first step on."""
    if recipe.steps is None:
        steps = _medium(learner, wanted, recipe)["env_steps"]
    else:
        steps = recipe.steps
        learner.advance(lambda rows: rows[-1]["env_steps"] >= steps)
        done = learner.curve()[-1]["env_steps"]
        if done < steps:
            raise InputError(
                f"--steps is {steps}, the training has {done}; give more --train-steps."
            )
    actions = learner.buffer(steps).action
    last = len(actions) - 1
    # The last episode goes on past the wanted rows; the surplus is cut off.
    return _Source(lambda obs, row: actions[min(row, last)], steps, "act", _about(learner, steps))


def _acts_randomly(action_dim: int, seed: int) -> Act:
    def act(obs: np.ndarray, row: int) -> np.ndarray:
        draws = np.random.default_rng([seed, row])
        return draws.uniform(-1.0, 1.0, action_dim).astype(np.float32)

    return act


def _acts_as(policy: Policy, seed: int) -> Act:
    @jax.jit
    def sample(obs, row):
        key = jax.random.fold_in(key_of(episode_seed(seed, "collect", 0)), row)
        return policy.agent.act(policy.weights, obs, key)

    return lambda obs, row: np.asarray(sample(policy.units.obs_in(obs), row))


def _as_trained(arrays: dict, learner: Training, report: Reporter) -> dict:
    """The rows as the training saw them, with the simulator's states if the replay agrees."""
    seen = learner.buffer(len(arrays["reward"]))
    names = ("obs", "reward", "next_obs", "terminated", "truncated")
    if all(np.array_equal(arrays[name], getattr(seen, name)) for name in names):
        return arrays
    report.say("the environment does not repeat itself: qpos and qvel are left out.")
    action = arrays["action"]
    return {"action": action} | {name: getattr(seen, name) for name in names}


# --- metadata of the log ---


def _about(learner: Training, steps: int) -> dict:
    """The place in the training, and the learning curve up to it."""
    curve = [row for row in learner.curve() if row["env_steps"] <= steps]
    return {
        "trained_steps": steps,
        "learning_curve": [[row["env_steps"], row["eval/return"]] for row in curve],
    }


def _metadata(recipe: Recipe, source: _Source) -> dict:
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
