"""The command `moore doctor`: looks at this machine and the installation."""

import importlib.metadata
import json
import os
import platform
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from moore.cli.parse import example, parse
from moore.console import show
from moore.files import whole_path

# Extras for those who change this package, or that only choose another build of JAX.
_NOT_FOR_USERS = ("dev", "docs", "release", "systems", "cuda12", "cuda13")


@example("moore doctor --json")
@dataclass(frozen=True)
class DoctorOptions:
    """Checks the installation, and prints what belongs in a bug report.

    It looks at versions, devices, memory, threads, write access and optional extras, and lets JAX
    compute something. It ends with status 1 if something is wrong.

    Attributes:
        json: print it for machines.
    """

    json: bool = False


def check_installation(arguments: list[str]) -> None:
    options = parse(DoctorOptions, arguments, "doctor")
    found = examined(whole_path("."))
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(_text(found))
    if found["problems"]:
        raise SystemExit(1)


def examined(folder: Path) -> dict:
    """Facts about the installation, for JSON.

    Returns:
        `versions`, `platform`, `hardware`, `environment` (the variables that steer JAX and its
        threads), `folder` and `writable`, `extras` (for each, the packages that are missing), and
        `problems`, as sentences.
    """
    from moore.runs.summary import hardware, versions

    writable = _is_writable(folder)
    problems: list[str] = []
    found = {
        "versions": versions(),
        "platform": platform.platform(),
        "hardware": hardware(),
        "environment": {name: os.environ[name] for name in sorted(os.environ) if _steers(name)},
        "folder": str(folder),
        "writable": writable,
        "extras": missing_of_extras(),
        "problems": problems,
    }
    if not writable:
        problems.append(f"Nothing can be written to {folder}; runs need --out elsewhere.")
    if trouble := _of_jax():
        problems.append(trouble)
    return found


def _steers(name: str) -> bool:
    return name.startswith(("JAX_", "XLA_", "OMP_", "CUDA_VISIBLE", "MUJOCO_"))


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _of_jax() -> str:
    """What is wrong with JAX, as a sentence; empty if a small product comes out right."""
    import jax.numpy as jnp

    try:
        right = float(jnp.ones((64, 64)).dot(jnp.ones((64, 64))).sum()) == 64.0**3
    except Exception as error:  # whatever a driver raises
        return f"JAX cannot compute: {' '.join(str(error).split())[:300]}."
    return "" if right else "JAX computes a wrong product; try JAX_PLATFORMS=cpu."


def missing_of_extras() -> dict[str, list[str]]:
    """The packages of each optional extra that are not installed."""
    from moore.runs.summary import installed

    try:
        needed = importlib.metadata.requires("moore-rl") or []
    except importlib.metadata.PackageNotFoundError:  # on the path, without metadata
        return {}
    found: dict[str, list[str]] = {}
    for line in needed:
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if extra and name and extra[1] not in _NOT_FOR_USERS:
            missing = found.setdefault(extra[1], [])
            if installed(name[0]) is None:
                missing.append(name[0])
    return found


def _text(found: dict) -> str:
    hardware = found["hardware"]
    lines = [f"{name} {version}" for name, version in found["versions"].items()]
    memory = hardware["memory_gib"]
    lines += [
        f"platform: {found['platform']}",
        f"processor: {hardware['processor']}, {hardware['cores']} cores"
        + ("" if memory is None else f", {memory} GiB"),
        f"devices of JAX: {', '.join(hardware['devices'])}",
        *(f"{name}={value}" for name, value in found["environment"].items()),
    ]
    for extra, missing in found["extras"].items():
        how = f'missing; pip install "moore-rl[{extra}]"' if missing else "installed"
        lines.append(f"extra {extra}: {how}")
    problems = [f"problem: {sentence}" for sentence in found["problems"]]
    return "\n".join(lines + (problems or ["No problem was found."]))
