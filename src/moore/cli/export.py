"""The command `moore export`: writes a policy for machines without this package."""

import json
import shlex
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from moore.cli.parse import example, with_target
from moore.console import plain, show
from moore.errors import InputError


@example("moore export runs/first --out controller --rate-limit 0.1")
@dataclass(frozen=True)
class ExportOptions:
    """Writes a run's policy for machines without this package, and checks what was written.

    The folder then holds policy.onnx, policy.stablehlo, policy.npz (NumPy), policy.h (C),
    contract.json and MODEL_CARD.md. If a file does not do what the policy does, the exit status is
    1 and nothing is written. Needs the extra "export": pip install "moore-rl[export]".

    Attributes:
        out: the new folder, which must not exist yet; None uses RUN/export.
        rate_limit: largest change of the action from one step to the next, in the units of the
            action: one number for all its entries, or one for each. The files then take the
            previous action as a second input.
        dataset: where the log of the run is now, if it was moved; its states are used to check the
            files.
        seed: seed of the states that the files are checked on.
        json: print the contract as JSON.
    """

    out: Path | None = None
    rate_limit: tuple[float, ...] | None = None
    dataset: str | None = None
    seed: int = 0
    json: bool = False


def export_policy(arguments: list[str]) -> None:
    run, options = with_target(ExportOptions, arguments, "export", "RUN")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed is {options.seed}; it must lie in [0, 2**63).")

    from moore.exporting.export import export
    from moore.exporting.verification import VerificationError

    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            folder, contract = export(
                run,
                options.out,
                rate_limit=options.rate_limit,
                dataset=options.dataset,
                seed=options.seed,
                command=shlex.join(["moore", "export", *arguments]),
            )
    except VerificationError as error:
        print(f"moore: {plain(str(error))} Nothing was written.", file=sys.stderr)
        raise SystemExit(1) from None
    for note in notes:
        if issubclass(note.category, UserWarning):  # of settings of another version
            print(f"note: {plain(str(note.message))}", file=sys.stderr)
    if options.json:
        print(json.dumps(contract, indent=1))
        return
    verification = contract["verification"]
    show(f"{folder}: {', '.join([*contract['files'], 'contract.json', 'MODEL_CARD.md'])}")
    for check in verification["checks"]:
        show(
            f"{check['file']}: largest error {check['largest_error']:.2g} of the action's range on "
            f"{check['rows']:,} {check['states']} states ({check['allowed']:.2g} is allowed)"
        )
    if not any(check["states"] == "logged" for check in verification["checks"]):
        show(f"note: no logged states were compared: {verification['logged_states']}")
