"""What is said of wrong flags and names: a sentence, without the words of the parser."""

import pytest

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
        ("run --clone yes", "'yes' is one word too many here."),
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
