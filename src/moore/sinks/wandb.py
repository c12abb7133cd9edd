"""Weights & Biases: `pip install "moore-rl[track]"`.

Without a network, set WANDB_MODE=offline and upload later with `wandb sync
RUN/wandb/offline-run-*`. The run folder keeps W&B's id, so that a resumed run stays one run.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from moore.sinks.sink import Label
from moore.sinks.tracker import Service, Tracker

# A project's name may not hold these, nor be longer (wandb.init refuses it).
_FORBIDDEN, _LONGEST = re.compile(r"[/\\#?%:]"), 128


def open_sink(
    folder: Path, label: Label, rows: Iterable[dict], say: Callable[[str], None]
) -> Tracker:
    """Opens the W&B run of this folder, with the project, group and name of the label.

    Raises:
        InputError: W&B refuses the run, because the user is not logged in for instance.
    """

    def begin(id: str) -> Service:
        import wandb

        return wandb.init(
            project=_FORBIDDEN.sub("-", label.project)[:_LONGEST],
            group=label.group,
            name=label.name,
            id=id,
            resume="allow",
            reinit="create_new",  # a run that the user's own script has open stays as it is
            dir=str(folder),
            config=label.settings,
            settings={"console": "off", "silent": True},
        )

    return Tracker("wandb", begin, folder=folder, rows=rows, say=say)
