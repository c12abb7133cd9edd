"""The commands `moore run`, `moore offline` and `moore online`: train a policy."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from moore.cli.meant import is_log
from moore.cli.parse import example, flags, parse, value_of
from moore.cli.plan import STAGES, show_estimate
from moore.console import plain, show
from moore.errors import InputError

if TYPE_CHECKING:
    from moore.runs.plan import Stages


def options_of(command: str, settings: type | None = None):
    """The options of the three commands that train; made here because they need jax.

    Args:
        command: run, offline or online.
        settings: the class of the configuration that they hold; `moore.config.Config` if None.
    """
    import tyro

    from moore.config import Config

    sections: type = settings or Config

    @dataclass(frozen=True)
    class Common:
        """Train."""

        config: Annotated[sections, tyro.conf.arg(name="")] = field(  # type: ignore[valid-type]
            default_factory=sections  # which class it is is known when a command is called
        )
        scheme: str | None = None
        """Short for --online.scheme."""
        alpha: float | None = None
        """Short for --online.alpha."""
        out: str | None = None
        """Folder of the run, which must not exist yet, or a URL such as s3://bucket/runs/a, where
        it is copied to after each checkpoint. None uses runs/{env}__{algorithm}__{seed}__{time}."""
        dry_run: bool = False
        """Show what the run would do, and with which settings, after all checks. Nothing is
        written, and nothing is started. What is printed is a configuration file with comments."""
        json: bool = False
        """Print summary.json at the end; with --dry-run, print its facts as JSON."""
        quiet: bool = False
        """Do not show progress."""
        estimate: bool = False
        """Print what the run would take in time and memory, measured in a miniature of it; begin
        nothing and write nothing. With --json as JSON."""

    if command == "online":

        @example("moore online --from runs/offline --scheme moore:2")
        @dataclass(frozen=True)
        class OnlineOptions(Common):
            """Runs only the online stage; by default with the settings of the run in --from."""

            from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
            """Folder of the run to start from, or its URL. Its offline stage must be complete."""

        return OnlineOptions

    stages = {
        "run": "Learns offline from a log, hands over, and goes on learning online.",
        "offline": "Runs only the offline stage.",
    }[command]

    @example(f"moore {command} laptop/hopper-medium-replay --dataset hopper-medium-replay.hdf5")
    @dataclass(frozen=True)
    class RunOptions(Common):
        __doc__ = f"""{stages}

        A PRESET, or a config.toml, is given before the options; without one it is quickstart."""

        resume: str | None = None
        """Continue the run in this folder, or at this URL, from its last checkpoint. The run keeps
        its settings, and the flags of other settings are refused, except these: --dataset and
        --env-id say where the log or the environment is now, --online.epochs makes the run longer,
        and --online.max-bad-readings, --checkpoint-every, --track and --tensorboard apply from now
        on."""

    return RunOptions


def train_stages(arguments: list[str], command: str) -> None:
    from moore.cli.verdict import verdict
    from moore.runs import run as runs

    first = arguments[0] if arguments and not arguments[0].startswith("-") else None
    rest = arguments[1:] if first else arguments
    base = _base_config(first, rest, command)
    if {"-h", "--help"} & set(rest):
        print_help(base, rest, command)
    cls = options_of(command)
    options = parse(cls, rest, command, cls(config=base))
    config = options.config
    check_algorithm(base.algorithm, config.algorithm)
    _refuse_both(rest)
    if options.scheme is not None:
        config = replace(config, online=replace(config.online, scheme=options.scheme))
    if options.alpha is not None:
        config = replace(config, online=replace(config.online, alpha=options.alpha))
    notes = [*_unused(rest, config), *_idle(rest, config)]
    if command == "run" and config.action_low:
        command = "offline"  # nothing but the plant itself can be acted in, and it has no steps
    if options.estimate and getattr(options, "resume", None) is None:
        show_estimate(config, command, as_json=options.json)
        return
    if getattr(options, "resume", None) is not None:
        result = _resume(options, first, rest)
    else:
        start = getattr(options, "from_", None)
        if command == "online" and start is None:
            raise InputError("moore online needs --from RUN, a run whose offline stage is done.")
        stages = STAGES[command]
        if options.dry_run:
            origin = _origin(first, rest, command)
            _show_dry_run(config, base, options, origin=origin, stages=stages, notes=notes)
            return
        for note in () if options.quiet else notes:
            print(plain(f"note: {note}"), file=sys.stderr)
        result = runs.run(
            config, out=options.out, stages=stages, start_from=start, quiet=options.quiet
        )
    if options.json:
        print(json.dumps(result.summary, indent=1))
    elif not options.quiet:
        show(verdict(result.summary, result.folder))


def print_help(config, arguments: list[str], command: str) -> None:
    """Prints the flags that the configuration's algorithm uses, and ends."""
    from moore.cli.shown import without_unused

    shown = without_unused(config)
    cls = options_of(command, type(shown))
    cls.__doc__ += (
        f"\n\nThese are the flags of {config.algorithm}. moore {command} --algorithm NAME --help "
        "shows those of another algorithm; docs/algorithms.md lists the names."
    )
    parse(cls, arguments, command, cls(config=shown))


def _refuse_both(arguments: list[str]) -> None:
    """Refuses a short flag beside the long one of the same setting, which would be ignored."""
    given = flags(arguments)
    for name in ("scheme", "alpha"):
        if {name, f"online.{name}"} <= set(given):
            raise InputError(f"--{name} and --online.{name} are one setting; give one of them.")
    scheme = value_of(arguments, "--scheme") or value_of(arguments, "--online.scheme") or "moore"
    if {"alpha", "online.alpha"} & set(given) and scheme != "moore":
        raise InputError(
            f"--alpha belongs to the scheme moore, and {scheme} would not use it; give "
            "--scheme moore with it, or leave it out."
        )


