"""The command `moore theory`: computes both sides of the paper's bounds."""

import json
from dataclasses import dataclass
from pathlib import Path

from moore.cli.parse import example, parse


@example("moore theory --draws 2000 --seed 1 --plot theory.png")
@dataclass(frozen=True)
class TheoryOptions:
    """Computes both sides of the paper's bounds, as printed and as corrected, on finite MDPs.

    Attributes:
        mdp: .npz file with an MDP of your own to check instead: transition (S, A, S), reward
            (S, A), start (S,), discount, old_transition, new_transition, and optionally horizon,
            old_reward, new_reward, old_uncertainty, new_uncertainty, penalty_coef.
        draws: number of random MDPs, each with two consecutive models.
        seed: seed of the random MDPs.
        plot: file to draw the ratios of both sides to.
        json: print the result as JSON; an infinite ratio is null.
    """

    mdp: Path | None = None
    draws: int = 800
    seed: int = 0
    plot: Path | None = None
    json: bool = False


def check_theory(arguments: list[str]) -> None:
    options = parse(TheoryOptions, arguments, "theory")

    if options.mdp is not None:
        return _check_transfer(options.mdp, as_json=options.json)

    from moore.theory.survey import counterexample_table, survey

    rows = survey(options.draws, options.seed)
    result = {
        "draws": options.draws,
        "seed": options.seed,
        "counterexamples": counterexample_table(),
        "statements": [row.summary() for row in rows],
    }
    if options.plot is not None:
        from moore.reports.theory_plots import draw_theory

        draw_theory(rows, options.plot)
    if options.json:
        print(json.dumps(result, indent=1, allow_nan=False))
        return
    from moore.reports.theory_text import format_theory

    print(format_theory(result))


def _check_transfer(mdp: Path, *, as_json: bool) -> None:
    """Checks the paper's statements on the MDP and the models of a file."""
    from moore.reports.theory_text import format_transfer
    from moore.theory.files import read_transfer
    from moore.theory.survey import transfer_table

    table = transfer_table(read_transfer(mdp))
    if as_json:
        print(json.dumps({"statements": table}, indent=1, allow_nan=False))
    else:
        print(format_transfer(table))
