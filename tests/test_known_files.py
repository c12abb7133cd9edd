"""Public files that are known by their bytes, and what is known about them."""

from dataclasses import replace

import numpy as np

from moore.data.known_files import KnownFile, closest_env, d4rl_files
from moore.data.log import Log
from moore.evaluation.scores import ReferenceScores
from moore.findings.defects import warnings
from moore.inspecting.summary import summarize
from moore.reports.log_text import format_summary

REFERENCE = ReferenceScores(0.0, 10.0, source="test")


def log(**changes) -> Log:
    """Six rows of Walker2d's shape that name no environment."""
    rng = np.random.default_rng(0)
    obs = np.array([1.25] + [0.0] * 16) + rng.uniform(-0.1, 0.1, (7, 17))
    base = Log(
        obs=obs[:-1],
        action=rng.uniform(-1, 1, (6, 6)),
        reward=rng.normal(size=6),
        terminated=np.zeros(6, bool),
        truncated=np.arange(6) == 5,
        next_obs=obs[1:],
        name="walker",
    )
    return replace(base, **changes)


def test_the_table_has_the_24_files_of_versions_0_and_2():
    files = d4rl_files()
    assert len(files) == 24
    assert len({file.name for file in files.values()}) == len({f.bytes for f in files.values()})
    assert {len(sha256) for sha256 in files} == {64}
    expected = {
        f"{env}-{tier}-{version}"
        for env in ("halfcheetah", "hopper", "walker2d")
        for tier in ("random", "medium", "medium-replay", "medium-expert")
        for version in ("v0", "v2")
    }
    assert {file.name for file in files.values()} == expected


def faults(name):
    return " ".join(next(file for file in d4rl_files().values() if file.name == name).faults)


def test_each_file_has_its_own_faults_with_the_thread_that_reports_them():
    assert "1,200,919" in faults("hopper-medium-expert-v0") and "D4RL#19" in faults(
        "hopper-medium-expert-v0"
    )
    assert "1,200,919" not in faults("hopper-medium-expert-v2")
    assert "1,200,919" not in faults("walker2d-medium-expert-v0")
    assert "D4RL#172" in faults("walker2d-medium-expert-v2") and "1.9" in faults(
        "walker2d-random-v2"
    )
    assert "D4RL#145" in faults("halfcheetah-medium-v0")
    assert "D4RL#145" not in faults("halfcheetah-medium-v2")
    for file in d4rl_files().values():
        assert file.env_id.endswith("-v4") and file.faults
        assert all("#" in fault for fault in file.faults)


def test_a_known_file_is_named_and_brings_its_environment_reference_and_faults():
    table = {"cd": KnownFile("walker2d-x-v2", "cd", 9, "Walker2d-v4", REFERENCE, ("Odd (a#1).",))}
    s = summarize(log(sha256="cd"), known=table)
    assert s["known_files"] == ["walker2d-x-v2"] and s["notes"] == ["Odd (a#1)."]
    assert (s["checked_as"], s["rule_checked"]) == ("Walker2d-v4", 6)
    assert s["reference"] == vars(REFERENCE) and s["score"] is not None
    text = format_summary(s)
    assert "walker2d-x-v2" in text and "Walker2d-v4 recommended" in text
    assert any("--env-id Walker2d-v4" in warning for warning in warnings(s))
    assert summarize(log(sha256="other"), known=table)["known_files"] == []


def test_known_parts_of_a_joined_log_are_named():
    hashes = list(d4rl_files())[:2]
    parts = [{"sha256": sha256} for sha256 in hashes]
    s = summarize(log(metadata={"parts": parts}))
    assert s["known_files"] == [d4rl_files()[sha256].name for sha256 in hashes]


def test_versions_that_no_longer_run_are_checked_as_v4():
    assert closest_env("Hopper-v2") == closest_env("Hopper-v3") == "Hopper-v4"
    assert closest_env("Hopper-v5") == "Hopper-v5" and closest_env("Plant-v2") == "Plant-v2"
