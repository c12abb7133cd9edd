"""moore convert."""

import json
from dataclasses import dataclass, replace
from typing import Literal

from moore.cli.column_flags import ColumnFlags, reading_of
from moore.cli.parse import example, with_target
from moore.console import show


@example("moore convert hopper-medium-v2.hdf5 --out minari:hopper/medium-v2")
@dataclass(frozen=True, kw_only=True)
class ConvertOptions(ColumnFlags):
    """Writes a log in another format; all its keys and their types are kept.

    Attributes:
        out: the new log, which must not exist yet: path.hdf5 (D4RL layout), path.npz or minari:ID.
        format: format of the new log; by default the one that its name implies.
        max_rows: keep at most this many rows, as whole episodes drawn at random.
        fraction: keep at most this share of the rows, in (0, 1], as whole episodes drawn at random.
        seed: seed of the random draw.
        env_id: Gymnasium id of the system; needed if the log names none, or the wrong one.
        download: fetch a Minari set that is not on this machine.
        json: print the result as JSON.
    """

    out: str
    format: Literal["d4rl", "minari", "npz"] | None = None
    max_rows: int | None = None
    fraction: float | None = None
    seed: int = 0
    env_id: str | None = None
    download: bool = False
    json: bool = False


def convert_log(arguments: list[str]) -> None:
    source, options = with_target(ConvertOptions, arguments, "convert", "SOURCE")

    from moore.data.load import read_log
    from moore.data.log import notes_of
    from moore.data.write import check_target, write_log
    from moore.evaluation.scores import reference_scores

    kind, _ = check_target(options.out, options.format)
    log = read_log(
        source,
        infos=True,
        exact=True,
        max_rows=options.max_rows,
        fraction=options.fraction,
        seed=options.seed,
        download=options.download,
        **reading_of(options, source),
    )
    if options.env_id is not None:
        known = log.reference == reference_scores(log.env_id)  # not the file's own
        reference = reference_scores(options.env_id) if known else log.reference
        log = replace(log, env_id=options.env_id, reference=reference)
    write_log(options.out, log, options.format)
    result = {
        "source": source,
        "out": options.out,
        "format": kind,
        "rows": log.size,
        "env_id": log.env_id,
        "infos": sorted(log.infos),
        "subset": log.metadata.get("subset"),
        "notes": notes_of(log.metadata),
    }
    if options.json:
        print(json.dumps(result, indent=1))
        return
    extra = f", infos {', '.join(result['infos'])}" if log.infos else ""
    show(f"{options.out}: {log.size:,} rows of {log.env_id or 'an unnamed environment'}{extra}")
    for note in result["notes"]:
        show(f"note: {note}")
