"""The folder of a session: what it goes on from, and the proof that it acts as it did."""

import contextlib
import dataclasses
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import equinox as eqx
import numpy as np

from moore.agents.acting import gaussian
from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.files import replace_folder, short_path, standing, whole_path, write_whole, writing
from moore.formats.live_records import PATTERN
from moore.runs.budgeting import make_chooser
from moore.runs.checkpoint import (
    SEAL,
    Checkpoint,
    DamagedCheckpoint,
    is_sealed,
    load_checkpoint,
    newest_first,
    prune,
    read_manifest,
    save_checkpoint,
    sealed,
)
from moore.runs.policy import Policy, policy_id, save_policy
from moore.runs.reading import sized
from moore.runs.run_files import KEEP
from moore.runs.setup import Setup
from moore.sessions.start import Start, setup_of
from moore.stages.epoch import unpack_epoch
from moore.stages.online_learning import OnlineLearning
from moore.stages.trials import Trials

FORMAT = 1
_FACTS, CHECKPOINTS, LOG = "session.json", "checkpoints", "log"
_PROBES = 16
# Actions that differ by no more than this share of their range are the same: another processor
# may add float32 numbers in another order.
_SAME = 1e-5


@dataclass(frozen=True)
class SessionFacts:
    """What does not change in the life of a session.

    Attributes:
        id: tells the session from all others.
        run: the run that it started from.
        seed: seed of the noise of its actions.
        beside: settings of what stands beside the policy, as `Supervision.described` describes
            them; empty: nothing does.
    """

    id: str
    run: Path
    seed: int
    beside: dict = field(default_factory=dict)


def new_folder(out: str | Path | None, run: Path) -> Path:
    """The folder of a new session, by default sessions/{run}__{time}.

    Raises:
        InputError: there is something in it, or it cannot be made.
    """
    if out is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        name = f"{run.name}__{stamp}"
        places = (whole_path("sessions") / f"{name}{more}" for more in _numbered())
        folder = next(place for place in places if not place.exists())
    else:
        folder = whole_path(out)
    with writing(folder):  # a name may be too long
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken:
        raise InputError(
            f"{short_path(folder)} already exists and is not empty; a session is never "
            "overwritten. Choose another folder, or go on with moore.Session.resume."
        )
    with writing(folder):
        (folder / LOG).mkdir(parents=True, exist_ok=True)
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
    return folder


def _numbered() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f"-{number}"
        number += 1


def write_facts(folder: Path, run: Path, seed: int, beside: dict | None = None) -> SessionFacts:
    """Writes what does not change; from here on the folder is a session."""
    own_id = uuid.uuid4().hex
    facts: dict[str, object] = {"format": FORMAT, "id": own_id, "run": str(run), "seed": seed}
    facts["relative_run"] = os.path.relpath(run, folder)
    if beside:
        facts["beside"] = beside
    write_whole(folder / _FACTS, sealed(facts))
    return SessionFacts(own_id, run, seed, beside or {})


def read_facts(folder: Path) -> SessionFacts:
    """What does not change.

    Raises:
        InputError: the folder is no session, or the file is damaged.
    """
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        if not is_sealed(facts):
            raise ValueError("it does not match its hash")
        if facts["format"] != FORMAT:
            raise ValueError(f"its format is {facts['format']}; this version reads {FORMAT}")
        near = folder / facts["relative_run"]
        run = near.resolve() if near.is_dir() else Path(facts["run"])
        return SessionFacts(facts["id"], run, int(facts["seed"]), facts.get("beside", {}))
    except FileNotFoundError:
        is_run = (folder / "config.toml").is_file()
        hint = " It is a run; begin a session with moore.Session.from_run." if is_run else ""
        raise InputError(f"{short_path(folder)} is no session: it has no {_FACTS}.{hint}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{folder / _FACTS} cannot be used: {error}.") from None


def save_state(
    folder: Path, number: int, setup: Setup, learning: OnlineLearning, policy: Policy, info: dict
) -> None:
    """Saves everything that was learned, with the actions of the acting policy as a proof.

    Raises:
        InputError: the disk refuses; the checkpoint before is intact.
    """
    facts, measured = learning.epoch.pack()
    choice, policies = learning.chooser.pack()
    obs = _probes(setup)
    log = setup.dataset
    info = info | {
        "epoch": facts,
        "choice": choice,
        "verdict": learning.verdict,
        "epochs": learning.learner.config.online.epochs,
        "policy": policy_id(policy),
        "dataset_sha256": "" if log is None else log.sha256,
    }
    arrays = measured | policies | {"probe_obs": obs, "probe_action": _actions(policy, obs)}
    name = f"session-epoch-{number:09d}"
    save_checkpoint(folder / CHECKPOINTS, name, learning.state, arrays=arrays, info=info)
    kept = [path.name for path in newest_first(folder / CHECKPOINTS)[:KEEP]]
    prune(folder / CHECKPOINTS, keep=kept)
    save_policy(folder / "policy", policy)


def _probes(setup: Setup) -> np.ndarray:
    """Observations in which the policy proves itself: rows of the log, or small numbers."""
    if setup.dataset is None:
        rng = np.random.default_rng(0)
        return rng.normal(size=(_PROBES, setup.world.obs_dim)).astype(np.float32)
    rows = np.linspace(0, setup.dataset.size - 1, _PROBES).astype(int)
    return setup.dataset.obs[rows]


