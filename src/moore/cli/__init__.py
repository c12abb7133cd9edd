"""The command line. Each command is one function, which imports the heavy packages itself."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable

from moore.cli.assess import assess_run
from moore.cli.collect import collect_log
from moore.cli.compare import compare_runs
from moore.cli.completion import print_completion
from moore.cli.convert import convert_log
from moore.cli.doctor import check_installation
from moore.cli.evaluate import evaluate, preview_schemes
from moore.cli.export import export_policy
from moore.cli.logs import inspect_log
from moore.cli.meant import meant_command
from moore.cli.plan import plan_log
from moore.cli.report import report_runs
from moore.cli.reproduce import reproduce_figure
from moore.cli.serve import serve_session
from moore.cli.sweep import sweep_grid
from moore.cli.theory import check_theory
from moore.cli.train import train_stages
from moore.cli.watch import watch_run
from moore.compiled import settings_that_keep_programs
from moore.console import plain
from moore.errors import InputError, did_you_mean, unknown
from moore.files import trouble
from moore.runs.signals import listening
from moore.version import __version__

FIRST = """\
Learn a controller from your log, and improve it on the live system.

  moore run                            try it: two minutes, on a log that ships with the package
  moore inspect LOG                    say whether your log is sound, and what to mend
  moore run plant --dataset LOG --env-id ID --dry-run
                                       show what a run on your log would do; without --dry-run, run

`moore --help` lists all commands. `moore COMMAND --help` shows the options of one."""
USAGE = """\
usage: moore COMMAND [OPTIONS]

Learn a policy from logged data, then improve it online without a dip in its returns.

commands:
  run [PRESET]      offline stage, hand-over, online stage, report (default: quickstart)
  offline [PRESET]  only the offline stage
  online            only the online stage, from a run whose offline stage is done
  plan LOG          say what hours of computation buy on a live system
  evaluate RUN      measure the returns of a saved policy
  assess RUN        say from the log whether a saved policy may be deployed
  export RUN        write a saved policy as ONNX, StableHLO, NumPy and C, and check it
  serve RUN         give a session to control systems, by HTTP
  watch RUN         show a run while it goes on, on a page for this machine alone
  report RUN...     write the report of a run anew, or lay several runs side by side
  sweep             run a grid of settings, as processes or on Ray
  compare RUN...    compare runs: metrics over seeds, with intervals
  reproduce FIGURE  make a figure of the paper (fig1 to fig4): runs, tables and plots
  collect           make a log: random, medium, medium-replay or expert
  inspect DATASET   check a log and sum it up
  convert SOURCE    write a log as D4RL HDF5, Minari set or .npz
  preview           show the online share and the shift per epoch of sampling schemes
  doctor            check the installation, and print what belongs in a bug report
  completion SHELL  print the script with which bash, zsh or tcsh completes these commands
  theory            compute both sides of the paper's bounds, on random MDPs and counterexamples

`moore COMMAND --help` shows the options with their defaults.
example: moore run --seed 1 --out runs/first"""


def main(argv: list[str] | None = None) -> None:
    """Runs a command; exits with 0, 2 on bad input, 130 on Ctrl-C, 143 on SIGTERM."""
    arguments = sys.argv[1:] if argv is None else argv
    status = 0
    try:
        with listening():
            _dispatch(arguments)
        _flush()
    except InputError as error:
        _tell(plain(" ".join(str(error).split())))
        status = 2
    except KeyboardInterrupt as stop:
        _tell("interrupted.")
        status = getattr(stop, "status", 130)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            _tell(f"{str(error.filename)[:40]}... is a longer name than a file can have.")
            raise SystemExit(2) from None
        if not (isinstance(error, BrokenPipeError) or _output_is_lost()):
            raise
        # It is dropped, so that it cannot fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # If the reader has gone (`moore inspect ... | head`), there is nobody to tell.
        if not isinstance(error, BrokenPipeError):
            _tell(f"the output cannot be written: {trouble(error)}.")
            status = 2
    if status:
        raise SystemExit(status)


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # standard error may be a full disk, or a lost terminal
        print(f"moore: {text}", file=sys.stderr)


def _flush() -> None:
    if sys.stdout is not None:  # a service has none
        sys.stdout.flush()


def _output_is_lost() -> bool:
    """Whether nothing can be printed any more; tried out, because an OSError may be a file's."""
    try:
        sys.stdout.write("\n")
        _flush()
    except OSError:
        return True
    return False


def _dispatch(arguments: list[str]) -> None:
    if not arguments:
        print(FIRST)
        return
    _refuse_long_dashes(arguments)
    name, *rest = arguments
    if name in ("-h", "--help") or (name == "help" and not rest):
        print(USAGE)
    elif name == "help":
        _dispatch([rest[0], "--help"])
    elif name in ("--version", "version"):
        print(f"moore {__version__}")
    elif name.startswith("-"):
        near = did_you_mean(name, ("--help", "--version"))
        raise InputError(
            f"there is no flag {name}{near}"
            if near
            else f"{name} stands before the command: moore COMMAND {name}. "
            "moore --help lists the commands."
        )
    elif name not in COMMANDS:
        if meant := meant_command(name):
            raise InputError(f"unknown command '{name}'{meant} moore --help lists all commands.")
        raise unknown("command", name, COMMANDS)
    else:
        _run(name, rest)


def _refuse_long_dashes(arguments: list[str]) -> None:
    """Refuses flags whose two hyphens a word processor, or a page, has made one long dash."""
    for word in arguments:
        if word.startswith(("–", "—")):
            raise InputError(f"{word} begins with a long dash; write two hyphens: --{word[1:]}.")


def _run(name: str, arguments: list[str]) -> None:
    if arguments == ["help"]:
        arguments = ["--help"]
    foretells = name == "plan" or {"--estimate", "--dry-run"} & set(arguments)
    # JAX reads them when it is imported. What a run will cost is told with nothing compiled before.
    if "jax" not in sys.modules and not foretells:
        os.environ.update(settings_that_keep_programs())
    try:
        COMMANDS[name](arguments)
    except SystemExit as end:
        if end.code in (0, None) and not {"-h", "--help"} & set(arguments):
            raise InputError(
                "the environment (or a function that was given) ended the program itself, with "
                "exit(); it must raise an error, or end the episode, instead."
            ) from None
        raise


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "run": lambda arguments: train_stages(arguments, "run"),
    "offline": lambda arguments: train_stages(arguments, "offline"),
    "online": lambda arguments: train_stages(arguments, "online"),
    "plan": plan_log,
    "evaluate": evaluate,
    "assess": assess_run,
    "export": export_policy,
    "serve": serve_session,
    "watch": watch_run,
    "report": report_runs,
    "sweep": sweep_grid,
    "compare": compare_runs,
    "reproduce": reproduce_figure,
    "collect": collect_log,
    "inspect": inspect_log,
    "convert": convert_log,
    "preview": preview_schemes,
    "doctor": check_installation,
    "completion": print_completion,
    "theory": check_theory,
}
