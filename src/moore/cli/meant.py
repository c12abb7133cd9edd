"""What was probably meant by a command or a flag that there is not."""

import dataclasses
import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

# What people and other programs call a flag, and how it is called here; a command may have neither.
_CALLED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("env", "env-name", "environment"), ("env-id",)),
    **dict.fromkeys(("log", "logs", "data", "input", "file", "csv"), ("dataset", "log")),
    **dict.fromkeys(("dataset", "datasets"), ("log", "dataset")),
    **dict.fromkeys(
        ("output", "output-dir", "out-dir", "outdir", "log-dir", "logdir", "save-dir", "folder"),
        ("out", "html"),
    ),
    "out": ("html",),
    "assess html": ("out",),  # of this command alone; others make a page of another kind
    "gamma": ("discount",),
    "lr": ("learning-rate",),
    "lambda": ("penalty-coef",),
    **dict.fromkeys(("algo", "agent", "method"), ("algorithm",)),
    **dict.fromkeys(("num-epochs", "n-epochs", "iterations"), ("epochs",)),
    **dict.fromkeys(("steps", "timesteps", "total-steps", "total-timesteps"), ("steps", "epochs")),
    **dict.fromkeys(("num-episodes", "n-episodes", "episode"), ("episodes",)),
    **dict.fromkeys(("continue", "restart", "checkpoint"), ("resume",)),
    **dict.fromkeys(("dryrun", "check"), ("dry-run",)),
    **dict.fromkeys(("silent", "verbose"), ("quiet",)),
    "config": ("columns",),
}
_DEVICES = ("device", "gpu", "gpus", "cpu", "cuda")
_PRESETS = ("preset", "presets", "config")
# What people and other programs call a command.
_COMMANDS = {
    **dict.fromkeys(("train", "fit", "learn", "start"), "moore run"),
    **dict.fromkeys(("resume", "continue"), "moore run --resume RUN"),
    **dict.fromkeys(("test", "play", "enjoy", "predict", "act"), "moore evaluate RUN"),
    **dict.fromkeys(("plot", "show", "view", "html"), "moore report RUN"),
    **dict.fromkeys(("check", "describe", "info", "load"), "moore inspect LOG"),
    **dict.fromkeys(("deploy", "onnx"), "moore export RUN"),
    **dict.fromkeys(("presets", "algorithms", "list"), "moore run --help"),
}
_LOGS = (".hdf5", ".h5", ".npz", ".csv", ".parquet", ".mat", ".rows")


def is_log(word: str) -> bool:
    """Whether a word is the name of a log, as far as its form tells."""
    return word.startswith(("minari:", "builtin:")) or Path(word).suffix in _LOGS


def meant_command(word: str) -> str:
    """The question after another command, or an empty text."""
    if is_log(word):
        return f"; did you mean 'moore inspect {word}', or 'moore run plant --dataset {word}'?"
    from moore.presets import preset_names

    meant = f"moore run {word}" if word in preset_names() else _COMMANDS.get(word.lower())
    return f"; did you mean '{meant}'?" if meant else ""


def flags_of(options: type, before: str = "") -> dict[str, Any]:
    """The flags of a command without their hyphens, with the types of their values.

    Args:
        options: the dataclass of the command's options; sections are fields that are dataclasses.
        before: the names of the sections around it, each with a point after it.
    """
    found: dict[str, Any] = {}
    for name, kind, _ in named_fields(options):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            found |= flags_of(kind, f"{before}{name}." if name else before)
        else:
            found[before + name] = kind
    return found


def named_fields(options: type) -> Iterator[tuple[str, Any, dataclasses.Field]]:
    """Each field with its name on the command line, empty for a section without one; its type."""
    hints = get_type_hints(options, include_extras=True)
    for item in dataclasses.fields(options):
        marks = getattr(hints[item.name], "__metadata__", ())
        kind = hints[item.name].__origin__ if marks else hints[item.name]
        names = (mark.name for mark in marks if getattr(mark, "name", None) is not None)
        yield next(names, item.name.replace("_", "-")), kind, item


def no_such_flag(flag: str, command: str, own: Mapping[str, Any]) -> str:
    """What to say of a flag that a command does not have.

    Args:
        flag: as it was given, with its hyphens.
        command: the command's name, such as run.
        own: the flags that this command has and that are of use, as `flags_of` gives them.
    """
    name = flag.lstrip("-").replace("_", "-")
    told = f"there is no flag {flag}"
    if command in ("run", "offline") and name in _PRESETS:
        return f"{told}; a preset or a config.toml is the first word: moore {command} plant."
    if command in ("run", "offline", "online") and name in _DEVICES:
        return f"{told}; JAX chooses the device, unless the variable JAX_PLATFORMS=cpu names it."
    if command == "sweep" and name in dict(_flags_of_others(command))["run"]:
        return f"{told}; in a sweep a setting is given as --set {name.replace('-', '_')}=VALUE."
    called = (name, *_CALLED.get(name, ()), *_CALLED.get(f"{command} {name}", ()))
    if same := _of_names(called, own):
        return f"{told}; did you mean {_listed(same, 'or')}?"
    near = [f"--{flag}" for flag in difflib.get_close_matches(name, [*own], n=1, cutoff=0.75)]
    others = [f"moore {other}" for other, flags in _flags_of_others(command) if name in flags]
    elsewhere = f"{_listed(others, 'and')} {'have' if others[1:] else 'has'}" if others else ""
    if len(others) > 3:  # then it says nothing of what was meant
        elsewhere = ""
    if near:
        return f"{told}; did you mean {near[0]}?" + (f" {elsewhere} {flag}." if elsewhere else "")
    return f"{told} here; {elsewhere} it." if elsewhere else f"{told}."


def _of_names(names: Collection[str], own: Iterable[str]) -> list[str]:
    """The flags of one of these names, else those with such a name in a section; at most four."""
    same = [flag for flag in own if flag in names]
    same = same or [flag for flag in own if flag.rpartition(".")[2] in names]
    return [f"--{flag}" for flag in same] if len(same) <= 4 else []


def _flags_of_others(command: str) -> Iterator[tuple[str, dict[str, Any]]]:
    from moore.cli.completion import options_of_commands

    for other, options in options_of_commands().items():
        if other != command:
            yield other, flags_of(options)


def _listed(words: list[str], link: str) -> str:
    *first, last = words
    return f"{', '.join(first)} {link} {last}" if first else last
