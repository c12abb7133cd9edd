"""The commands `moore evaluate`, of a saved policy, and `moore preview`, of sampling schemes."""

import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from moore.cli.parse import block_signs, example, parse, with_target
from moore.console import show
from moore.errors import InputError


@example("moore evaluate runs/first --episodes 20")
@dataclass(frozen=True)
class EvaluateOptions:
    """Measures the returns of a run's saved policy on new episodes.

    Attributes:
        episodes: number of episodes.
        sampled: draw the actions with the policy's noise, as a run does online that has no dip
            budget; by default, as with a dip budget, there is no noise.
        env_id: id of the environment, if it is not the one that the policy was trained in. An id
            that imports a module, module:Id, is made only if you give it here.
        seed: seed of the episodes.
        episode_steps: cut episodes after this many steps; by default as in the run, if this is its
            environment.
        json: print the result as JSON.
    """

    episodes: int = 10
    sampled: bool = False
    env_id: str | None = None
    seed: int = 0
    episode_steps: int | None = None
    json: bool = False


def evaluate(arguments: list[str]) -> None:
    run, options = with_target(EvaluateOptions, arguments, "evaluate", "RUN")
    if options.episodes < 1:
        raise InputError(f"--episodes is {options.episodes}; it must be positive.")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed is {options.seed}; it must lie in [0, 2**63).")
    if options.episode_steps is not None and options.episode_steps < 1:
        raise InputError(f"--episode-steps is {options.episode_steps}; it must be positive.")

    from moore.envs.evaluation import evaluate_policy
    from moore.envs.make import Registered
    from moore.envs.trusted_id import trusted_env_id
    from moore.evaluation.scores import reference_scores
    from moore.numbers import counted
    from moore.runs.policy import load_policy

    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        policy = load_policy(run, seed=options.seed)
        env_id = trusted_env_id(options.env_id, policy.env_id, where=f"the policy in {run}")
        if env_id is None:
            raise InputError(f"the policy in {run} names no environment; give one with --env-id.")
        # The run's own environment is made as in the run, any other one as it is registered.
        same = env_id == policy.env_id
        env_args = policy.config.env_args if same else ""
        limit = options.episode_steps or (policy.config.episode_steps if same else None)
        episodes = evaluate_policy(
            policy,
            Registered(env_id, env_args),
            episodes=options.episodes,
            seed=options.seed,
            deterministic=not options.sampled,
            limit=limit,
        )
    for note in notes:
        print(f"note: {note.message}", file=sys.stderr)
    reference = reference_scores(env_id, arguments=env_args, steps=limit)
    score = None if reference is None else reference.score(episodes.mean_return)
    if options.json:
        result = {"env_id": env_id, "return": episodes.mean_return, "score": score}
        print(json.dumps(result | {"returns": episodes.returns, "lengths": episodes.lengths}))
        return
    kind = "sampled" if options.sampled else "deterministic"
    low, high = min(episodes.returns), max(episodes.returns)
    count = counted(options.episodes, "episode")
    text = f"{env_id}, {kind} policy, {count} (seed {options.seed}): "
    text += f"return {episodes.mean_return:.1f}, lowest {low:.1f}, highest {high:.1f}"
    show(text if score is None else f"{text}, score {score:.1f}")


@example("moore preview --n-off 200000 --schemes moore:1,uniform,half_half --peak 0.02")
@dataclass(frozen=True)
class PreviewOptions:
    """Shows the online share and the shift (total variation per epoch) of sampling schemes.

    Attributes:
        n_off: number of transitions in the log.
        schemes: names separated by commas: moore:ALPHA, uniform, half_half, online_only,
            linear:FROM:TO:EPOCHS, auto, peak_shift:EPS.
        steps_per_epoch: S, the online steps of an epoch.
        epochs: T, the number of online epochs.
        peak: also print the largest alpha whose shift per epoch stays below this value.
        png: file to draw the curves to.
        json: print the result as JSON.
    """

    n_off: int = 200_000
    schemes: str = "moore:1,uniform,half_half,online_only"
    steps_per_epoch: int = 1000
    epochs: int = 100
    peak: float | None = None
    png: Path | None = None
    json: bool = False


def preview_schemes(arguments: list[str]) -> None:
    options = parse(PreviewOptions, arguments, "preview")

    from moore.replay.preview import preview

    result = preview(
        [name.strip() for name in options.schemes.split(",")],
        n_off=options.n_off,
        steps_per_epoch=options.steps_per_epoch,
        epochs=options.epochs,
        peak=options.peak,
    )
    if options.png is not None:
        from moore.reports.preview import draw_preview

        draw_preview(result, options.png)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    from moore.reports.preview import format_preview

    show(format_preview(result, blocks=block_signs()))
