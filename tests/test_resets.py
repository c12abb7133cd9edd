"""Ends whose next states lie where episodes begin, though they are no row's first observation."""

from dataclasses import replace

import numpy as np
import pytest

from made_oscillators import oscillator_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.errors import InputError
from moore.findings.defects import findings
from moore.findings.run_checks import check_log_for_run
from moore.inspecting.summary import summarize


def named(log: Log) -> str:
    """What an inspection says of it; a run says the same."""
    found = [f for f in findings(summarize(log)) if f.name == "reset-successors"]
    text = found[0].text if found else ""
    assert text in " ".join(check_log_for_run(from_log(log), None, accept=["padded-successors"]))
    return text


def another_start(log: Log, seed: int = 0) -> Log:
    """As a system stores it that has reset itself, and is reset once more for the next row."""
    rng, ends = np.random.default_rng(seed), log.terminated | log.truncated
    starts = log.obs[np.append(0, np.flatnonzero(ends)[:-1] + 1)]
    after = np.where(ends[:, None], 0.0, log.next_obs)
    after[ends] = starts[rng.permutation(len(starts))] + rng.normal(0, 1e-3, starts.shape)
    return replace(log, next_obs=after)


@pytest.mark.parametrize("how", [{}, {"falls_beyond": 1.0}])
def test_outcomes_that_lie_where_episodes_begin_are_named(how):
    log = oscillator_log(**how)
    assert "as if the system had reset itself" in named(another_start(log))
    assert named(log) == ""


def test_where_the_info_tells_the_next_start_the_first_row_is_named():
    log = oscillator_log()
    after, ends = log.next_obs.copy(), np.flatnonzero(log.truncated)[:-1]
    after[ends] = log.obs[ends + 1]
    with pytest.raises(InputError, match="--accept reset-successors"):  # a run stops
        named(replace(log, next_obs=after))
    found = [f.text for f in findings(summarize(replace(log, next_obs=after)))]
    assert any("have the first obs of the next one as next_obs" in text for text in found)
