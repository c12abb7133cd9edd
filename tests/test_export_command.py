"""moore export: what it writes, what it tells, and what it refuses."""

import hashlib
import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from desk import files
from made_policies import PLANT, made
from moore.cli import main
from moore.exporting import export as exporting
from moore.exporting.verification import onnx_runner
from moore.formats.npz import write_npz
from moore.runs.policy import load_policy, save_policy
from tiny import tiny_log

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from numpy_policy import NumpyPolicy

NAMES = {
    "policy.onnx", "policy.stablehlo", "policy.npz", "policy.h", "contract.json", "MODEL_CARD.md",
}  # fmt: skip
ROWS = 300
TABLE = """
obs = ["pressure", "valve", "temperature"]
action = ["heat", "feed"]
reward = "yield"
[units]
pressure = "Pa"
heat = "kW"
"""


def write_table(folder: Path) -> np.ndarray:
    """A plant's log with names and units of its columns; returns its observations."""
    dice = np.random.default_rng(0)
    obs = dice.normal(PLANT.obs_mean, PLANT.obs_std, (ROWS, 3))
    action, rewards = dice.uniform([-1.0, 0.0], [2.0, 0.1], (ROWS, 2)), dice.normal(size=ROWS)
    rows = np.column_stack([obs, action, rewards])
    lines = [",".join(f"{x:.9g}" for x in row) for row in rows]
    head = "pressure,valve,temperature,heat,feed,yield"
    (folder / "log.csv").write_text("\n".join([head, *lines]) + "\n")
    (folder / "log.toml").write_text(TABLE)
    return obs.astype(np.float32)


@pytest.fixture
def run(desk):
    """A run folder with a policy of a plant; the log that it names is not there."""
    save_policy(desk / "run" / "policy", made(units=PLANT, dataset="log.csv", algorithm="moore"))
    return desk / "run"


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A folder with the plant's log, a run, and what was exported of it: `run` and `out`."""
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("plant")
    write_table(folder)
    policy = made(units=PLANT, dataset=str(folder / "log.csv"), algorithm="moore")
    save_policy(folder / "run" / "policy", policy)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        main(shlex.split("export run --out out --rate-limit 0.5 0.02"))
    return folder


@pytest.fixture(scope="module")
def exported(plant):
    """Nobody writes into it."""
    return plant / "out"


# --- What it writes ---


def test_the_folder_says_all_that_its_user_needs(exported, plant):
    assert {path.name for path in exported.iterdir()} == NAMES
    contract = json.loads((exported / "contract.json").read_text())
    obs, previous = contract["inputs"]
    (action,) = contract["outputs"]
    assert [obs["name"], previous["name"], action["name"]] == ["obs", "previous_action", "action"]
    assert obs["shape"] == ["batch", 3] and obs["dtype"] == "float32"
    assert [entry["name"] for entry in obs["entries"]] == ["pressure", "valve", "temperature"]
    assert [entry["unit"] for entry in obs["entries"]] == ["Pa", None, None]
    assert 101_250 < obs["entries"][0]["log_low"] < 101_310
    first, second = action["entries"]
    assert first == {"name": "heat", "unit": "kW", "low": -1.0, "high": 2.0, "rate_limit": 0.5}
    assert second["name"] == "feed" and second["rate_limit"] == pytest.approx(0.02)
    assert previous["entries"][0] == {"name": "heat", "unit": "kW", "low": -1.0, "high": 2.0}
    about = json.loads((plant / "run" / "policy" / "policy.json").read_text())
    assert contract["policy"]["id"] == about["sha256"]
    assert contract["command"] == "moore export run --out out --rate-limit 0.5 0.02"
    assert len(contract["log"]["sha256"]) == 64
    assert contract["scores"] == {}, "nothing was measured"
    assert contract["versions"].keys() >= {"moore", "python", "onnx", "onnxruntime"}
    for name, told in contract["files"].items():
        content = (exported / name).read_bytes()
        assert told["sha256"] == hashlib.sha256(content).hexdigest()
    assert contract["files"].keys() == NAMES - {"contract.json", "MODEL_CARD.md"}


