"""Exported files compute what the policy computes: ONNX, StableHLO, NumPy, and the C header."""

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from made_policies import HIGH, LOW, PLANT, by_hand, made
from moore.algorithms import AGENTS
from moore.errors import InputError
from moore.exporting.network import network_of
from moore.exporting.onnx_graph import onnx_bytes
from moore.exporting.plain_files import c_header, npz_bytes, run_npz
from moore.exporting.stablehlo import run_stablehlo, stablehlo_bytes
from moore.exporting.states import LoggedStates, random_states
from moore.exporting.verification import TOLERANCE, VerificationError, onnx_runner, verify
from moore.units import Units

C_SOURCE = Path(__file__).parents[1] / "examples" / "c_policy" / "policy.c"
OBS = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
PLANT_OBS = (OBS * np.asarray(PLANT.obs_std) + PLANT.obs_mean).astype(np.float32)


def onnx_run(policy, *inputs, rate_limit=None):
    return onnx_runner(onnx_bytes(network_of(policy, rate_limit), about="a test"))(*inputs)


def stablehlo_run(policy, *inputs, rate_limit=None):
    return run_stablehlo(stablehlo_bytes(network_of(policy, rate_limit)), *inputs)


def npz_run(policy, *inputs, rate_limit=None):
    return run_npz(npz_bytes(network_of(policy, rate_limit)), *inputs)


