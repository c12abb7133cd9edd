"""The command line: one function a command, heavy imports inside it."""

import contextlib
import inspect
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, TypeVar

from moore.errors import InputError
from moore.version import __version__

Options = TypeVar("Options")

USAGE = """\
usage: moore COMMAND [OPTIONS]

Take a policy that was learned from logged data online, without a dip.

commands:
  run [PRESET]      offline stage, hand-over, online stage, report (preset: quickstart)
  offline [PRESET]  the offline stage alone
  online            the online stage alone, from a run whose offline stage is done
  evaluate RUN      returns of a saved policy
  inspect DATASET   check a log and sum it up
  preview           online share and shift per epoch of each sampling scheme

`moore COMMAND --help` shows the options with their defaults.
example: moore run --seed 1 --out runs/first"""


def main(argv: list[str] | None = None) -> None:
    """Runs a command; exits with 0, 2 on bad input, 130 on Ctrl-C."""
    arguments = sys.argv[1:] if argv is None else argv
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    try:
        _dispatch(name, rest)
        sys.stdout.flush()
    except InputError as error:
        print(f"moore: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("moore: interrupted.", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of our output went away (`moore inspect ... | head`); so do we, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(name: str, arguments: list[str]) -> None:
    if name in ("-h", "--help"):
        print(USAGE)
    elif name == "--version":
        print(f"moore {__version__}")
    elif name not in COMMANDS:
        raise InputError(f"unknown command '{name}'; the known ones are {', '.join(COMMANDS)}.")
    else:
        COMMANDS[name](arguments)


def _parse(options: type[Options], arguments: list[str], command: str, default=None) -> Options:
    """Options from flags; a wrong flag is one line, not tyro's box."""
    import tyro

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(options, args=arguments, prog=f"moore {command}", default=default)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        words = errors.getvalue().translate(str.maketrans("", "", "╭╮╰╯─│")).split()
        raise InputError(" ".join(words)) from None


def _example(text: str) -> Callable:
    """Gives the options of a command their help text, which begins with an example."""

    def decorate(cls: type) -> type:
        cls.__doc__ = f"example: {text}\n\n{inspect.cleandoc(cls.__doc__)}"
        return cls

    return decorate


# --- run, offline, online ---


def _run_options(command: str):
    """The options of the three commands that train; made here because they need jax."""
    import tyro

    from moore.config import Config

    @dataclass(frozen=True)
    class Common:
        """Train.

        Attributes:
            scheme: short for --online.scheme.
            alpha: short for --online.alpha.
            out: a new folder; by default runs/{env}__{algorithm}__{seed}__{time}.
            json: print summary.json at the end.
            quiet: no progress.
        """

        config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)
        scheme: str | None = None
        alpha: float | None = None
        out: Path | None = None
        json: bool = False
        quiet: bool = False

    if command == "online":

        @_example("moore online --from runs/offline --scheme moore:2")
        @dataclass(frozen=True)
        class OnlineOptions(Common):
            """The online stage alone. Settings default to those of the run it starts from.

            Attributes:
                from_: the run whose offline stage is done.
            """

            from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None

        return OnlineOptions

    @_example(f"moore {command} laptop/hopper-medium-replay --dataset hopper-medium-replay.hdf5")
    @dataclass(frozen=True)
    class RunOptions(Common):
        """Train from a PRESET (or a config.toml), given before the options; quickstart if none.

        Attributes:
            resume: go on with this run from its last checkpoint; --dataset and --env-id tell where
                the log or the environment is now, other settings are the run's own.
        """

        resume: Path | None = None

    return RunOptions


def _train(arguments: list[str], command: str) -> None:
    from moore.runs import run as runs

    first = arguments[0] if arguments and not arguments[0].startswith("-") else None
    rest = arguments[1:] if first else arguments
    cls = _run_options(command)
    options = _parse(cls, rest, command, cls(config=_base_config(first, rest, command)))
    config = options.config
    if options.scheme is not None:
        config = replace(config, online=replace(config.online, scheme=options.scheme))
    if options.alpha is not None:
        config = replace(config, online=replace(config.online, alpha=options.alpha))
    if getattr(options, "resume", None) is not None:
        result = _resume(options, rest)
    else:
        start = getattr(options, "from_", None)
        if command == "online" and start is None:
            raise InputError("moore online needs --from RUN, a run whose offline stage is done.")
        stages = {"run": "both", "offline": "offline", "online": "online"}[command]
        result = runs.run(
            config, out=options.out, stages=stages, start_from=start, quiet=options.quiet
        )
    if options.json:
        print(json.dumps(result.summary, indent=1))
    elif not options.quiet:
        print(_verdict(result.summary))


def _base_config(first: str | None, rest: list[str], command: str):
    """What the flags alter: a preset, a file, or the configuration of another run."""
    from moore.config import read_toml
    from moore.presets import preset

    if command == "online":
        if first is not None:
            raise InputError(f"moore online takes no preset ('{first}'); give --from RUN.")
        source = _value_of(rest, "--from")
        return read_toml(Path(source) / "config.toml") if source else preset("quickstart")
    if first is not None and first.endswith(".toml"):
        return read_toml(Path(first))
    return preset(first or "quickstart")


