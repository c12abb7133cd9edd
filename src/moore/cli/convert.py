"""The command `moore convert`: writes a log in another format."""

import json
from dataclasses import dataclass, replace
from typing import Literal

from moore.cli.column_flags import ColumnFlags, reading_of
from moore.cli.parse import example, with_target
from moore.console import show
from moore.errors import InputError


@example("moore convert hopper-medium-v2.hdf5 --out minari:hopper/medium-v2")
@dataclass(frozen=True, kw_only=True)
class ConvertOptions(ColumnFlags):
    """Writes a log in another format; all its keys and their types are kept, but not in path.rows.

    A folder path.rows is for logs larger than memory: it is written part by part, holds what
    training uses, and a run draws from its rows where they lie on the disk (docs/large-logs.md).
    Only for such a folder SOURCE may be several logs, separated by commas.

    Attributes:
        out: the new log, which must not exist yet: path.hdf5 (D4RL layout), path.npz, minari:ID or
            path.rows.
        format: format of the new log; by default the one that its name implies.
        max_rows: keep at most this many rows, as whole episodes drawn at random.
        fraction: keep at most this share of the rows, in (0, 1], as whole episodes drawn at random.
        seed: seed of the random draw.
        env_id: Gymnasium id of the system; needed if the log names none, or the wrong one.
        download: fetch a Minari set that is not on this machine.
        json: print the result as JSON.
    """

    out: str
    format: Literal["d4rl", "minari", "npz", "rows"] | None = None
    max_rows: int | None = None
    fraction: float | None = None
    seed: int = 0
    env_id: str | None = None
    download: bool = False
    json: bool = False


def convert_log(arguments: list[str]) -> None:
    source, options = with_target(ConvertOptions, arguments, "convert", "SOURCE")

    from moore.data.log import notes_of
    from moore.formats.load import read_log
    from moore.formats.write import check_target, write_log

    kind, place = check_target(options.out, options.format)
    if kind == "rows":
        _convert_to_rows(source, place, options)
        return
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
    if log.whole is not None:
        raise InputError(
            f"{source}: has {log.whole.file.size:,} rows, and another format holds what fits into "
            "memory; give --max-rows"
        )
    log = _renamed(log, options.env_id)
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
    _tell(result, options)


def _convert_to_rows(source: str, place: str, options: ConvertOptions) -> None:
    from moore.data.log import notes_of
    from moore.formats.row_parts import parts_of_log
    from moore.formats.row_writer import write_rows

    if options.max_rows is not None or options.fraction is not None:
        raise InputError(
            "--max-rows and --fraction choose from a log that is held in memory, and a folder of "
            "rows is written part by part; leave them out here and give them to the run."
        )
    parts = parts_of_log(source, download=options.download, **reading_of(options, source))
    facts = write_rows(place, (_renamed(part, options.env_id) for part in parts), name=source)
    result = {
        "source": source,
        "out": place,
        "format": "rows",
        "rows": facts["rows"],
        "env_id": facts["env_id"],
        "infos": [],
        "subset": None,
        "notes": notes_of(facts["metadata"]),
    }
    _tell(result, options)


def _renamed(log, env_id: str | None):
    """A log or a part of one as that of this environment, if one is given."""
    from moore.evaluation.scores import reference_scores

    if env_id is None:
        return log
    known = log.reference == reference_scores(log.env_id)  # not the file's own
    reference = reference_scores(env_id) if known else log.reference
    return replace(log, env_id=env_id, reference=reference)


def _tell(result: dict, options: ConvertOptions) -> None:
    if options.json:
        print(json.dumps(result, indent=1))
        return
    extra = f", infos {', '.join(result['infos'])}" if result["infos"] else ""
    named = result["env_id"] or "an unnamed environment"
    show(f"{options.out}: {result['rows']:,} rows of {named}{extra}")
    for note in result["notes"]:
        show(f"note: {note}")