def test_every_file_was_compared_on_random_and_on_logged_states(exported):
    checks = json.loads((exported / "contract.json").read_text())["verification"]["checks"]
    assert {(c["file"], c["states"], c["rows"]) for c in checks} == {
        (f"policy.{kind}", states, rows)
        for kind in ("onnx", "stablehlo", "npz")
        for states, rows in (("random", 10_000), ("logged", ROWS - 1))
    }
    assert all(c["largest_error"] < 1e-5 for c in checks)


def test_the_model_card_is_plain_sentences_and_tables(exported):
    card = (exported / "MODEL_CARD.md").read_text()
    for words in (
        "# Policy for Some-v0",
        "the algorithm moore",
        "| 0 | pressure | Pa |",
        "| 0 | heat | kW | -1 | 2 | 0.5 |",
        "The change of the action from one step to the next is limited.",
        "Nothing was measured",
        "There are no interlocks",
        "`moore export run --out out --rate-limit 0.5 0.02`",
    ):
        assert words in card


def test_the_page_of_numpy_acts_as_the_policy_does(exported, plant, tmp_path):
    obs, policy = write_table(tmp_path), load_policy(plant / "run")
    runner, wanted = NumpyPolicy(exported), policy(obs)
    reach = policy.high - policy.low
    np.testing.assert_allclose(runner(obs, wanted) / reach, wanted / reach, atol=1e-5)
    start = np.tile(policy.low, (len(obs), 1))
    limited = np.minimum(wanted, policy.low + np.asarray([0.5, 0.02], np.float32))
    np.testing.assert_allclose(runner(obs, start) / reach, limited / reach, atol=1e-5)
    one = runner(obs[0], wanted[0])
    np.testing.assert_allclose(one / reach, wanted[0] / reach, atol=1e-5)
    for bad in ((obs[0, :2], wanted[0]), (obs[0] * np.nan, wanted[0]), (obs[0], None)):
        with pytest.raises(ValueError, match=r"expected 3 finite|limits the change"):
            runner(*bad)
    numbers = [*obs[0].tolist(), *wanted[0].tolist()]
    page = Path(__file__).parents[1] / "examples" / "numpy_policy.py"
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n"
               "sys.modules |= dict.fromkeys(('jax', 'moore'))\n"
               f"import runpy; sys.argv = sys.argv[1:]; runpy.run_path({str(page)!r}, "
               "run_name='__main__')"]  # fmt: skip
    given = ["numpy_policy.py", exported, *map(str, numbers)]
    done = subprocess.run([*command, *given], capture_output=True, text=True)
    np.testing.assert_allclose([float(x) for x in done.stdout.split()], one, rtol=1e-6)


def test_the_page_of_numpy_refuses_numbers_of_another_export(exported, tmp_path):
    content = bytearray((exported / "policy.npz").read_bytes())
    content[-1] ^= 1
    (tmp_path / "policy.npz").write_bytes(content)
    (tmp_path / "contract.json").write_bytes((exported / "contract.json").read_bytes())
    with pytest.raises(ValueError, match="not the file that"):
        NumpyPolicy(tmp_path)


def test_without_the_log_random_states_are_enough_and_it_is_said(run, desk, moore_prints):
    text = moore_prints("export run")
    assert "note: no logged states were compared: the log cannot be read here" in text
    contract = json.loads((run / "export" / "contract.json").read_text())
    assert {check["states"] for check in contract["verification"]["checks"]} == {"random"}
    assert contract["log"] is None
    entry = contract["inputs"][0]["entries"][0]
    assert entry == {"name": "obs[0]", "unit": None, "log_low": None, "log_high": None}


