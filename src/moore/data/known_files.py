"""Public files that are recognised by their hash: D4RL's MuJoCo logs, with reported faults."""

import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from moore.evaluation.scores import ReferenceScores


@dataclass(frozen=True)
class KnownFile:
    """A public file, such as hopper-medium-v2."""

    name: str
    sha256: str
    bytes: int
    env_id: str  # of the environment that is closest to the one recorded
    reference: ReferenceScores
    faults: tuple[str, ...]  # each with the public thread that reports it


@cache
def d4rl_files() -> Mapping[str, KnownFile]:
    """The 24 files of HalfCheetah, Hopper and Walker2d, versions 0 and 2, by their SHA-256."""
    source = resources.files("moore.data").joinpath("d4rl_files.json").read_text(encoding="utf-8")
    table = json.loads(source)
    known = {}
    for file in table["files"]:
        env = table["environments"][file["name"].split("-")[0]]
        scores = ReferenceScores(env["ref_min_score"], env["ref_max_score"], source="D4RL infos.py")
        match = (f["text"] for f in table["faults"] if fnmatch.fnmatch(file["name"], f["files"]))
        known[file["sha256"]] = KnownFile(
            **file, env_id=env["recommended"], reference=scores, faults=tuple(match)
        )
    return known


def recognise(
    hashes: list[str], known: Mapping[str, KnownFile] | None = None
) -> list[KnownFile | None]:
    """The known file for each SHA-256; None if there is none."""
    known = d4rl_files() if known is None else known
    return [known.get(str(sha256)) for sha256 in hashes]


def closest_env(env_id: str) -> str:
    """The id that still runs for a MuJoCo task of gym's v1 to v3: its v4; any other id as it is."""
    return re.sub(r"^(Ant|HalfCheetah|Hopper|Humanoid|Swimmer|Walker2d)-v[123]$", r"\1-v4", env_id)