def _base_config(first: str | None, rest: list[str], command: str):
    """The configuration that the flags change: a preset, a file, or that of another run."""
    from moore.config import read_toml
    from moore.presets import preset
    from moore.runs.folder import check_is_there
    from moore.runs.mirror import brought

    if command == "online":
        if first is not None:
            raise InputError(
                f"moore online begins from a run, not from a preset: moore online --from {first}, "
                "if that is the folder of one."
            )
        source = value_of(rest, "--from")
        if not source:
            return preset("quickstart")
        settings = brought(source) / "config.toml"
        check_is_there(settings)
        return read_toml(settings)
    if first is not None and first.endswith(".toml"):
        return read_toml(Path(first))
    if first is not None and (Path(first) / "config.toml").is_file():
        raise InputError(
            f"{first} is the folder of a run. To go on with it: moore {command} --resume {first}; "
            f"for another run with its settings: moore {command} {Path(first) / 'config.toml'}."
        )
    if first is not None and is_log(first):
        raise InputError(
            f"{first} is a log, and no preset: moore {command} plant --dataset {first}."
        )
    return preset(first or "quickstart", algorithm=value_of(rest, "--algorithm"))


def _origin(first: str | None, rest: list[str], command: str) -> str:
    """What `_base_config` is, in words."""
    if command == "online":
        return f"the run {value_of(rest, '--from')}"
    if first is not None and first.endswith(".toml"):
        return first
    algorithm = value_of(rest, "--algorithm")
    return f"the preset {first or 'quickstart'}" + (f" for {algorithm}" if algorithm else "")


def _idle(arguments: list[str], config) -> list[str]:
    """Notes on flags of settings that another setting has turned off."""
    from moore.runs.idle import idle_settings

    idle, notes = idle_settings(config), []
    for flag in flags(arguments):
        if (path := flag.replace("-", "_")) in idle:
            notes.append(f"--{flag} changes nothing, because {idle[path]}.")
    return notes


def _unused(arguments: list[str], config) -> list[str]:
    """A note on flags of sections that the algorithm does not use: they would change nothing."""
    from moore.runs.sections import run_dict, unused_sections

    unused = unused_sections(config)
    given = [
        f"--{flag}"
        for flag in flags(arguments)
        if "." in flag and flag.partition(".")[0].replace("-", "_") in unused
    ]
    if not given:
        return []
    used = [name for name, value in run_dict(config).items() if isinstance(value, dict)]
    change = "changes" if len(given) == 1 else "change"
    return [
        f"{', '.join(given)} {change} nothing, because {config.algorithm} has other settings: "
        f"those of {', '.join(used)}."
    ]


def _show_dry_run(
    config, base, options, *, origin: str, stages: "Stages", notes: Sequence[str]
) -> None:
    import time

    from moore.cli.dry_run import dry_facts, dry_text
    from moore.planning.estimate import estimate_prepared
    from moore.runs.beginning import get_ready
    from moore.sinks.json_lines import jsonable

    start, begin = getattr(options, "from_", None), time.perf_counter()
    ready = get_ready(config, out=options.out, stages=stages, start_from=start)
    if not (options.quiet or options.json):
        print("measuring time and memory on a small copy of the run ...", file=sys.stderr)
    takes = estimate_prepared(ready.setup, stages, begin)
    facts = dry_facts(ready, base, origin=origin, stages=stages, takes=takes)
    facts["notes"] += notes
    show(json.dumps(jsonable(facts), indent=1) if options.json else dry_text(ready, facts, takes))


def check_algorithm(old: str, new: str) -> None:
    """Refuses an algorithm that needs settings which the run or the file does not have."""
    from moore.algorithms import find
    from moore.presets import relabels

    find(new)
    if new != old and not relabels(old, new):
        raise InputError(
            f"--algorithm {new}: these settings are made for {old}. Begin from a preset (moore run "
            f"PRESET --algorithm {new}), or run both in a sweep, which shares their offline stages "
            "where it can."
        )


# Settings that may change when a run is continued.
_HONOURED = (
    "resume", "dataset", "env-id", "online.epochs", "online.max-bad-readings", "checkpoint-every",
    "track", "tensorboard", "json", "quiet",
)  # fmt: skip


def _resume(options, preset: str | None, arguments: list[str]):
    from moore.runs.run import resume

    given = flags(arguments)
    ignored = [f"'{preset}'"] if preset else []
    ignored += [f"--{flag}" for flag in given if flag.removeprefix("no-") not in _HONOURED]
    if ignored:
        raise InputError(
            f"{ignored[0]}: {options.resume} goes on with its own settings. With --resume only "
            f"{', '.join(f'--{name}' for name in _HONOURED[1:])} can be given; for other settings "
            "begin another run."
        )
    config = options.config
    changes = {
        "epochs": config.online.epochs if "online.epochs" in given else None,
        "max_bad_readings": config.online.max_bad_readings
        if "online.max-bad-readings" in given
        else None,
        "checkpoint_every": config.checkpoint_every if "checkpoint-every" in given else None,
        "track": config.track if "track" in given else None,
        "tensorboard": config.tensorboard
        if {"tensorboard", "no-tensorboard"} & set(given)
        else None,
    }
    return resume(
        options.resume,
        dataset=value_of(arguments, "--dataset"),
        env=value_of(arguments, "--env-id"),
        quiet=options.quiet,
        **changes,
    )
