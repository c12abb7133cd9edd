"""The command `moore completion`: lets a shell complete commands and flags."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from moore.cli import (
    assess,
    collect,
    compare,
    convert,
    doctor,
    evaluate,
    export,
    logs,
    plan,
    report,
    reproduce,
    serve,
    sweep,
    theory,
    train,
    watch,
)
from moore.cli.field_help import explain
from moore.cli.parse import example, with_target
from moore.console import show
from moore.errors import InputError, unknown
from moore.files import write_whole

SHELLS = ("bash", "zsh", "tcsh")


@example("moore completion bash --out ~/.local/share/bash-completion/completions/moore")
@dataclass(frozen=True)
class CompletionOptions:
    """Prints the script with which a shell (bash, zsh or tcsh) completes these commands.

    Pressing Tab then completes the commands, their flags, and a value where the help of its flag
    lists all values. For tcsh the package shtab is needed.

    Attributes:
        out: file to write the script to instead.
    """

    out: Path | None = None


def options_of_commands() -> dict[str, type]:
    """By command, the class of its options."""
    return {
        **{name: train.options_of(name) for name in ("run", "offline", "online")},
        "evaluate": evaluate.EvaluateOptions,
        "assess": assess.AssessOptions,
        "export": export.ExportOptions,
        "serve": serve.ServeOptions,
        "watch": watch.WatchOptions,
        "report": report.ReportOptions,
        "sweep": sweep.options_class(),
        "compare": compare.CompareOptions,
        "reproduce": reproduce.ReproduceOptions,
        "collect": collect.options_class(),
        "inspect": logs.InspectOptions,
        "convert": convert.ConvertOptions,
        "plan": plan.PlanOptions,
        "preview": evaluate.PreviewOptions,
        "doctor": doctor.DoctorOptions,
        "completion": CompletionOptions,
        "theory": theory.TheoryOptions,
    }


def print_completion(arguments: list[str]) -> None:
    shell, options = with_target(CompletionOptions, arguments, "completion", "SHELL")
    if shell not in SHELLS:
        raise unknown("shell", shell, SHELLS)
    script = completion_script(shell)
    if options.out is None:
        print(script)
    else:
        write_whole(options.out, script)
        show(f"{options.out}: a new shell completes moore, if it reads this file.")


def completion_script(shell: str) -> str:
    """The script for a shell of `SHELLS`; tyro makes it from the options of all commands.

    Raises:
        InputError: the package is missing with which tyro makes the script of tcsh.
    """
    from tyro.extras import subcommand_cli_from_dict

    commands = options_of_commands()
    for options in commands.values():
        explain(options)
    script = io.StringIO()
    arguments = ["--tyro-print-completion", shell]
    try:
        with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
            subcommand_cli_from_dict({**commands}, prog="moore", args=arguments)
    except ImportError:
        raise InputError(
            f"completion in {shell} needs the package shtab: pip install shtab"
        ) from None
    return script.getvalue().rstrip()
