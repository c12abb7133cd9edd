"""The command `moore plan`, and what `moore run --estimate` prints."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moore.cli.column_flags import ColumnFlags, reading_of
from moore.cli.parse import example, with_target
from moore.console import show

if TYPE_CHECKING:
    from moore.runs.plan import Stages

# The stages of a run that a command begins.
STAGES: dict[str, "Stages"] = {"run": "both", "offline": "offline", "online": "online"}


@example("moore plan tank.csv --steps-per-day 8640 --hours 8")
@dataclass(frozen=True)
class PlanOptions(ColumnFlags):
    """Says what hours of computation buy on a live system of which there is a log.

    It measures what learning costs on this machine, in a miniature of it on the log itself, and
    prints how long the offline stage takes, how many online epochs a day fit, how long it is until
    25 and 100 of them, how many trials a dip budget allows, and how much memory is needed. Nothing
    is written.

    Attributes:
        steps_per_day: control steps that the live system makes in a day.
        hours: hours of computation a day (or night) that learning may take.
        dip_budget: share of what the log's controller earns that trials may cost; 0 counts none.
        preset: settings: a preset, or a config.toml.
        algorithm: algorithm; None takes that of the settings.
        accept: names of findings about the log which would otherwise refuse it.
        json: print the plan as one JSON object.
    """

    steps_per_day: float = field(kw_only=True)
    hours: float = field(kw_only=True)
    dip_budget: float = 0.05
    preset: str = "plant"
    algorithm: str | None = None
    accept: tuple[str, ...] = ()
    json: bool = False


def plan_log(arguments: list[str]) -> None:
    source, options = with_target(PlanOptions, arguments, "plan", "LOG")

    from moore.formats.load import load_dataset
    from moore.planning.plan import Live, plan_live
    from moore.planning.text import plan_text

    live = Live(options.steps_per_day, options.hours, options.dip_budget)
    log = load_dataset(source, **reading_of(options, source))
    found = plan_live(log, live, _settings(options))
    if options.json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        show(plan_text(found))


def _settings(options: PlanOptions):
    from dataclasses import replace

    from moore.cli.train import check_algorithm
    from moore.config import read_toml
    from moore.presets import preset

    if options.preset.endswith(".toml"):
        config = read_toml(Path(options.preset))
        if options.algorithm is not None:
            check_algorithm(config.algorithm, options.algorithm)
            config = replace(config, algorithm=options.algorithm)
    else:
        config = preset(options.preset, algorithm=options.algorithm)
    return replace(config, accept=(*config.accept, *options.accept))


def show_estimate(config, command: str, *, as_json: bool) -> None:
    """What `moore run`, `offline` or `online` would take; nothing is begun."""
    from moore.planning.estimate import estimate_run
    from moore.planning.text import estimate_text

    found = estimate_run(config, stages=STAGES[command])
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        show(estimate_text(found, f"moore {command} with {config.algorithm}"))
