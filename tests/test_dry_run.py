"""`moore run --dry-run`: the settings and what would be done, and nothing is done."""

import json
import re
import tomllib

import pytest

from desk import ROWS, files
from moore.config import from_dict, read_toml
from moore.planning.calibration import Costs, Miniature


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """Every update and every step of a fit takes half a second, and all programs 30 seconds."""
    each = {"update": 0.5, "fit": 0.5, "refit": 0.5}
    costs = Costs(30.0, each, each, 2**30, 0)
    monkeypatch.setattr(Miniature, "costs", lambda self: costs)


@pytest.fixture
def dry(desk, moore_prints):
    """Runs a dry run, which must leave the folder as it was; returns what it printed."""

    def run(line: str) -> str:
        before = files(desk)
        text = moore_prints(f"{line} --dry-run")
        assert files(desk) == before
        return text

    return run


def test_what_is_printed_is_the_configuration_with_the_facts_as_comments(dry, desk):
    text = dry("run tiny.toml --seed 5 --model.hidden 16 --out new")
    config = from_dict(tomllib.loads(text))
    wanted = read_toml(desk / "tiny.toml")
    assert (config.seed, config.model.hidden) == (5, (16,))
    assert (config.sac, config.online) == (wanted.sac, wanted.online)
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert f"# log          log.hdf5: {ROWS} rows, 3 complete episodes" in "\n".join(comments)
    told = [line for line in comments if not line.startswith("# note: ")]  # of the made-up log
    assert re.fullmatch(
        r"# would take   at most [\d.]+ (s|min) and [\d.]+ GiB of memory \(measured in [\d.]+ s; "
        r"--estimate lists the parts\)",
        told.pop(-5),
    )
    assert told[-5:] == [
        "# would write  new",
        "# differs from tiny.toml:",
        "#   seed = 5, not 0",
        "#   model.hidden = [16], not [8]",
        "# dry run: nothing was started, and nothing was written.",
    ]


def test_machines_read_the_same_facts(dry, desk):
    facts = json.loads(dry("offline tiny.toml --json --rollout-length 3"))
    assert (facts["algorithm"], facts["stages"]) == ("moore", ["offline"])
    assert facts["changed"] == {"rollout_length": {"before": 2, "now": 3}}
    assert facts["config"]["rollout_length"] == 3
    assert facts["config"]["imagined_bound"] is None, "JSON has no infinity"
    assert facts["log"]["rows"] == ROWS and facts["log"]["return"]["mean"] is not None
    parts = {part["name"]: part["seconds"] for part in facts["estimate"]["parts"]}
    assert parts["compile the programs"] == 30.0
    assert facts["estimate"]["seconds"]["total"] == sum(parts.values())
    assert facts["environment"]["action_high"] == [2.0]
    assert facts["environment"]["episode_steps"] == 200
    assert facts["folder"].startswith(str(desk / "runs" / "Pendulum-v1__moore__0__"))


def test_it_refuses_what_a_run_refuses(moore_refuses):
    assert "log.hdf5 already exists" in moore_refuses("run tiny.toml --dry-run --out log.hdf5")
    assert "names no environment" in moore_refuses("run tiny.toml --dry-run --env-id ''")
    assert "--dry-run: old goes on" in moore_refuses("run --resume old --dry-run")


def test_flags_that_change_nothing_are_told(dry):
    """Those of an agent that another algorithm has."""
    notes = json.loads(dry("run tiny.toml --json --iql.expectile 0.8 --combo.batch-size 8"))[
        "notes"
    ]
    (note,) = (note for note in notes if "--iql.expectile" in note)
    assert note == (
        "--iql.expectile, --combo.batch-size change nothing, because moore has other settings: "
        "those of model, sac, offline, online, gate, evaluation."
    )
    notes = json.loads(dry("run tiny.toml --json --sac.discount 0.9"))["notes"]
    assert not any("change" in note for note in notes)


@pytest.mark.parametrize(
    ("flags", "note"),
    [
        (
            "--online.exploration-noise 0.1",
            "--online.exploration-noise changes nothing, because there is no dip budget "
            "(--dip-budget).",
        ),
        (
            "--gate.rollouts 4",
            "--gate.rollouts changes nothing, because there is no gate (--gate.enabled).",
        ),
        ("--gate.enabled --gate.rollouts 4", None),
        (
            "--offline.tolerance 0.1",
            "--offline.tolerance changes nothing, because the stage does not wait for its values "
            "(--offline.patience).",
        ),
    ],
)
def test_flags_of_what_another_setting_has_turned_off_are_told(dry, flags, note):
    notes = json.loads(dry(f"run tiny.toml --json {flags}"))["notes"]
    assert [each for each in notes if "change" in each] == ([note] if note else [])
