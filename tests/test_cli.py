"""The command line: help, results for machines, and one clear line for every wrong input."""

import json
import re
import subprocess
import sys

import pytest

import moore
from desk import ROWS
from moore import cli
from moore.algorithms import ALGORITHMS
from moore.cli.completion import completion_script
from moore.errors import InputError
from moore.presets import preset_names
from moore.replay.schemes import SCHEMES

COMMANDS = (
    "run",
    "offline",
    "online",
    "plan",
    "evaluate",
    "assess",
    "export",
    "serve",
    "watch",
    "report",
    "sweep",
    "compare",
    "reproduce",
    "collect",
    "inspect",
    "convert",
    "preview",
    "doctor",
    "completion",
    "theory",
)


# --- Help ---


def test_moore_help_lists_the_commands_and_an_example(moore_prints):
    text = moore_prints("--help")
    assert text == moore_prints("-h")
    for command in COMMANDS:
        assert re.search(rf"^  {command}\b", text, re.MULTILINE)
    assert len(re.findall(r"^example: moore ", text, re.MULTILINE)) == 1
    assert set(cli.COMMANDS) == set(COMMANDS)


def test_moore_alone_names_what_people_do_first(moore_prints):
    lines = re.findall(r"^  moore (\w+)", moore_prints(""), re.MULTILINE)
    assert lines == ["run", "inspect", "run"]


def test_a_shell_completes_commands_and_flags(moore_prints):
    script = moore_prints("completion bash")
    words = ["moore", "run", "quickstart", "--online.ep"]
    asked = f"""{script}
    COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; _tyro_moore
    printf '%s,' "${{COMPREPLY[@]}}"; COMP_WORDS=(moore ""); COMP_CWORD=1; _tyro_moore
    printf '%s\n' "${{COMPREPLY[@]}}" """
    told = subprocess.run(["bash"], input=asked, capture_output=True, text=True).stdout
    flags, _, commands = told.partition(",")
    assert flags == "--online.epochs" and set(COMMANDS) <= set(commands.split())


def test_a_script_whose_maker_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(InputError, match="tcsh needs the package shtab: pip install shtab"):
        completion_script("tcsh")


def test_moore_version(moore_prints):
    assert moore_prints("--version") == f"moore {moore.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_defaults_and_one_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code in (0, None)
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"usage: moore {command} ")
    assert "(default: " in out
    assert len(re.findall(rf"^\W*example: moore {command} ", out, re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("command", "explained"),
    [
        (
            "run",
            (
                "Continue the run in this folder, or at this URL, from its last checkpoint.",
                "Seed of all random numbers.",
                "phi: environment steps between two refits of the models.",
            ),
        ),
        ("online", ("Its offline stage must be complete.",)),
        ("evaluate RUN", ("number of episodes. (default: 10)",)),
        ("inspect", ("print the result as JSON. (default: False)",)),
        ("convert", ("minari:ID or path.rows. (required)",)),
        ("preview", ("number of transitions in the log. (default: 200000)",)),
    ],
)
def test_help_explains_each_option_beside_it(command, explained, capsys):
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "-h"])
    out = capsys.readouterr().out
    _, options = re.split(r"^\W*options\W*$", out, maxsplit=1, flags=re.MULTILINE)
    words = " ".join(options.replace("│", " ").split())
    for option in explained:
        assert option in words
    assert "Attributes:" not in out


def test_help_of_a_run_shows_only_the_settings_of_its_algorithm(capsys):
    def groups(line):
        with pytest.raises(SystemExit):
            cli.main(line.split())
        return set(re.findall(r"(\w+) options", capsys.readouterr().out))

    assert {"model", "gate"} <= groups("run --help") and "iql" not in groups("run --help")
    assert "iql" in (iql := groups("run --algorithm iql --help")) and not {"model", "gate"} & iql


@pytest.mark.parametrize(
    ("flag", "next_flag"),
    [
        ("--online.scheme STR", "--online.alpha FLOAT"),
        ("--out {None}|STR", "--dry-run, --no-dry-run"),
        ("--resume {None}|STR", "--dataset STR"),
    ],
)
def test_a_help_text_is_one_paragraph_whatever_the_line_breaks_of_the_source(
    flag, next_flag, capsys
):
    with pytest.raises(SystemExit):
        cli.main(["run", "-h"])
    lines = [line.strip("│ ") for line in capsys.readouterr().out.splitlines()]
    paragraph = lines[lines.index(flag) + 1 : lines.index(next_flag)]
    assert len(paragraph) > 2
    widths = [len(line) for line in paragraph]
    longest_word = max(len(word) for line in paragraph for word in line.split())
    assert min(widths[:-1]) > max(widths) - longest_word - 1, "every line but the last is full"


# --- Results for machines ---


