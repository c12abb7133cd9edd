"""Builds a release and tries it out; uploads nothing.

    python tools/release.py              # checks version, changelog and citation, builds, tries
    python tools/release.py --rehearse   # the same before the release has a date

Needs `pip install -e ".[release]"`. The wheel is installed into a fresh environment, far from the
sources, where `moore doctor` must find no problem. What is left to do by hand is printed at the
end.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)
_HEADING = re.compile(r"^## (\S+) \(([^)]+)\)", re.MULTILINE)
_CITED = re.compile(r"^version: (\S+)", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def version_of(root: Path) -> str:
    """The version in the sources."""
    return _VERSION.search((root / "src/moore/version.py").read_text(encoding="utf-8"))[1]


def problems(root: Path, *, rehearsal: bool) -> list[str]:
    """What speaks against a release of these files, as sentences.

    Args:
        root: folder of the repository.
        rehearsal: the release has no date yet, and the repository no public address.
    """
    version, found = version_of(root), []
    name, date = _HEADING.search((root / "CHANGELOG.md").read_text(encoding="utf-8")).groups()
    if name != version:
        found.append(f"CHANGELOG.md begins with {name}, but version.py says {version}.")
    if not rehearsal and not _DATE.fullmatch(date):
        found.append(f"CHANGELOG.md says '{date}' where the date of the release belongs.")
    cited = _CITED.search((root / "CITATION.cff").read_text(encoding="utf-8"))[1]
    if cited != version:
        found.append(f"CITATION.cff says version {cited}, but version.py says {version}.")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if not rehearsal and "Source" not in project.get("urls", {}):
        found.append("pyproject.toml has no address of the repository ([project.urls] Source).")
    return found


def build(root: Path, out: Path) -> Path:
    """Builds and checks both archives of the package; returns the wheel."""
    _call(sys.executable, "-m", "build", "--outdir", out, root)
    _call(sys.executable, "-m", "twine", "check", "--strict", *sorted(out.iterdir()))
    return next(out.glob("*.whl"))


def try_out(wheel: Path, version: str) -> None:
    """Installs the wheel into a fresh environment, and looks whether it works there."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        programs = Path(folder) / ("Scripts" if os.name == "nt" else "bin")
        _call(programs / "python", "-m", "pip", "install", "-q", wheel, at=folder)
        _call(programs / "moore", "doctor", at=folder)
        told = _call(programs / "moore", "--version", at=folder, quiet=True)
        if told != f"moore {version}":
            raise SystemExit(f"the wheel says '{told}', not 'moore {version}'.")


def _call(*command: object, at: str | Path = ROOT, quiet: bool = False) -> str:
    """Runs a program without the sources on its path; stops if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [*map(str, command)], cwd=at, env=environment, text=True,
        stdout=subprocess.PIPE if quiet else None,
    )  # fmt: skip
    if result.returncode:
        raise SystemExit(f"{Path(str(command[0])).name} failed with status {result.returncode}.")
    return (result.stdout or "").strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="before the release has a date")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the archives")
    options = parser.parse_args()
    if found := problems(ROOT, rehearsal=options.rehearse):
        print("\n".join(found), file=sys.stderr)
        return 1
    if options.out.exists() and any(options.out.iterdir()):
        print(f"{options.out} is not empty; give another --out.", file=sys.stderr)
        return 1
    version = version_of(ROOT)
    try_out(build(ROOT, options.out), version)
    print(
        f"moore {version} is built in {options.out}, and works. To publish it: run .ci/run, tag "
        f"the commit v{version}, then: python -m twine upload {options.out}/*"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
