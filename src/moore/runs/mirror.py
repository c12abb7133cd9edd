"""Run folders in an object store or another place that fsspec knows, such as s3://bucket/runs/a.

A run works in a folder of this machine, and copies what has changed to the store after each
checkpoint, so that it can go on on any machine. `Mirror.pull` brings it there.

A store replaces one object in one step, but no folder. So files are sent in an order in which
whoever reads in between finds a whole state: metrics, then checkpoints, of each its manifest last,
which holds the hash of its arrays; the summary; and what was deleted. If sending is cut short, the
newest checkpoint there does not match its manifest or is missing, and the run goes on from the one
before. A store has no locks: that no two processes go on with one run is left to the user.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from moore.errors import InputError, WriteError
from moore.files import locked

# Where the working folders lie, if the environment variable does not say it.
_HOME, _VARIABLE = "~/.cache/moore/mirrors", "MOORE_MIRRORS"
# Of a finished or begun run, what tells whose it is.
_FACTS = ("summary.json", "config.toml", "checkpoints/plan.json")


def is_url(place: str | Path | None) -> bool:
    """Whether a place is in a store, written as protocol://path."""
    return isinstance(place, str) and "://" in place


def working_folder(place: str | Path) -> Path:
    """The folder of this machine for a place: a path is its own, a URL has one of its own."""
    if not is_url(place):
        return Path(place)
    url = str(place).rstrip("/")
    home = Path(os.path.expanduser(os.environ.get(_VARIABLE) or _HOME))
    return home.absolute() / hashlib.sha256(url.encode()).hexdigest()[:16] / url.rsplit("/", 1)[-1]


def brought(place: str | Path) -> Path:
    """The folder of this machine for a place; a run in a store is brought there."""
    return Mirror(str(place)).pull() if is_url(place) else Path(place)


def facts_of(place: str | Path) -> Path:
    """A folder with the small files that say whose run it is, and whether it is done."""
    return Mirror(str(place)).pull_facts() if is_url(place) else Path(place)


class Mirror:
    """The copy of a run folder in a store.

    Args:
        url: where it is.

    Raises:
        InputError: fsspec or what it needs for this protocol is not installed, or does not know it.
    """

    def __init__(self, url: str):
        try:
            import fsspec
        except ImportError:
            raise InputError(
                f'{url}: a run in a store needs fsspec: pip install "moore-rl[remote]".'
            ) from None
        try:
            self._store, self._root = fsspec.core.url_to_fs(url.rstrip("/"))
        except (ImportError, ValueError) as error:
            raise InputError(f"{url}: cannot be opened ({error}).") from None
        self.url, self.folder = url, working_folder(url)
        self._sent: dict[str, tuple[int, int]] = {}

    def push(self) -> None:
        """Copies what has changed since the last call, and deletes what was copied and is gone.

        Raises:
            WriteError: the store refuses; the run's own folder is whole.
        """
        there = {name: _stamp(self.folder / name) for name in _files(self.folder)}
        changed = [name for name in there if self._sent.get(name) != there[name]]
        try:
            for name in sorted(changed, key=_turn):
                self._store.makedirs(_parent(self._place(name)), exist_ok=True)
                self._store.put_file(str(self.folder / name), self._place(name))
            for name in self._sent.keys() - there.keys():
                with contextlib.suppress(FileNotFoundError):
                    self._store.rm_file(self._place(name))
        except Exception as error:  # each store has errors of its own
            raise WriteError(
                f"{self.url} cannot be written ({_told(error)}); the run is whole in {self.folder}."
            ) from None
        self._sent = there

    def pull(self) -> Path:
        """Makes the working folder what the store holds, and returns it.

        Raises:
            InputError: the store cannot be read, or a process works in the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            names = self._bring(self.folder, lambda name: True)
        if not names:  # a folder for a new run
            shutil.rmtree(self.folder, ignore_errors=True)
        self._sent = {name: _stamp(self.folder / name) for name in names}
        return self.folder

    def pull_facts(self) -> Path:
        """Brings only what `facts_of` needs, into another folder, which it returns."""
        folder = self.folder.parent / "facts"
        self._bring(folder, lambda name: name in _FACTS)
        return folder

    def _bring(self, folder: Path, wanted: Callable[[str], bool]) -> list[str]:
        """Makes a folder what the store holds of the wanted files, and returns their names."""
        try:
            names = [name for name in self._names() if wanted(name)]
            _empty(folder)
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                self._store.get_file(self._place(name), str(folder / name))
        except Exception as error:  # each store has errors of its own
            raise InputError(f"{self.url} cannot be read ({_told(error)}).") from None
        return names

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _names(self) -> list[str]:
        """The files in the store, by their names in the folder."""
        self._store.invalidate_cache()
        if not self._store.exists(self._root):
            return []
        begin = len(self._store._strip_protocol(self._root).rstrip("/")) + 1
        return [self._store._strip_protocol(path)[begin:] for path in self._store.find(self._root)]


def _files(folder: Path) -> list[str]:
    """The files of a run folder, without those that are being written and the lock."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        kept = (Path(place, name) for name in names if not name.startswith("."))
        found += [path.relative_to(folder).as_posix() for path in kept]
    return found


def _empty(folder: Path) -> None:
    """Deletes what is in a folder, if it exists, except its lock."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _turn(name: str) -> tuple[bool, bool, bool, str]:
    """A checkpoint after the metrics that it counts on, its manifest after it; the summary last."""
    whole = name.endswith(("manifest.json", "plan.json"))
    return name == "summary.json", name.startswith("checkpoints/"), whole, name


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def _parent(place: str) -> str:
    return place.rpartition("/")[0]


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
