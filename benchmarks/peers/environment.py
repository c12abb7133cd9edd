"""The virtual environment of the peers: made once, and used again where it is there."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def python_of(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def prepare(folder: Path, wanted: dict[str, Sequence[str]], *, install: bool) -> dict[str, str]:
    """Makes the environment and installs what is missing.

    Args:
        folder: of the environment.
        wanted: library -> the requirements that pip is given for it, in the order of installation:
            the library with the strictest pins comes first. One without any is not asked for.
        install: whether anything may be installed.

    Returns:
        Library -> why it is not there, for those that are not.
    """
    wanted = {library: given for library, given in wanted.items() if given}
    if not python_of(folder).exists():
        if not install:
            return dict.fromkeys(wanted, f"not installed: there is no environment in {folder}")
        made = _call([sys.executable, "-m", "venv", str(folder)])
        if made is not None:
            return dict.fromkeys(wanted, f"not installed: {made}")
    missing = {}
    for library, requirements in wanted.items():
        if _has(folder, requirements):
            continue
        reason: str | None = "left out by --no-install"
        if install:
            print(f"installing {' '.join(requirements)}", file=sys.stderr, flush=True)
            pip = [str(python_of(folder)), "-m", "pip", "install", "--quiet"]
            reason = _call([*pip, *requirements])
        if reason is not None:
            missing[library] = f"not installed: {reason}"
    return missing


def _has(folder: Path, requirements: Sequence[str]) -> bool:
    names = [requirement.split("=")[0] for requirement in requirements]
    asked = f"import importlib.metadata as m; [m.version(name) for name in {names!r}]"
    return _call([str(python_of(folder)), "-c", asked]) is None


def _call(command: list[str]) -> str | None:
    """Runs a command; the last line of what it complained of, where it failed."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    if ended.returncode == 0:
        return None
    lines = (ended.stderr or ended.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit status {ended.returncode}"