def c_run(policy, *inputs, rate_limit=None):
    """Compiles the example for this policy, and runs it on the rows."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc on this machine")
    folder = Path(c_run.folder)
    (folder / "policy.h").write_text(c_header(network_of(policy, rate_limit), about="a test"))
    strict = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    command = [compiler, *strict, "-I", folder, "-DPOLICY_MAIN", C_SOURCE, "-lm", "-o"]
    subprocess.run([*command, folder / "policy"], check=True)
    rows = np.concatenate(inputs, axis=1)
    text = "\n".join(" ".join(f"{x:.9g}" for x in row) for row in rows)
    done = subprocess.run([folder / "policy"], input=text, text=True, capture_output=True)
    if done.returncode:
        raise ValueError(done.stderr)
    return np.asarray([line.split() for line in done.stdout.splitlines()], np.float32)


@pytest.fixture(autouse=True)
def folder_for_c(tmp_path):
    c_run.folder = tmp_path


PATHS = [onnx_run, stablehlo_run, npz_run, c_run]


# --- Worked by hand ---


@pytest.mark.parametrize("run", PATHS)
def test_normaliser_network_squashing_and_bounds_are_inside(run):
    # x = (obs - 2) / 4; before the tanh: relu(x) - 2 relu(-x) + 0.5; the range is [-1, 3].
    policy = by_hand((1.0, -2.0, 0.5), units=Units((2.0,), (4.0,)))
    obs = np.asarray([[6.0], [2.0], [0.0], [1e6]], np.float32)
    before_tanh = [1.5, 0.5, -0.5, math.inf]
    wanted = [[-1.0 + 2.0 * (math.tanh(y) + 1.0)] for y in before_tanh]
    np.testing.assert_allclose(run(policy, obs), wanted, atol=4e-6)
    np.testing.assert_allclose(policy(obs), wanted, atol=4e-6)


@pytest.mark.parametrize("run", PATHS)
def test_a_mixture_acts_by_the_mean_of_its_members(run):
    policy = by_hand((1.0, 0.0, 0.0), (3.0, 0.0, -1.0))  # at x = 1: 1 and 2, in the mean 1.5
    wanted = -1.0 + 2.0 * (math.tanh(1.5) + 1.0)
    np.testing.assert_allclose(run(policy, np.ones((1, 1), np.float32)), [[wanted]], atol=4e-6)


@pytest.mark.parametrize("run", PATHS)
def test_the_action_changes_by_at_most_the_rate_limit(run):
    policy = by_hand((0.0, 0.0, 0.0))  # always acts 1.0, the middle of [-1, 3]
    previous = np.asarray([[1.0], [0.9], [0.0], [2.0], [-5.0], [9.0]], np.float32)
    # A previous action out of bounds counts as the bound itself.
    wanted = [[1.0], [1.0], [0.25], [1.75], [-0.75], [2.75]]
    obs = np.zeros((6, 1), np.float32)
    np.testing.assert_allclose(run(policy, obs, previous, rate_limit=(0.25,)), wanted, atol=1e-6)


@pytest.mark.parametrize("run", PATHS)
def test_every_entry_may_have_a_limit_of_its_own(run):
    policy, steps = made("iql"), np.asarray([0.5, 0.01])
    previous = np.tile(LOW, (len(OBS), 1))
    acted = run(policy, OBS, previous, rate_limit=(0.5, 0.01))
    np.testing.assert_allclose(acted, np.minimum(policy(OBS), LOW + steps), atol=1e-5)
    assert (policy(OBS) > LOW + steps).any(axis=0).all(), "both limits are reached"


# --- Every agent ---


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_s_policy_is_exported_as_it_acts(name):
    policy = made(name, units=PLANT)
    wanted, reach = policy(PLANT_OBS), HIGH - LOW
    for run in (onnx_run, npz_run):
        assert (np.abs(run(policy, PLANT_OBS) - wanted) / reach).max() < TOLERANCE
    np.testing.assert_allclose(network_of(policy).exact(PLANT_OBS), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["sac", "balanced_replay", "adaptive_bc"])
@pytest.mark.parametrize("run", [stablehlo_run, c_run])
def test_every_kind_of_actor_is_one_in_stablehlo_and_in_c(name, run):
    policy = made(name, units=PLANT)
    wanted, reach = policy(PLANT_OBS), HIGH - LOW
    assert (np.abs(run(policy, PLANT_OBS) - wanted) / reach).max() < TOLERANCE


# --- What the graphs are ---


def test_any_number_of_rows_may_be_given():
    policy = made(units=PLANT)
    network = network_of(policy)
    graph, program = onnx_runner(onnx_bytes(network, about="")), stablehlo_bytes(network)
    for rows in (1, 2, 40):
        obs = PLANT_OBS[:rows]
        np.testing.assert_allclose(graph(obs), policy(obs), atol=1e-5)
        np.testing.assert_allclose(run_stablehlo(program, obs), policy(obs), atol=1e-5)


def test_the_onnx_graph_states_its_inputs_and_uses_few_operators():
    network = network_of(made("balanced_replay", units=PLANT), (0.1,))
    model = onnx.load_model_from_string(onnx_bytes(network, about="for a test"))
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    assert model.doc_string == "for a test"

    def shapes(arrays):
        axes = {a.name: a.type.tensor_type.shape.dim for a in arrays}
        return {name: [d.dim_param or d.dim_value for d in dims] for name, dims in axes.items()}

    assert shapes(model.graph.input) == {"obs": ["batch", 3], "previous_action": ["batch", 2]}
    assert shapes(model.graph.output) == {"action": ["batch", 2]}
    assert {node.op_type for node in model.graph.node} == {
        *("Sub", "Div", "MatMul", "Add", "Relu", "ReduceSum", "Mul", "Tanh", "Max", "Min"),
    }
    kinds = {constant.data_type for constant in model.graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}  # INT64: axes


def test_the_same_policy_gives_the_same_bytes():
    network = network_of(made())
    assert onnx_bytes(network, about="") == onnx_bytes(network, about="")
    assert c_header(network, about="") == c_header(network, about="")


@pytest.mark.parametrize("run", [onnx_run, stablehlo_run])
def test_a_reading_that_is_no_number_gives_no_action(run):
    policy, obs = made(units=PLANT), PLANT_OBS[:5].copy()
    obs[[0, 1, 2], [2, 0, 1]] = [np.nan, np.inf, -np.inf]
    acted = run(policy, obs)
    assert np.isnan(acted[:3]).all()
    np.testing.assert_allclose(acted[3:], policy(obs[3:]), atol=1e-5)
    previous = np.zeros((5, 2), np.float32)
    previous[3, 1] = np.nan
    limited = run(policy, obs, previous, rate_limit=(0.1,))
    assert np.isnan(limited[:4]).all() and np.isfinite(limited[4]).all()


@pytest.mark.parametrize("rate_limit", [None, (0.1,)])
def test_the_c_program_refuses_what_is_no_number(rate_limit):
    rows = np.full((1, 3 + 2 * (rate_limit is not None)), np.nan, np.float32)
    with pytest.raises(ValueError, match="not a finite number"):
        c_run(made(), rows, rate_limit=rate_limit)


def test_numbers_that_look_like_integers_are_floats_in_c():
    network = network_of(by_hand((1e9, 123456.0, -0.0)))
    header = c_header(network, about="")
    for text in ("1e+09f", "123456.0f", "-0.0f"):
        assert text in header


# --- Verification ---


def files_of(policy, rate_limit=None) -> dict[str, bytes]:
    network = network_of(policy, rate_limit)
    files = {"policy.onnx": onnx_bytes(network, about=""), "policy.npz": npz_bytes(network)}
    return files | {"policy.stablehlo": stablehlo_bytes(network)}


def test_a_file_of_another_policy_is_noticed_even_behind_a_rate_limit():
    policy, other = made(seed=0), made(seed=1)
    for limit in (None, (1e-3,)):
        network, files = network_of(policy, limit), files_of(policy, limit)
        checks = verify(files, policy, network, {"random": OBS}, seed=0)
        assert [check.file for check in checks] == [
            *("policy.onnx", "policy.stablehlo", "policy.npz")
        ]
        assert all(check.largest_error < TOLERANCE == check.allowed for check in checks)
    for name, content in files_of(other, limit).items():
        with pytest.raises(VerificationError, match=f"^{name} differs .* on random states"):
            verify(files | {name: content}, policy, network, {"random": OBS}, seed=0)


def test_an_error_of_the_size_of_the_tolerance_is_noticed():
    policy = made()
    network, files = network_of(policy), files_of(policy)
    bias = network.layers[-1].bias
    bias += 3e-5  # a tenth of what a sensor would notice; 1.5e-5 of the range
    try:
        changed = {"policy.onnx": onnx_bytes(network_of(policy), about="")}
    finally:
        bias -= 3e-5
    with pytest.raises(VerificationError, match="differs"):
        verify(files | changed, policy, network, {"random": OBS}, seed=0)


@pytest.mark.parametrize("run", PATHS)
def test_a_mean_that_is_large_beside_its_deviation_costs_no_digits(run):
    policy = by_hand((1.0, -1.0, 0.0), units=Units((101_325.3,), (0.05,)))
    obs = np.float32(101_325.3) + np.asarray([[-0.0625], [0.0], [0.0625]], np.float32)
    # float32 keeps sixteenths of a pascal: a mean of 101,325.3125 would be wrong by a quarter.
    x = (obs.astype(np.float64) - 101_325.3) / 0.05
    np.testing.assert_allclose(run(policy, obs), 1.0 + 2.0 * np.tanh(x), atol=4e-5)
    np.testing.assert_allclose(run(policy, obs), policy(obs), atol=4e-5)


def test_a_policy_as_steep_as_a_switch_may_differ_by_what_float32_rounds():
    policy = by_hand((3e4, -3e4, 0.0), units=Units((0.3,), (1.0,)))
    obs = (0.3 + np.linspace(-1e-4, 1e-4, 999)[:, None]).astype(np.float32)
    (check, *_) = verify(files_of(policy), policy, network_of(policy), {"random": obs}, seed=0)
    assert check.largest_error <= check.allowed <= 1e-3


def test_random_states_cover_the_log_and_a_little_more():
    nothing = LoggedStates(OBS[:0], OBS[0, :0], OBS[0, :0], missing="for a test")
    low, high = np.asarray([0.0, -1.0, 5.0]), np.asarray([1.0, 1.0, 5.0])
    log = LoggedStates(OBS, low.astype(np.float32), high.astype(np.float32))
    drawn, how = random_states(made(), log, seed=0)
    more = np.asarray([0.1, 0.2, 0.0])
    assert drawn.shape == (10_000, 3) and drawn.dtype == np.float32 and "10% more" in how
    np.testing.assert_allclose(drawn.min(axis=0), low - more, atol=0.01)
    np.testing.assert_allclose(drawn.max(axis=0), high + more, atol=0.01)
    drawn, _ = random_states(made(units=PLANT), nothing, seed=0)
    np.testing.assert_allclose(drawn.std(axis=0), 2.0 * np.asarray(PLANT.obs_std), rtol=0.05)
    drawn, _ = random_states(made(), nothing, seed=0)
    np.testing.assert_allclose(drawn.std(axis=0), 1.0, rtol=0.05)


@pytest.mark.parametrize(
    ("limit", "words"),
    [((0.1, 0.2, 0.3), "3 numbers for 2"), ((0.0,), "positive"), ((-1.0, 1.0), "positive"),
     ((float("inf"),), "positive"), ((float("nan"),), "positive")],
)  # fmt: skip
def test_a_rate_limit_that_is_none_is_refused(limit, words):
    with pytest.raises(InputError, match=rf"--rate-limit .*{words}"):
        network_of(made(), limit)


def test_an_entry_that_is_locked_keeps_its_only_value():
    policy = made()
    policy.low, policy.high = (
        np.asarray([-1.0, 0.25], np.float32),
        np.asarray([2.0, 0.25], np.float32),
    )
    for run in PATHS:
        np.testing.assert_array_equal(run(policy, OBS)[:, 1], np.float32(0.25))
    verify(files_of(policy), policy, network_of(policy), {"random": OBS}, seed=0)
