"""The summary of a log on the terminal."""

from dataclasses import replace

import numpy as np

from moore.data.log import Log
from moore.evaluation.scores import ReferenceScores
from moore.inspecting.summary import summarize
from moore.reports.log_text import ASCII_BLOCKS, format_summary, sparkline, verdict_of, verdict_text


def log(obs_dim=2, **changes) -> Log:
    """Twelve rows, episodes of 3."""
    obs = np.random.default_rng(0).normal(size=(12, obs_dim))
    base = Log(
        obs=obs,
        action=obs[:, :1] / 10,
        reward=np.arange(12.0),
        terminated=np.arange(12) % 3 == 2,
        truncated=np.zeros(12, bool),
        next_obs=obs + 1,
        name="my log",
        env_id="P-v0",
        reference=ReferenceScores(0.0, 22.0, source="a paper"),
    )
    return replace(base, **changes)


def test_the_text_fits_one_screen_however_many_dimensions_there_are():
    lines = format_summary(summarize(log(obs_dim=400))).split("\n")
    assert len(lines) <= 32 and max(map(len, lines)) <= 132
    assert any("and 376 more" in line for line in lines)
    assert not any(line.endswith(" ") for line in lines)


def test_what_is_known_is_shown_and_what_is_not_is_said_to_be_missing():
    text = format_summary(summarize(log()))
    for shown in ("my log", "P-v0", "12 rows, 2 observation and 1 action", "4 complete", "75.0"):
        assert shown in text
    assert "0 = 0, 100 = 22, a paper" in text and "mean 16.5" in text
    assert "3 in every episode" in text, "no histogram of one value"
    unknown = format_summary(summarize(log(env_id=None, reference=None, truncated=None)))
    assert verdict_of(summarize(log(env_id=None, truncated=None))).startswith(
        "Training takes this log with --env-id ID (of a plant: --action-low, --action-high)"
    )
    assert "not named" in unknown and "no reference returns" in unknown
    assert "no time-out flags" in unknown and "bounds not known" in unknown


def test_a_histogram_in_text_shows_even_the_smallest_count():
    assert sparkline([0, 1, 1000]) == " ▁█"
    assert sparkline([0, 0]) == "  "
    assert format_summary(summarize(log()), blocks=ASCII_BLOCKS).isascii()


def test_the_verdict_counts_reasons_and_findings():
    assert verdict_text([], []) == "Training takes this log; nothing suspicious was found."
    assert verdict_text(["a"], []) == "Training takes this log; 1 finding to look at."
    assert verdict_text(["a", "b", "c"], ["a"]) == (
        "Training refuses this log, for 1 reason; 2 findings besides."
    )
