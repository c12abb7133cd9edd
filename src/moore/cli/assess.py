"""The command `moore assess`: may the policy of a run be deployed?"""

import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from moore.cli.parse import example, with_target
from moore.console import plain, show
from moore.errors import InputError


@example("moore assess runs/first --log held-out.hdf5")
@dataclass(frozen=True)
class AssessOptions:
    """Says whether a run's policy may be deployed, from the log and the models, without a system.

    It estimates what the old controller, a clone of the log and the new policy earn, shows how much
    of what the new policy does is in the log, and gives a verdict: yes (as a trial that can be
    stopped), no, or not known. docs/assess.md says where it cannot be trusted.

    Attributes:
        log: a log of the old controller that the policy was not trained on. None uses the log of
            the run, which has trained the policy and so speaks for it.
        out: path of the page; None uses RUN/assessment.html.
        reward: function module:function that computes the rewards of the run's log. It is imported
            only if you name it here.
        termination: rule that ends imagined episodes, if it is not that of the run. A function
            module:function is imported only if you name it here.
        starts: number of logged first states from which episodes are imagined in every model.
        seed: seed of all random draws.
        accept: names of findings about the log of --log which would otherwise refuse it;
            unlike-the-log, to judge by values that the log of the run never holds.
        json: print the result as one JSON object.
    """

    log: str | None = None
    out: Path | None = None
    reward: str | None = None
    termination: str | None = None
    starts: int = 32
    seed: int = 0
    accept: tuple[str, ...] = ()
    json: bool = False


def assess_run(arguments: list[str]) -> None:
    run, options = with_target(AssessOptions, arguments, "assess", "RUN")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"--seed is {options.seed}; it must lie in [0, 2**63).")
    if options.starts < 1:
        raise InputError(f"--starts is {options.starts}; it must be positive.")

    from moore.assessing.assess import Asked, assess
    from moore.reports.assess_text import assess_text

    if Path(run, "session.json").is_file():
        raise InputError(
            f"{run} is a session, and what is judged is the policy of a run; name the run, and "
            f"give the session's log as new data, if you like: moore assess RUN --log {run}/log."
        )
    given = options.log, options.reward, options.termination, options.starts, options.seed
    asked = Asked(*given, accept=options.accept)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        page, result = assess(run, asked, out=options.out)
    for note in notes:
        if issubclass(note.category, UserWarning):
            print(f"note: {plain(str(note.message))}", file=sys.stderr)
    if options.json:
        print(json.dumps(result, indent=1, allow_nan=False))
        return
    for text in assess_text(result):
        show(text)
    show(f"page: {page}")
