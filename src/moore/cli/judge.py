"""moore evaluate, preview."""

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
    """Returns of a run's saved policy, on fresh episodes.

    Attributes:
        episodes: how many.
        sampled: sample actions, as the acting policy does; else the deterministic policy.
        env_id: another environment than the one the policy was trained in; also to allow one whose
            name, module:Id, imports a module.
        seed: of the episodes.
        json: print JSON.
    """

    episodes: int = 10
    sampled: bool = False
    env_id: str | None = None
    seed: int = 0
    json: bool = False


def evaluate(arguments: list[str]) -> None:
    run, options = with_target(EvaluateOptions, arguments, "evaluate", "RUN")
    if options.episodes < 1:
        raise InputError(f"--episodes is {options.episodes}; it must be positive.")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed is {options.seed}; it must lie in [0, 2**63).")

    from moore.envs.evaluation import evaluate_policy
    from moore.envs.make import Registered
    from moore.envs.trust import trusted_env_id
    from moore.evaluation.scores import reference_scores
    from moore.runs.policy import load_policy

    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        policy = load_policy(run, seed=options.seed)
        env_id = trusted_env_id(options.env_id, policy.env_id, where=f"the policy in {run}")
        if env_id is None:
            raise InputError(f"the policy in {run} names no environment; give one with --env-id.")
        # The environment of the run, as the run made it; another one as it is registered.
        same = env_id == policy.env_id
        episodes = evaluate_policy(
            policy,
            Registered(env_id, policy.config.env_args if same else ""),
            episodes=options.episodes,
            seed=options.seed,
            deterministic=not options.sampled,
            limit=policy.config.episode_steps if same else None,
        )
    for note in notes:
        print(f"note: {note.message}", file=sys.stderr)
    reference = reference_scores(env_id)
    score = None if reference is None else reference.score(episodes.mean_return)
    if options.json:
        result = {"env_id": env_id, "return": episodes.mean_return, "score": score}
        print(json.dumps(result | {"returns": episodes.returns, "lengths": episodes.lengths}))
        return
    kind = "sampled" if options.sampled else "deterministic"
    low, high = min(episodes.returns), max(episodes.returns)
    text = f"{env_id}, {kind} policy, {options.episodes} episodes (seed {options.seed}): "
    text += f"return {episodes.mean_return:.1f}, lowest {low:.1f}, highest {high:.1f}"
    show(text if score is None else f"{text}, score {score:.1f}")


@example("moore preview --n-off 200000 --schemes moore:1,uniform,half_half --peak 0.02")
@dataclass(frozen=True)
class PreviewOptions:
    """Online share and shift (total variation per epoch) of sampling schemes.

    Attributes:
        n_off: transitions in the log.
        schemes: names, with commas: moore:ALPHA, uniform, half_half, online_only,
            linear:FROM:TO:EPOCHS, auto, peak_shift:EPS.
        steps_per_epoch: S, online steps an epoch.
        epochs: T.
        peak: also print the alpha whose shift per epoch stays below this.
        png: draw the curves there.
        json: print JSON.
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