def test_an_empty_folder_is_filled_and_json_is_printed(run, desk, moore_prints):
    (desk / "out").mkdir()
    printed = json.loads(moore_prints("export run --out out --json"))
    assert printed == json.loads((desk / "out" / "contract.json").read_text())
    act = onnx_runner((desk / "out" / "policy.onnx").read_bytes())
    obs = np.random.default_rng(0).normal(PLANT.obs_mean, PLANT.obs_std, (5, 3)).astype(np.float32)
    np.testing.assert_allclose(act(obs), load_policy(run)(obs), atol=1e-5)


def test_scores_are_those_of_the_run(quick_run, tmp_path, moore_prints):
    contract = json.loads(moore_prints(f"export {quick_run} --out {tmp_path / 'out'} --json"))
    last = [json.loads(line) for line in (quick_run / "metrics.jsonl").read_text().splitlines()][-1]
    told = contract["scores"]["evaluation"]
    assert (told["return"], told["epoch"]) == (last["eval/return"], last["epoch"])
    assert told["stage"] == "online" and told["is_of_this_policy"]
    summary = json.loads((quick_run / "summary.json").read_text())
    assert contract["scores"]["transfer"]["gain"] == summary["transfer"]["gain"]
    assert contract["log"]["sha256"] == summary["dataset"]["sha256"]
    assert contract["log"]["unchanged"]
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "Mean return of 1 episode, deterministic" in card


# --- What it refuses ---


def test_another_log_than_the_run_s_gives_no_ranges(quick_run, tmp_path, moore_refuses):
    """Its states would pass the checks, and its ranges would stand in the contract."""
    log = tiny_log(seed=1)
    write_npz(tmp_path / "other.npz", replace(log, obs=100 * log.obs, next_obs=100 * log.next_obs))
    line = f"export {quick_run} --out {tmp_path / 'out'} --dataset {tmp_path / 'other.npz'}"
    assert "other.npz: is not the log that the policy was trained on" in moore_refuses(line)


def test_a_file_that_acts_otherwise_ends_with_1_and_leaves_nothing(run, desk, monkeypatch, capsys):
    real = exporting.onnx_bytes
    other = exporting.network_of(made(seed=1, units=PLANT))
    monkeypatch.setattr(exporting, "onnx_bytes", lambda network, about: real(other, about=about))
    before = files(desk)
    with pytest.raises(SystemExit) as stop:
        main(shlex.split("export run --out out"))
    out, err = capsys.readouterr()
    assert stop.value.code == 1 and out == ""
    assert "policy.onnx differs from the policy" in err and "Nothing was written" in err
    assert files(desk) == before and not (desk / "out").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "flatbuffers"])
def test_a_missing_extra_is_named(package, run, monkeypatch, moore_refuses):
    monkeypatch.setitem(sys.modules, package, None)
    text = moore_refuses("export run --out out")
    assert f"needs the package {package}" in text and 'pip install "moore-rl[export]"' in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("export", "needs a RUN"),
        ("export nowhere --out out", "there is no saved policy in nowhere"),
        ("export run --out log.hdf5", "exists already"),
        ("export run --out run", "exists already"),
        ("export run/policy", "say with --out"),
        ("export run --rate-limit 0", "expected positive numbers"),
        ("export run --rate-limit 1 2 3", "3 numbers for 2 entries"),
        ("export run --rate-limit fast", "fast"),
        ("export run --dataset nowhere.hdf5", "nowhere.hdf5"),
        ("export run --dataset log.hdf5", "the log that the policy was trained on"),
        ("export run --seed -1", "--seed"),
    ],
)
def test_bad_input_is_refused_in_one_line(line, words, run, moore_refuses):
    assert words in moore_refuses(line)


def test_a_damaged_policy_is_refused(run, moore_refuses):
    (run / "policy" / "policy.json").write_text("{")
    assert "policy" in moore_refuses("export run --out out")


def test_a_policy_of_a_later_version_is_refused(run, moore_refuses):
    place = run / "policy" / "policy.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"format": 9, "moore": "7.0"}))
    assert "was saved by moore 7.0 in format 9" in moore_refuses("export run --out out")
