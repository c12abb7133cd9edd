"""A saved policy where only NumPy is installed, and the one-page runner of the examples."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import moore
from made_policies import PLANT, by_hand, made
from moore.algorithms import AGENTS
from moore.errors import InputError
from moore.exporting.numpy_policy import load_policy, read_arrays
from moore.runs import policy as with_jax
from moore.runs.policy import save_policy

EXAMPLES = Path(__file__).parents[1] / "examples"
OBS = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
PLANT_OBS = (OBS * np.asarray(PLANT.obs_std) + PLANT.obs_mean).astype(np.float32)

# In a process where every other package is missing: the actions of each policy in a folder.
ALONE = """
import json, sys
from pathlib import Path
packages = ("jax", "jaxlib", "equinox", "optax", "jaxtyping", "safetensors", "scipy", "gymnasium",
            "h5py", "tyro", "beartype", "typing_extensions")
sys.modules |= dict.fromkeys(packages)
import numpy as np
before = set(sys.modules)
import moore
obs = np.load(sys.argv[2])
found = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    policy = moore.load_policy(folder, seed=3)
    assert isinstance(policy, moore.Policy) and policy.obs_dim == 3
    one = policy(obs[0])
    assert one.shape == (2,) and one.dtype == np.float32
    batches = policy(obs), policy(obs, deterministic=False)
    assert np.allclose(one, batches[0][0], atol=1e-6)
    found[folder.name] = [batch.tolist() for batch in batches]
new = {name.partition(".")[0] for name in set(sys.modules) - before}
ours = {"moore", "numpy", *sys.stdlib_module_names}
others = sorted(name for name in new - ours if "cython" not in name)  # NumPy's own
print(json.dumps({"found": found, "others": others}))
"""


def test_every_agent_s_policy_acts_without_any_package_but_numpy(tmp_path):
    policies = {name: made(name, units=PLANT if i % 2 else by_hand((1, 1, 1)).units)
                for i, name in enumerate(AGENTS)}  # fmt: skip
    for name, policy in policies.items():
        save_policy(tmp_path / "runs" / name / "policy", policy)
    np.save(tmp_path / "obs.npy", PLANT_OBS)
    arguments = [sys.executable, "-c", ALONE, tmp_path / "runs", tmp_path / "obs.npy"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["others"] == []
    assert result["found"].keys() == policies.keys()
    for name, (acted, sampled) in result["found"].items():
        loaded = with_jax.load_policy(tmp_path / "runs" / name, seed=3)
        reach = loaded.high - loaded.low
        np.testing.assert_allclose(acted / reach, loaded(PLANT_OBS) / reach, atol=1e-5)
        drawn = loaded(PLANT_OBS, deterministic=False)
        np.testing.assert_allclose(sampled / reach, drawn / reach, atol=1e-5)


def test_a_package_that_something_keeps_from_being_imported_is_not_there(tmp_path, monkeypatch):
    def refuse(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    save_policy(tmp_path / "policy", by_hand((1.0, 0.0, 0.0), (3.0, 0.0, -1.0)))
    monkeypatch.setattr(importlib.util, "find_spec", refuse)
    assert moore.load_policy is load_policy


def test_a_policy_worked_by_hand(tmp_path):
    save_policy(tmp_path / "policy", by_hand((1.0, 0.0, 0.0), (3.0, 0.0, -1.0)))
    acted = load_policy(tmp_path)(np.ones(1))
    np.testing.assert_allclose(acted, -1.0 + 2.0 * (np.tanh([1.5]) + 1.0), atol=1e-6)


def test_with_jax_the_usual_policy_is_loaded():
    import moore

    assert moore.load_policy is with_jax.load_policy


@pytest.mark.parametrize("name", ["sac", "adaptive_bc"])
def test_the_first_format_loads(name, tmp_path):
    save_policy(tmp_path / "policy", made(name))

    def as_it_was(about):
        for key in ("format", "moore", "acting", "sha256", "units"):
            del about[key]

    edit(tmp_path, as_it_was)
    loaded, wanted = load_policy(tmp_path), with_jax.load_policy(tmp_path)
    np.testing.assert_allclose(loaded(OBS), wanted(OBS), atol=1e-6)
    sampled = [policy(OBS, deterministic=False) for policy in (loaded, wanted)]
    np.testing.assert_allclose(*sampled, atol=1e-6)


# --- Damage ---


@pytest.fixture
def saved(tmp_path):
    save_policy(tmp_path / "run" / "policy", made(units=PLANT))
    return tmp_path / "run"


def edit(run, change) -> None:
    place = run / "policy" / "policy.json"
    about = json.loads(place.read_text())
    change(about)
    place.write_text(json.dumps(about))


def refused(run, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        load_policy(run)
    assert "\n" not in str(error.value)


def test_what_was_not_saved_so_is_refused(saved):
    file = saved / "policy" / "policy.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    refused(saved, "hash differs")


@pytest.mark.parametrize("length", [0, 5, 8, 60, -4])
def test_weights_that_are_cut_off_are_refused(length, saved):
    file = saved / "policy" / "policy.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    edit(saved, lambda about: about.pop("sha256"))
    refused(saved, "policy in .* is damaged")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: {k: v.astype(np.float64) for k, v in a.items()}, "F64, not float32"),
        (lambda a: {k: np.where(v > 0.2, np.nan, v) for k, v in a.items()}, "not finite"),
        (lambda a: {k: v for k, v in a.items() if "layers[1]" not in k}, "layers"),
        (lambda a: a | {"another": np.zeros(2, np.float32)}, "another belongs to no part"),
        (lambda a: a | {"trunk.layers[2].bias": np.zeros(5, np.float32)}, "shape"),
        (lambda a: {}, "no layers"),
    ],
)
def test_weights_that_fit_no_network_are_refused(change, words, saved):
    file = saved / "policy" / "policy.safetensors"
    save_file(change(load_file(file)), file)
    edit(saved, lambda about: about.pop("sha256"))
    refused(saved, words)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("obs_dim", 4, "shape"),
        ("action_low", [3.0, 0.0], "lie between"),
        ("units", {"obs_mean": [0.0], "obs_std": [1.0]}, "1 means for 3"),
        ("units", {"obs_mean": [0.0] * 3, "obs_std": [0.0] * 3}, "positive deviations"),
        ("units", {}, "no 'obs_mean'"),
        ("format", 3, "Install that version"),
    ],
)
def test_a_policy_that_says_the_impossible_is_refused(key, value, words, saved):
    edit(saved, lambda about: about.pop("sha256") and about.update({key: value}))
    refused(saved, words)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"[]", "no header"),
        (b"{}x", "Extra data"),
        (b"[" * 100_000, "recursion"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}', "outside its file"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}', "outside its file"),
        (b'{"a": {"dtype": "F32", "shape": [7], "data_offsets": [0, 4]}}', "reshape"),
    ],
)
def test_a_strange_header_leads_to_no_weights(header, words):
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    with pytest.raises(ValueError, match=words):
        read_arrays(content)


def test_a_folder_without_a_policy_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no saved policy in"):
        load_policy(tmp_path)