def _value_of(arguments: list[str], flag: str) -> str | None:
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        argument = name.replace("_", "-") + equals + value  # tyro takes both spellings
        if argument == flag and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(flag + "="):
            return argument.split("=", 1)[1]
    return None


def _resume(options, arguments: list[str]):
    from moore.runs.run import resume

    return resume(
        options.resume,
        dataset=_value_of(arguments, "--dataset"),
        env=_value_of(arguments, "--env-id"),
        quiet=options.quiet,
    )


def _verdict(summary: dict) -> str:
    """The run in two lines."""
    if "transfer" not in summary:
        return f"offline return {summary['offline']['return']:.1f}" if "offline" in summary else ""
    transfer = summary["transfer"]

    def percent(share: float | None) -> str:
        return "" if share is None else f" ({100 * share:.0f}%)"

    behaviour = transfer["behaviour_dip"]
    acting = "not measured" if behaviour is None else f"{behaviour:.1f}"
    return (
        f"offline {transfer['offline']:.1f}, dip {transfer['dip']:.1f}"
        f"{percent(transfer['dip_share'])}, final {transfer['final']:.1f}, "
        f"gain {transfer['gain']:.1f}\n"
        f"acting policy: dip {acting}{percent(transfer['behaviour_dip_share'])}"
    )


# --- evaluate ---


@_example("moore evaluate runs/first --episodes 20")
@dataclass(frozen=True)
class EvaluateOptions:
    """Returns of a run's saved policy, on fresh episodes.

    Attributes:
        episodes: how many.
        sampled: sample actions, as the acting policy does; else the deterministic policy.
        env_id: another environment than the one the policy was trained in.
        seed: of the episodes.
        json: print JSON.
    """

    episodes: int = 10
    sampled: bool = False
    env_id: str | None = None
    seed: int = 0
    json: bool = False


def _evaluate(arguments: list[str]) -> None:
    run, options = _with_target(EvaluateOptions, arguments, "evaluate", "RUN")
    if options.episodes < 1:
        raise InputError(f"--episodes is {options.episodes}; it must be positive.")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed is {options.seed}; it must lie in [0, 2**63).")

    from moore.envs.evaluation import evaluate_policy
    from moore.evaluation.scores import reference_scores
    from moore.runs.policy import load_policy

    policy = load_policy(run, seed=options.seed)
    env_id = options.env_id or policy.env_id
    episodes = evaluate_policy(
        policy,
        env_id,
        episodes=options.episodes,
        seed=options.seed,
        deterministic=not options.sampled,
    )
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
    print(text if score is None else f"{text}, score {score:.1f}")


def _with_target(options: type[Options], arguments: list[str], command: str, target: str):
    """A command's one positional argument, which comes first, and its options."""
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        raise InputError(f"moore {command} needs a {target}: moore {command} {target} [OPTIONS].")
    if arguments[0] in ("-h", "--help"):
        _parse(options, arguments, f"{command} {target}")
    return arguments[0], _parse(options, arguments[1:], f"{command} {target}")


# --- inspect ---


@_example("moore inspect hopper-medium-replay.hdf5")
@dataclass(frozen=True)
class InspectOptions:
    """Checks a log (path.hdf5, path.npz, minari:ID, builtin:NAME) and sums it up.

    Attributes:
        download: fetch a Minari set that is not on this machine.
        json: print JSON.
    """

    download: bool = False
    json: bool = False


def _inspect(arguments: list[str]) -> None:
    source, options = _with_target(InspectOptions, arguments, "inspect", "DATASET")

    from moore.data.inspect import format_summary, summarize, warnings
    from moore.data.load import load_dataset

    summary = summarize(load_dataset(source, download=options.download))
    found = warnings(summary)
    if options.json:
        print(json.dumps(summary | {"warnings": found}, indent=1))
        return
    print(format_summary(summary))
    for warning in found:
        print(f"warning: {warning}")


# --- preview ---


@_example("moore preview --n-off 200000 --schemes moore:1,uniform,half_half --peak 0.02")
@dataclass(frozen=True)
class PreviewOptions:
    """Online share and shift (total variation per epoch) of sampling schemes.

    Attributes:
        n_off: transitions in the log.
        schemes: names, with commas: moore:ALPHA, uniform, half_half, online_only.
        steps_per_epoch: S, online steps an epoch.
        epochs: T.
        peak: also print the alpha whose shift per epoch stays below this.
        json: print JSON.
    """

    n_off: int = 200_000
    schemes: str = "moore:1,uniform,half_half,online_only"
    steps_per_epoch: int = 1000
    epochs: int = 100
    peak: float | None = None
    json: bool = False


def _preview(arguments: list[str]) -> None:
    options = _parse(PreviewOptions, arguments, "preview")

    from moore.replay.preview import format_preview, preview

    result = preview(
        [name.strip() for name in options.schemes.split(",")],
        n_off=options.n_off,
        steps_per_epoch=options.steps_per_epoch,
        epochs=options.epochs,
        peak=options.peak,
    )
    print(json.dumps(result, indent=1) if options.json else format_preview(result))


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "run": lambda arguments: _train(arguments, "run"),
    "offline": lambda arguments: _train(arguments, "offline"),
    "online": lambda arguments: _train(arguments, "online"),
    "evaluate": _evaluate,
    "inspect": _inspect,
    "preview": _preview,
}