def test_inspect_prints_json(desk, moore_prints):
    summary = json.loads(moore_prints("inspect log.hdf5 --json"))
    assert (summary["rows"], summary["obs_dim"], summary["action_dim"]) == (ROWS, 3, 1)
    assert summary["episodes"] == summary["timeouts"] == 3
    assert isinstance(summary["warnings"], list)


def test_inspect_prints_text_with_its_findings(desk, moore_prints):
    text = moore_prints("inspect log.hdf5")
    assert "60 rows, 3 observation and 1 action dimensions" in text
    warnings = json.loads(moore_prints("inspect log.hdf5 --json"))["warnings"]
    assert all(f"\nnote: {warning}\n" in text for warning in warnings)


def test_inspect_joins_files(desk, moore_prints):
    assert json.loads(moore_prints("inspect log.hdf5,log.hdf5 --json"))["rows"] == 2 * ROWS


def test_preview_prints_json(moore_prints):
    line = "preview --n-off 50000 --schemes moore:2,uniform --epochs 30 --peak 0.02 --json"
    result = json.loads(moore_prints(line))
    assert (result["n_off"], result["steps_per_epoch"]) == (50_000, 1000)
    assert list(result["schemes"]) == ["moore:2", "uniform"]
    for entry in result["schemes"].values():
        assert len(entry["online_share"]) == len(entry["shift"]) == 31
        assert entry["peak_shift"] == max(entry["shift"])
    assert result["schemes"]["moore:2"]["crossover_epoch"] == pytest.approx(5.0)
    assert result["alpha_for_peak"] > 0


def test_preview_draws_shares_and_shifts(moore_prints, desk):
    line = "preview --n-off 9000 --schemes moore:1,linear:0:1:5,peak_shift:0.1 --epochs 9"
    text = moore_prints(f"{line} --png {desk / 'preview.png'}")
    curves = [row for row in text.splitlines() if row.count("|") == 2]
    assert [row.split()[0] for row in curves] == ["moore:1", "linear:0:1:5", "peak_shift:0.1"] * 2
    assert all(len(row.split("|")[1]) == 9 for row in curves)
    assert "peak_shift:0.1: jump" in text and "(alpha 0.2133, crossover at 6.5)" in text
    assert (desk / "preview.png").read_bytes().startswith(b"\x89PNG")


def test_preview_prints_a_column_a_scheme_and_the_wanted_alpha(moore_prints):
    text = moore_prints("preview --schemes moore:1,half_half --epochs 20 --peak 0.02")
    assert re.search(r"^epoch +moore:1 +half_half +online share$", text, re.MULTILINE)
    assert re.search(r"^20( +\d\.\d{4}){2}$", text, re.MULTILINE)
    assert re.search(r"^alpha \S+ keeps every shift below 0\.02$", text, re.MULTILINE)


# --- Names and values that are not known ---


def test_an_unknown_command(moore_refuses):
    line = moore_refuses("bogus")
    assert "unknown command 'bogus'" in line
    assert all(command in line for command in COMMANDS)


@pytest.mark.parametrize("command", ["run", "offline"])
def test_an_unknown_preset(command, moore_refuses):
    line = moore_refuses(f"{command} bogus")
    assert "unknown preset 'bogus'" in line
    assert all(name in line for name in preset_names())


def test_an_unknown_scheme(moore_refuses):
    for line in ("run tiny.toml --scheme bogus --out new", "preview --schemes moore:1,bogus"):
        message = moore_refuses(line)
        assert "unknown scheme 'bogus'" in message
        assert all(name in message for name in SCHEMES)


