"""Recording that survives a kill: finished episodes are on disk, and a second call continues."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from moore.envs.adapter import Adapter
from moore.envs.recorder import Act, record_episodes
from moore.files import write_whole, writing
from moore.formats.npz import UNREADABLE
from moore.sinks.console import Reporter

# Rows on disk at a time: a few seconds of work.
CHUNK = 20_000
_MANIFEST = "recipe.json"
_COLUMNS = {"obs", "action", "reward", "next_obs", "terminated", "truncated"}


def record_in_chunks(
    env: Adapter,
    act: Act,
    *,
    steps: int,
    run_seed: int,
    purpose: str,
    scratch: Path,
    identity: dict,
    report: Reporter,
) -> dict[str, np.ndarray]:
    """Records whole episodes and returns their first `steps` rows.

    Args:
        env, act, run_seed, purpose: as in `record_episodes`.
        steps: number of rows.
        scratch: folder for the rows recorded so far; removed at the end.
        identity: JSON-able description of the recording; rows of a different one are not reused.
        report: shows the progress.

    Returns:
        The arrays of `record_episodes`, (steps, ...) each.
    """
    chunks = _begin(scratch, identity, report)
    row = sum(len(chunk["reward"]) for chunk in chunks)
    episode = sum(int((chunk["terminated"] | chunk["truncated"]).sum()) for chunk in chunks)
    report.start("recorded", steps, min(row, steps))
    if row < steps:
        episodes = record_episodes(
            env, act, run_seed=run_seed, purpose=purpose, episode=episode, row=row
        )
        for chunk in _in_chunks(episodes, steps - row):
            _save(scratch / _name(len(chunks)), chunk)
            chunks.append(chunk)
            row += len(chunk["reward"])
            ends = chunk["terminated"] | chunk["truncated"]
            mean = chunk["reward"].sum() / max(ends.sum(), 1)
            report.advance(min(row, steps), f"mean return {mean:.1f}")
    report.stop()
    return {key: np.concatenate([chunk[key] for chunk in chunks])[:steps] for key in chunks[0]}


def _in_chunks(episodes: Iterator[dict], rows: int) -> Iterator[dict[str, np.ndarray]]:
    """Joins episodes until they have CHUNK rows, or all the rows that are wanted."""
    waiting, size = [], 0
    for episode in episodes:
        waiting.append(episode)
        size += len(episode["reward"])
        if size >= min(CHUNK, rows):
            yield {key: np.concatenate([e[key] for e in waiting]) for key in waiting[0]}
            rows -= size
            waiting, size = [], 0
            if rows <= 0:
                return


def _begin(scratch: Path, identity: dict, report: Reporter) -> list[dict[str, np.ndarray]]:
    """The chunks that an earlier call with the same identity has recorded.

    A damaged chunk is recorded anew, and so are all chunks after it.
    """
    text = json.dumps(identity, sort_keys=True)
    manifest = scratch / _MANIFEST
    if _content(manifest) != text:
        with writing(scratch):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
        write_whole(manifest, text)
    chunks: list[dict[str, np.ndarray]] = []
    for path in sorted(scratch.glob("*.npz")):
        chunk = _load(path)
        if chunk is None or path.name != _name(len(chunks)):
            report.say(f"{path} is damaged: from there on it is recorded anew.")
            break
        chunks.append(chunk)
    with writing(scratch):
        for path in sorted(scratch.glob("*.npz"))[len(chunks) :]:
            path.unlink()
    return chunks


def begun_with(scratch: Path, recipe: dict) -> bool:
    """Whether the folder holds rows of an earlier call with this recipe."""
    try:
        identity = json.loads(_content(scratch / _MANIFEST))
        return {name: identity[name] for name in recipe} == json.loads(json.dumps(recipe))
    except (ValueError, KeyError, TypeError):
        return False


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _load(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a chunk, each with one entry a row; None if the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            chunk = dict(archive)  # the archive has checksums
        sizes = {len(array) for array in chunk.values()}
    except UNREADABLE:
        return None
    return chunk if chunk.keys() >= _COLUMNS and len(sizes) == 1 else None


def _name(number: int) -> str:
    return f"{number:06d}.npz"


def _save(path: Path, chunk: dict[str, np.ndarray]) -> None:
    partial = path.with_suffix(".partial")
    with writing(path, ", then give the same command"):
        with open(partial, "wb") as file:
            np.savez(file, **chunk)  # type: ignore[arg-type] # its stub takes a name for `allow_pickle`
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
