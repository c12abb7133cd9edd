"""What is said of wrong flags and names: a sentence, without the words of the parser."""

import subprocess
import sys

import pytest

from moore.cli import main
from moore.errors import unknown


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --sed 1", "there is no flag --sed; did you mean --seed?"),
        ("run --online.epoch 3", "there is no flag --online.epoch; did you mean --online.epochs?"),
        ("run --seed", "--seed needs a value."),
        ("run --seed x", "--seed is 'x'; it must be a whole number."),
        ("run --dip-budget lots", "--dip-budget is 'lots'; it must be a number or None."),
        ("run --model.hidden a b", "--model.hidden is 'a b'; it must be a whole number."),
        ("run --uncertainty foo", "--uncertainty is 'foo'; it must be one of std, value."),
        ("run --clone yes", "--clone takes no value; --no-clone turns it off."),
        ("run --dip-budget 0.1 0.2", "'0.2' is one word too many after --dip-budget."),
        ("evaluate run --episodes x", "--episodes is 'x'; it must be a whole number."),
        ("convert a.csv", "--out is needed."),
        ("collect", "the flags --out, --env-id, --tier are needed."),
    ],
)
def test_a_wrong_flag_is_told_in_one_sentence(line, said, moore_refuses):
    message = moore_refuses(line)
    assert said in message and len(message) < 160
    command = line.split()[0]
    assert f"moore {command}" in message and message.rstrip().endswith("--help says more.")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("online --resume X", "here; moore run and moore offline have it."),
        ("run --from runs/a", "here; moore online has it."),
        ("run --env Pendulum-v1", "did you mean --env-id?"),
        ("run --log a.csv", "did you mean --dataset?"),
        ("assess RUN --dataset a.csv", "did you mean --log?"),
        ("inspect a.csv --out page.html", "did you mean --html?"),
        ("assess RUN --html page.html", "did you mean --out?"),
        ("run --html page.html", "here; moore report, moore compare and moore inspect have it."),
        ("run --seeds 0-3", "did you mean --seed? moore sweep and moore reproduce have --seeds."),
        ("run --epochs 3", "did you mean --offline.epochs or --online.epochs?"),
        ("run --algorithm iql --gamma 0.9", "did you mean --iql.discount?"),
        ("run --preset plant", "a preset or a config.toml is the first word: moore run plant."),
        ("run --gpu", "JAX chooses the device, unless the variable JAX_PLATFORMS=cpu names it."),
        ("sweep --out a --dip-budget 0.1", "is given as --set dip_budget=VALUE."),
        ("evaluate RUN --colour red", "there is no flag --colour."),
    ],
)
def test_a_flag_of_another_name_or_another_command_is_told(line, said, moore_refuses):
    message = moore_refuses(line)
    assert said in message and message.startswith("moore: there is no flag")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train", "did you mean 'moore run'?"),
        ("resume runs/a", "did you mean 'moore run --resume RUN'?"),
        ("quickstart", "did you mean 'moore run quickstart'?"),
        ("--seed 1", "--seed stands before the command: moore COMMAND --seed."),
        ("run \u2014seed 1", "begins with a long dash; write two hyphens: --seed."),
        ("sweep --out a --set epochs=3", "it is one of offline.epochs, online.epochs."),
        ("theory --mdp none.npz", "none.npz: no such file."),
        ("tank.csv", "'moore inspect tank.csv', or 'moore run plant --dataset tank.csv'?"),
        ("run tank.csv", "moore run plant --dataset tank.csv."),
        ("evaluate --episodes 3", "needs a RUN, the folder of a run, as its first word"),
        ("compare --csv a.csv runs", "needs a RUN, the folder of a run, as its first word"),
    ],
)
def test_a_word_in_the_wrong_place_is_answered_with_what_to_write(line, said, moore_refuses):
    assert said in moore_refuses(line)


@pytest.mark.parametrize("line", ["report rnus", "evaluate rnus", "online --from rnus"])
def test_a_folder_that_is_absent_is_answered_with_the_nearest(line, desk, moore_refuses):
    (desk / "runs").mkdir()
    assert "did you mean 'runs'?" in moore_refuses(line)


@pytest.mark.parametrize(
    "line", ["run {}", "run --resume {}", "report {}", "evaluate {}", "compare {}", "watch {}"]
)
def test_a_name_that_no_file_can_have_is_told(line, moore_refuses):
    assert "longer name than a file can have" in moore_refuses(line.format("x" * 5000))


def test_the_folder_of_a_run_that_is_given_as_a_log_is_told(desk, moore_refuses):
    (desk / "run").mkdir()
    (desk / "run" / "config.toml").touch()
    assert "run is the folder of a run, not a log" in moore_refuses("inspect run")


@pytest.mark.parametrize("words", [["help", "doctor"], ["doctor", "help"], ["doctor", "--help"]])
def test_help_is_shown_in_all_the_ways_that_people_ask_for_it(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert "usage: moore doctor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("rnu", "run"),
        ("run quickstrt", "quickstart"),
        ("run --algorithm moore_saf", "moore_safe"),
        ("run --scheme mooree", "moore"),
        ("completion bsh", "bash"),
        ("run misspelt.toml", "epochs"),
        ("run mispelt.toml", "misspelt.toml"),
        ("run --uncertainty vlaue", "value"),
        ("inspect builtin:pendulum-medum", "pendulum-medium"),
        ("--verson", "--version"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(line, near, desk, moore_refuses):
    (desk / "misspelt.toml").write_text("[online]\nepoch = 3")
    assert f"did you mean '{near}'?" in moore_refuses(line)


@pytest.mark.parametrize("ending", ["hdf5", "npz", "csv"])
def test_a_log_that_is_absent_is_answered_with_the_nearest_file_beside_it(
    ending, desk, moore_refuses
):
    (desk / f"tank-2024.{ending}").touch()
    said = moore_refuses(f"inspect tank2024.{ending}")
    assert "no such file" in said and f"did you mean 'tank-2024.{ending}'?" in said


def test_a_name_that_is_like_none_is_answered_with_all():
    said = str(unknown("fruit", "zzz", ["apple", "pear[:RIPE]"], " and others"))
    assert said == "unknown fruit 'zzz'; the known ones are apple, pear[:RIPE] and others."


MIXED_UP = """
import numpy as np, moore
config = moore.preset("quickstart")
for first, given in [
    ("quickstart", {}), ({"seed": 1}, {}), (config, {"stages": "off"}),
    (config, {"stages": "online"}), (config, {"start_from": "runs/a"}),
    (config, {"dataset": np.zeros((5, 3))}),
]:
    try:
        moore.run(first, out="new", **given)
    except moore.InputError as error:
        print(error)
"""


def test_what_a_program_has_mixed_up_is_told_before_anything_is_written(tmp_path):
    # In a process of its own, in which no type is checked, as in a user's.
    told = subprocess.run(
        [sys.executable, "-c", MIXED_UP], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    online = "stages='online' and start_from=RUN belong together"
    expected = [
        "config is 'quickstart'; expected settings, such as moore.preset('quickstart').",
        "config is a dict; expected settings",
        "stages is 'off'; expected one of both, offline, online.",
        *(online, online),
        "the data set is a ndarray; expected a moore.Dataset, or the name of one: path.hdf5",
    ]
    lines = told.stdout.splitlines()
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected
    assert not list(tmp_path.iterdir())
