"""Recording that survives a kill: finished episodes go to disk, a second call starts after them."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np

from moore.data.npz import UNREADABLE
from moore.envs.record import Act, record_episodes
from moore.files import write_whole, writing
from moore.sinks.console import Reporter

# Rows on disk at a time: a few seconds of work.
CHUNK = 20_000
_MANIFEST = "recipe.json"
_COLUMNS = {"obs", "action", "reward", "next_obs", "terminated", "truncated"}


def record(
    env: gym.Env,
    act: Act,
    *,
    steps: int,
    run_seed: int,
    purpose: str,
    scratch: Path,
    identity: dict,
    report: Reporter,
) -> dict[str, np.ndarray]:
    """`steps` rows of whole episodes, the last one cut.

    Args:
        env, act, run_seed, purpose: as in `record_episodes`.
        steps: rows.
        scratch: folder for what is recorded so far; removed at the end.
        identity: JSON-able; what was recorded under another one is not used.
        report: told about the progress.

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
    """Episodes joined until they have CHUNK rows, or the rows that are wanted in all."""
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
    """The chunks of an earlier call with the same identity, after which this one goes on.

    A damaged one is recorded anew, and so are those after it.
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
    """Whether an earlier call with this recipe has left its rows there."""
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
    """The arrays of a chunk, one entry a row each; None if it is damaged."""
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
            np.savez(file, **chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
