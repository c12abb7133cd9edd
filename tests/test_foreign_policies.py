"""Policies of stable-baselines3 and d3rlpy: their actions, without those packages and unpickling.

tests/foreign/make_files.py made the files, and the actions that the packages compute.
"""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.errors import InputError
from moore.guarding.d3rlpy_file import read_d3rlpy
from moore.guarding.pickled import plain_data
from moore.guarding.stable_baselines3 import read_stable_baselines3
from moore.guarding.torch_file import open_torch

FOLDER = Path(__file__).parent / "foreign"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
OBS, LOW, HIGH = (np.array(EXPECTED[name], np.float32) for name in ("obs", "low", "high"))


def read(name: str, path: Path | None = None, **kwargs):
    reader = read_d3rlpy if name.endswith(".d3") else read_stable_baselines3
    return reader(path or FOLDER / name, **({"low": LOW, "high": HIGH} | kwargs))


@pytest.mark.parametrize("name", ["sac.zip", "td3_elu.zip", "ppo.zip", "cql.d3", "iql.d3", "bc.d3"])
def test_a_file_acts_as_in_its_own_package(name):
    obs = OBS if name.endswith(".d3") else OBS / 100
    controller = read(name)
    actions = np.clip(controller.act(obs), LOW, HIGH) if name == "ppo.zip" else controller.act(obs)
    np.testing.assert_allclose(actions, EXPECTED["actions"][name], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(controller.act(obs[0]), controller.act(obs)[0], rtol=1e-5)


def test_observations_can_be_normalised_as_vecnormalize_did():
    mean, std = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
    plain, normalised = read("sac.zip"), read("sac.zip", obs_mean=mean, obs_std=std)
    np.testing.assert_allclose(
        normalised.act(OBS), plain.act(((OBS - mean) / std).astype(np.float32)), rtol=1e-5
    )


class Trap:
    """Pickled, it opens a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def with_entry(tmp_path: Path, name: str, entry: str, content: bytes) -> Path:
    """A copy of a zip with one entry replaced."""
    made = tmp_path / name
    with zipfile.ZipFile(FOLDER / name) as old, zipfile.ZipFile(made, "w") as new:
        for key in old.namelist():
            new.writestr(key, content if key == entry else old.read(key))
    return made


def test_code_in_a_file_is_refused_by_name_and_never_run(tmp_path):
    sprung = tmp_path / "sprung"
    bad = tmp_path / "bad.d3"
    bad.write_bytes(pickle.dumps({"torch": Trap(sprung), "config": "{}", "version": "2"}))
    with pytest.raises(InputError, match=r"names the code \w+\.open, which is not read"):
        read("bad.d3", bad)
    weights = io.BytesIO()
    with zipfile.ZipFile(weights, "w") as entries:
        entries.writestr("archive/data.pkl", pickle.dumps({"actor.mu.0.weight": Trap(sprung)}))
    bad = with_entry(tmp_path, "sac.zip", "policy.pth", weights.getvalue())
    with pytest.raises(InputError, match=r"names the code \w+\.open"):
        read("sac.zip", bad)
    assert not sprung.exists()


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_come_out_as_they_went_in(protocol):
    data = {"a": [1, 2.5, None, True], "b": (1, ("x", b"y"), -7), "c": {}, "d": [[], ()]}
    data["again"] = data["a"]
    assert plain_data(pickle.dumps(data, protocol)) == data


@given(st.binary(max_size=60))
def test_bytes_that_are_no_pickle_raise_nothing_but_a_value_error(content):
    for begun in (content, b"\x80\x04" + content, b"\x80\x02(]" + content):
        try:
            plain_data(begun, known={"collections OrderedDict": dict})
        except ValueError:
            continue


def test_a_damaged_copy_of_every_file_is_told_in_one_sentence_or_acts(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("sac.zip", "cql.d3"):
        content = bytearray((FOLDER / name).read_bytes())
        for i in range(30):
            damaged = content.copy()
            at = int(rng.integers(len(content)))
            damaged = damaged[:at] if i % 3 == 0 else damaged
            damaged[at : at + 4] = rng.bytes(4)
            path = tmp_path / name
            path.write_bytes(bytes(damaged))
            try:
                assert read(name, path).act(OBS).shape == (5, 2)
            except InputError as error:
                assert "\n" not in str(error)


def test_a_tensor_that_reaches_beyond_its_numbers_is_refused():
    torch_file = open_torch(zipfile.ZipFile(FOLDER / "sac.zip").read("policy.pth"))
    tensor = torch_file.content["actor.mu.weight"]
    assert torch_file.array(tensor).shape == (2, 3)
    for changed in ({"offset": 1}, {"strides": (3, 9)}, {"shape": (2, 4)}, {"shape": (-2, 3)}):
        with pytest.raises(ValueError, match="a tensor"):
            torch_file.array(type(tensor)(**{**vars(tensor), **changed}))


@pytest.mark.parametrize(
    "name, kwargs, told",
    [
        ("sac_sde.zip", {}, r"state-dependent noise \(use_sde\), which is not read"),
        ("sac.zip", {"low": LOW - 1}, r"trained with the bounds low = \[-2.0, 0.0\]"),
        ("ppo.zip", {"low": LOW[:1], "high": HIGH[:1]}, "actions have 2 entries, the bounds 1"),
        ("cql.d3", {"low": LOW[:1], "high": HIGH[:1]}, "actions have 2 entries, the bounds 1"),
        ("sac.zip", {"obs_mean": OBS[0, :2], "obs_std": OBS[0, :2]}, "2 means for 3 observations"),
    ],
)
def test_what_does_not_fit_is_told(name, kwargs, told):
    with pytest.raises(InputError, match=told):
        read(name, **kwargs)


def test_an_activation_that_is_not_known_is_told_with_those_that_are(tmp_path):
    settings = json.loads(zipfile.ZipFile(FOLDER / "sac.zip").read("data"))
    settings["policy_kwargs"] = {"activation_fn": "<class 'torch.nn.modules.activation.Hardtanh'>"}
    bad = with_entry(tmp_path, "sac.zip", "data", json.dumps(settings).encode())
    with pytest.raises(InputError, match="activation is hardtanh; the known ones are relu, tanh"):
        read("sac.zip", bad)


def test_weights_without_scalers_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(plain_data((FOLDER / "cql.d3").read_bytes())["torch"])
    with pytest.raises(InputError, match=r"weights without scalers \(`save_model`\)"):
        read_d3rlpy(path, low=LOW, high=HIGH)


def test_an_observation_of_another_size_is_told():
    with pytest.raises(InputError, match="observation has 2 entries; this controller takes 3"):
        read("sac.zip").act(OBS[:, :2])
