"""moore inspect."""

import json
from dataclasses import dataclass

from moore.cli.parse import example, with_target


@example("moore inspect hopper-medium-replay.hdf5")
@dataclass(frozen=True)
class InspectOptions:
    """Checks a log (path.hdf5, path.npz, minari:ID, builtin:NAME) and sums it up.

    Attributes:
        download: fetch a Minari set that is not on this machine.
        json: print JSON.
    """

    download: bool = False
    json: bool = False


def inspect_log(arguments: list[str]) -> None:
    source, options = with_target(InspectOptions, arguments, "inspect", "DATASET")

    from moore.data.inspect import format_summary, summarize, warnings
    from moore.data.load import load_dataset

    summary = summarize(load_dataset(source, download=options.download))
    found = warnings(summary)
    if options.json:
        print(json.dumps(summary | {"warnings": found}, indent=1))
        return
    print(format_summary(summary))
    for warning in found:
        print(f"warning: {warning}")
