"""A run's policy as files that run without this package; all of them, or none."""

import json
import shutil
from pathlib import Path

import numpy as np

from moore.errors import InputError
from moore.exporting.contract import Exported, contract_of
from moore.exporting.model_card import model_card
from moore.exporting.network import Network, network_of
from moore.exporting.onnx_graph import need_onnx, onnx_bytes
from moore.exporting.plain_files import c_header, npz_bytes
from moore.exporting.policy_facts import PolicyFacts, read_policy_facts
from moore.exporting.stablehlo import stablehlo_bytes
from moore.exporting.states import logged_states, random_states
from moore.exporting.verification import verify
from moore.files import replace_folder, to_disk, whole_path, writing
from moore.numbers import with_nulls
from moore.runs.policy import Policy, load_policy


def export(
    run: str | Path,
    out: str | Path | None = None,
    *,
    rate_limit: tuple[float, ...] | None = None,
    dataset: str | None = None,
    seed: int = 0,
    command: str = "",
) -> tuple[Path, dict]:
    """Writes the policy of a run as ONNX, StableHLO, NumPy and C, with contract and model card.

    Args:
        run: a run folder, or a `policy` folder.
        out: the new folder; it must not exist, or be empty. None: `export` in the run folder.
        rate_limit: largest change of the action from one step to the next, in its own units: one
            number, or one for each entry. None: no limit.
        dataset: where the log is now, for the logged states; None: where the run had it.
        seed: seed of the states that are drawn.
        command: for the contract.

    Returns:
        The folder and the content of contract.json.

    Raises:
        InputError: there is no policy, a package is missing, or the folder cannot be written.
        VerificationError: a file does not do what the policy does; nothing is left.
    """
    need_onnx()
    policy, facts = _read(run)
    folder = _target(run, out)
    network = network_of(policy, rate_limit)
    logged = logged_states(policy, dataset, seed=seed, known=facts.log)
    random, how = random_states(policy, logged, seed=seed)
    files = _files(policy, network, facts)
    states: dict[str, np.ndarray] = {"random": random, "logged": logged.obs}
    checks = verify(files, policy, network, states, seed=seed)
    exported = Exported(policy, network, facts, logged, files, checks, how, seed, command)
    contract = with_nulls(contract_of(exported))
    texts = {"contract.json": json.dumps(contract, indent=1, allow_nan=False) + "\n"}
    texts["MODEL_CARD.md"] = model_card(exported, contract)
    _write(folder, files | {name: text.encode() for name, text in texts.items()})
    return folder, contract


def _read(run: str | Path) -> tuple[Policy, PolicyFacts]:
    """The policy and what is known about it; both of the same one, also while the run goes on."""
    place = Path(run).expanduser()
    while True:
        facts = read_policy_facts(place)
        policy = load_policy(run)
        if read_policy_facts(place).policy_id == facts.policy_id:
            return policy, facts


def _target(run: str | Path, out: str | Path | None) -> Path:
    """The folder to write, which holds nothing yet."""
    if out is None and not (Path(run).expanduser() / "policy").is_dir():
        raise InputError(f"{run} is no run folder; say with --out where the files shall go.")
    folder = whole_path(Path(run) / "export" if out is None else out)
    if folder.is_dir() and not any(folder.iterdir()):
        return folder
    if folder.exists() or folder.is_symlink():
        raise InputError(
            f"--out {folder} exists already and is not an empty folder; give the name of a new "
            "one, so that no file of another export stays in it."
        )
    return folder


def _files(policy: Policy, network: Network, facts: PolicyFacts) -> dict[str, bytes]:
    """What runs, by name."""
    about = f"Policy {facts.policy_id} for {policy.env_id or 'an unnamed system'}, by moore."
    plain = "".join(sign if sign.isprintable() and sign not in "*/" else "." for sign in about)
    return {
        "policy.onnx": onnx_bytes(network, about=about),
        "policy.stablehlo": stablehlo_bytes(network),
        "policy.npz": npz_bytes(network),
        "policy.h": c_header(network, about=plain).encode("ascii", "replace"),
    }


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """All files in one step."""
    partial = folder.with_name(f".{folder.name}.partial")
    with writing(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
            to_disk(partial / name)
        replace_folder(partial, folder)