def _actions(policy: Policy, obs: np.ndarray) -> np.ndarray:
    """(rows, 2 action): the actions without noise, and the deviations of the noise."""
    found = gaussian(policy.weights, policy.units.obs_in(obs))
    mode = policy(obs)
    std = np.broadcast_to(found.std, mode.shape)
    return np.concatenate([mode, std], axis=1).astype(np.float32)


def load(
    folder: Path, facts: SessionFacts, run: Path | None, dataset: Dataset | str | Path | None
) -> tuple[Start, Checkpoint]:
    """The newest state that is undamaged.

    Raises:
        InputError: there is none, the run or its log is another one, or the restored policy gives
            other actions than the ones that were stored.
    """
    setup = setup_of(facts.run if run is None else run, dataset)
    why = ""
    for path in newest_first(folder / CHECKPOINTS):
        try:
            found = _load(setup, path)
        except DamagedCheckpoint as damage:
            why = why or str(damage)
            continue
        if why:
            warnings.warn(
                f"{short_path(folder)}: its newest saved state is damaged ({why}), so the session "
                "goes on from the one before. No step is lost; what was learned since is.",
                stacklevel=4,
            )
        learner = sized(setup.learner, found.info["epochs"])
        setup = dataclasses.replace(setup, learner=learner)
        chooser = make_chooser(setup, found.state, found.info["choice"], found.arrays)
        epoch = unpack_epoch(found.info["epoch"], found.arrays)
        learning = OnlineLearning(learner, found.state, chooser, epoch=epoch)
        learning.verdict = found.info["verdict"]
        if isinstance(chooser, Trials):  # `turn` would plan the next episode
            acting = chooser.decided
        else:
            acting = chooser.turn(found.state).policy()
        _prove(folder, setup.policy(acting), found)
        return Start(setup, learning), found
    raise InputError(
        f"no checkpoint of {short_path(folder)} can be read ({why or 'it has none'}): put back a "
        "copy of the folder, or begin a new session and give it the log of this one."
    )


def saved_trusts(folder: Path) -> int:
    """How often the gate's consent has made a policy trusted again, as the saved states count it.

    This is the smallest count of all states that can be read, because the session may be resumed
    from any of them.
    """
    found = []
    for path in newest_first(folder / CHECKPOINTS):
        with contextlib.suppress(DamagedCheckpoint):
            found.append(read_manifest(path)["info"].get("trusts", 0))
    return min(found, default=0)


def _load(setup: Setup, path: Path) -> Checkpoint:
    info = read_manifest(path)["info"]
    log = setup.dataset
    if info["dataset_sha256"] != ("" if log is None else log.sha256):
        raise InputError(
            f"{setup.config.dataset or 'no log'} is not the data set that this session was begun "
            "with; give that one with dataset=."
        )
    learner = sized(setup.learner, info["epochs"])
    shapes = eqx.filter_eval_shape(lambda key: learner.hand_over(learner.init(key)), setup.key)
    return load_checkpoint(path, shapes)


def _prove(folder: Path, policy: Policy, found: Checkpoint) -> None:
    """Raises InputError unless the restored policy acts as the stored one did."""
    obs, stored = found.arrays["probe_obs"], found.arrays["probe_action"]
    reach = np.concatenate([policy.high - policy.low, np.ones_like(policy.low)])
    error = np.abs(_actions(policy, obs) - stored) / np.where(reach > 0, reach, 1.0)
    worst = float(error.max())
    if worst <= _SAME and policy_id(policy) == found.info["policy"]:
        return
    raise InputError(
        f"the policy that was restored from {short_path(folder)} is not the one that was saved: "
        f"its actions differ by up to {worst:.3g} of their range in {len(obs)} stored "
        "observations. It does not act. Put back a copy of the folder and of its run."
    )


def copy_to(target: Path, folder: Path, facts: SessionFacts) -> None:
    """Copies a session that was just saved to another folder, in one piece.

    Raises:
        InputError: something else is there, or the disk refuses.
    """
    if target.is_relative_to(folder):
        raise InputError(f"{short_path(target)} lies in the session's folder; choose another path.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        try:
            same = read_facts(target).id == facts.id
        except InputError:
            same = False
        if not same:
            raise InputError(
                f"{short_path(target)} already exists and is no copy of this session; choose "
                "another path."
            )
        if _went_on(target / LOG, folder / LOG):
            raise InputError(
                f"the copy in {short_path(target)} has gone on by itself, and its steps would be "
                "lost; choose another path."
            )
    partial = target.with_name(f".{target.name}.partial")
    with writing(target):
        shutil.rmtree(partial, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, partial, ignore=shutil.ignore_patterns(".lock", ".*partial"))
        about = json.loads((partial / _FACTS).read_text(encoding="utf-8"))
        about["relative_run"] = os.path.relpath(facts.run, target)
        about.pop(SEAL)
        write_whole(partial / _FACTS, sealed(about))
        replace_folder(partial, target)


def _went_on(copy: Path, log: Path) -> bool:
    """Whether a copy of a log holds more than the log itself."""
    for file in copy.glob(PATTERN):
        ours = log / file.name
        if not ours.is_file() or not ours.read_bytes().startswith(file.read_bytes()):
            return True
    return False


def is_session(path: str | Path) -> bool:
    """Whether there is a session, undamaged or not."""
    return (found_folder(path) / _FACTS).exists()


def found_folder(path: str | Path) -> Path:
    """The folder of a session that will be resumed."""
    return standing(whole_path(path))
