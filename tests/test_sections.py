"""The folder of a run holds the sections that the run uses, and reading them gives the same run."""

import dataclasses
import tomllib

import pytest

from moore.algorithms import ALGORITHMS
from moore.config import Config, from_dict, read_toml, to_dict, to_toml
from moore.errors import InputError
from moore.presets import preset
from moore.runs.changes import changed, check_kept, kept
from moore.runs.sections import run_dict, run_toml, used_settings
from moore.sweeps.cell import Cell

STAGES = {"offline", "online", "evaluation"}
MODELS = {"model", "gate"}


def sections(text: str) -> set[str]:
    return {name for name, value in tomllib.loads(text).items() if isinstance(value, dict)}


@pytest.mark.parametrize(
    ("algorithm", "agent"),
    [
        ("moore", {"sac"} | MODELS),
        ("moore_robust", {"sac"} | MODELS),
        ("morel", {"sac", "pessimism"} | MODELS),
        ("combo", {"combo"} | MODELS),
        ("bc", {"bc"}),
        ("iql", {"iql"}),
        ("cal_ql", {"cal_ql"}),
        ("rlpd", {"rlpd"}),
    ],
)
def test_a_run_s_file_has_its_agent_its_stages_and_models_only_if_it_has_models(algorithm, agent):
    assert sections(run_toml(Config(algorithm=algorithm))) == agent | STAGES


@pytest.mark.parametrize(("algorithm", "models"), [("mbpo", MODELS), ("sac", set())])
def test_without_a_log_there_is_no_offline_stage_to_set(algorithm, models):
    found = sections(run_toml(Config(algorithm=algorithm)))
    assert found == {"sac", "online", "evaluation"} | models


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_s_file_gives_the_run_s_settings_back(algorithm, tmp_path):
    settings = used_settings(preset("quickstart", algorithm=algorithm))
    (tmp_path / "config.toml").write_text(run_toml(settings))
    assert read_toml(tmp_path / "config.toml") == settings
    assert from_dict(kept(settings)) == settings


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_used_settings_keep_every_section_that_is_used(algorithm):
    settings = preset("paper/hopper-medium", algorithm=algorithm)
    assert run_dict(used_settings(settings)) == run_dict(settings)
    assert used_settings(used_settings(settings)) == used_settings(settings)


def test_an_unknown_algorithm_has_no_sections():
    with pytest.raises(InputError, match="unknown algorithm 'bogus'"):
        run_toml(Config(algorithm="bogus"))


# --- Beside folders of earlier versions, which hold every section ---


@pytest.fixture
def whole() -> Config:
    """An IQL run with something else than the defaults in sections that it does not use."""
    return from_dict({"algorithm": "iql", "cql": {"critics": 5}, "model": {"elites": 3}})


def test_a_file_with_all_sections_is_read_as_it_stands(whole, tmp_path):
    (tmp_path / "config.toml").write_text(to_toml(whole))
    assert read_toml(tmp_path / "config.toml") == whole


def test_sections_that_a_run_does_not_use_are_not_compared(whole, tmp_path):
    assert changed(to_dict(whole), used_settings(whole)) == []
    assert changed(kept(whole), whole) == []
    check_kept(to_dict(whole), used_settings(whole), tmp_path)


def test_an_edit_in_a_section_that_is_used_is_told(whole, tmp_path):
    edited = dataclasses.replace(whole, iql=dataclasses.replace(whole.iql, expectile=0.9))
    assert changed(kept(whole), edited) == ["iql.expectile is 0.9 and was 0.7"]
    with pytest.raises(InputError, match=r"iql\.expectile is 0\.9 and was 0\.7"):
        check_kept(to_dict(whole), edited, tmp_path)


def test_an_edit_of_the_algorithm_is_told_by_name(whole):
    for name in ("awac", "bogus"):
        edited = dataclasses.replace(whole, algorithm=name)
        assert changed(kept(whole), edited)[0] == f"algorithm is {name} and was iql"


def test_a_cell_finds_its_run_again_in_folders_of_both_kinds(whole, tmp_path):
    cell = Cell(str(tmp_path), to_dict(whole))
    for text in (to_toml(whole), run_toml(whole)):
        (tmp_path / "config.toml").write_text(text)
        assert cell.departure() == ""
    other = dataclasses.replace(whole, iql=dataclasses.replace(whole.iql, expectile=0.9))
    assert "iql.expectile is 0.7, not 0.9" in Cell(str(tmp_path), to_dict(other)).departure()