def test_an_unknown_algorithm(moore_refuses):
    line = moore_refuses("run tiny.toml --algorithm bogus --out new")
    assert "unknown algorithm 'bogus'" in line
    assert all(name in line for name in ALGORITHMS)


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("--bogus", "--bogus"),
        ("run tiny.toml --bogus 3", "--bogus"),
        ("run tiny.toml --online.bogus 3", "--online.bogus"),
        ("run tiny.toml another", "another"),
        ("offline tiny.toml --from run", "--from"),
        ("inspect log.hdf5 --bogus", "--bogus"),
        ("convert log.hdf5 --out new.npz --bogus", "--bogus"),
        ("evaluate run --bogus", "--bogus"),
        ("preview --bogus", "--bogus"),
        ("preview extra", "extra"),
    ],
)
def test_an_unknown_flag(line, flag, moore_refuses):
    assert flag in moore_refuses(line)


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("run tiny.toml --alpha 0", ("online.alpha is 0.0", "positive")),
        ("run tiny.toml --alpha -1", ("online.alpha is -1.0", "positive")),
        ("run tiny.toml --alpha nan", ("online.alpha is nan", "finite number")),
        ("run tiny.toml --alpha ten", ("--alpha", "ten")),
        ("run tiny.toml --online.alpha 0", ("online.alpha is 0.0", "positive")),
        ("run tiny.toml --online.alpha ten", ("--online.alpha", "ten")),
        ("run tiny.toml --scheme moore:0", ("alpha is 0.0", "positive")),
        ("run tiny.toml --scheme moore:-1", ("alpha is -1.0", "positive")),
        ("run tiny.toml --scheme moore:ten", ("moore:ten", "takes numbers")),
        ("preview --schemes moore:0", ("alpha is 0.0", "positive")),
        ("preview --schemes moore:ten", ("moore:ten", "takes numbers")),
        ("preview --schemes moore:nan", ("alpha",)),
        ("preview --schemes moore:inf", ("alpha",)),
    ],
)
def test_an_alpha_that_is_no_positive_number(line, messages, moore_refuses):
    message = moore_refuses(line)
    for words in messages:
        assert words in message


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("run tiny.toml --seed -1", ("seed is -1",)),
        ("run tiny.toml --seed 1.5", ("--seed", "1.5")),
        ("run tiny.toml --seed 99999999999999999999", ("seed",)),
        ("run tiny.toml --seed 1 --seed=2", ("--seed is given with 1 and then with 2",)),
        ("run tiny.toml --accept a --accept b", ("with a and then with b", "follow each other")),
        ("run tiny.toml --quiet --no-quiet", ("--quiet is given with no value and then with no",)),
        ("run tiny.toml --alpha 1 --online.alpha 2", ("--alpha and --online.alpha are one",)),
        ("run tiny.toml --scheme moore:2 --alpha 3", ("moore:2 would not use it",)),
        (f"run tiny.toml --out {'x' * 300}", ("File name too long",)),
        ("run tiny.toml --rollout-length 0", ("rollout_length is 0", "positive")),
        ("run tiny.toml --model.elites 3", ("model.elites is 3", "(2)")),
        ("run tiny.toml --model.weight-decay 0 0", ("2 entries", "need 3")),
        ("run tiny.toml --online.refit-every 300", ("(1000)", "multiple", "(300)")),
        ("run missing.toml", ("no configuration at missing.toml",)),
        ("run --resume .", ("is not the folder of a run", "no config.toml")),
        ("report missing", ("there is no folder missing", "check its name")),
        ("run text.toml", ("text.toml is not valid TOML",)),
        ("run folder.toml", ("folder.toml",)),
        ("run wrong.toml", ("unknown setting 'seeds'", "seed")),
        ("convert", ("needs a SOURCE",)),
        ("convert log.hdf5", ("--out",)),
        ("convert missing.hdf5 --out new.npz", ("missing.hdf5: no such file",)),
        ("convert log.hdf5,log.hdf5 --out new.npz", ("several logs", "expected one")),
        ("convert text.hdf5 --out new.npz", ("text.hdf5: cannot be read as HDF5",)),
        ("convert log.hdf5 --out log.hdf5", ("log.hdf5 exists already",)),
        ("convert log.hdf5 --out new.csv", ("'new.csv': no name", "path.hdf5", "minari:ID")),
        ("convert log.hdf5 --out missing/new.npz", ("no folder missing",)),
        ("convert log.hdf5 --out minari:new", ("minari:new is not the id", "NAMESPACE/NAME-vN")),
        ("convert log.hdf5 --out new.npz --format d4rl", ("'new.npz' in format d4rl",)),
        ("convert log.hdf5 --out new.npz --format csv", ("--format", "csv")),
        ("convert log.hdf5 --out new.npz --max-rows 0", ("max_rows is 0", "at least 1")),
        ("convert log.hdf5 --out new.npz --max-rows 5", ("shortest has 20 rows", "give more")),
        ("convert log.hdf5 --out new.npz --fraction 1.5", ("fraction is 1.5", "(0, 1]")),
        ("preview --n-off 0", ("--n-off is 0", "positive")),
        ("preview --n-off many", ("--n-off", "many")),
        ("preview --epochs 0", ("--epochs is 0", "positive")),
        ("preview --steps-per-epoch -5", ("--steps-per-epoch is -5", "positive")),
        ("preview --peak 0", ("peak", "(0, 1]")),
        ("preview --peak nan", ("peak", "(0, 1]")),
        ('preview --schemes ""', ("unknown scheme ''",)),
        ("preview --schemes my_plant.schemes:near", ("cannot be imported",)),
        ("preview --schemes math:sin", ("math:sin", "only a run can show")),
        ("preview --png nowhere/preview.png", ("nowhere/preview.png", "cannot be written")),
    ],
)
def test_a_wrong_value(line, messages, desk, moore_refuses):
    (desk / "text.toml").write_text("hello")
    (desk / "text.hdf5").write_text("hello")
    (desk / "wrong.toml").write_text("seeds = 1")
    (desk / "folder.toml").mkdir()
    message = moore_refuses(line)
    for words in messages:
        assert words in message


def test_the_folder_of_a_run_is_no_preset(desk, moore_refuses):
    (desk / "old").mkdir()
    (desk / "old" / "config.toml").touch()
    told = moore_refuses("run old --seed 1")
    assert "moore run --resume old" in told and "moore run old/config.toml" in told
