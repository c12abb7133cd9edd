"""Names of logs as users write them: paths with `~`, several logs joined by commas."""

import os
from pathlib import Path


def split_names(text: str) -> list[str]:
    """The logs that commas join; a path that exists is one log, even if it contains commas.

    The longest run of parts that exists is taken, so `a,b/log.npz,c.npz` are two logs if `a,b` is
    a folder.
    """
    parts, names = text.split(","), []
    while parts:
        for count in range(len(parts), 1, -1):
            joined = ",".join(parts[:count])
            if any(_exists(name) for name in (joined, joined.strip())):
                break
        else:
            count, joined = 1, parts[0]
        names.append(joined if _exists(joined) else joined.strip())
        parts = parts[count:]
    return names


def at_home(path: str | Path) -> Path:
    """The path with `~` expanded to the home folder; unchanged if no home is known."""
    return Path(os.path.expanduser(path))


def _exists(name: str) -> bool:
    try:
        return at_home(name).exists()
    except (OSError, ValueError):  # a name too long, or with a null
        return False
