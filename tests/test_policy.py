"""Saved policies: they act as their agents do, wherever and in whatever version they are loaded."""

import copy
import dataclasses
import json
import multiprocessing
import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from made_policies import HIGH, LOW, made
from moore.algorithms import AGENTS
from moore.config import Config
from moore.errors import InputError
from moore.runs.policy import Policy, load_policy, save_policy
from moore.version import __version__

OBS = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)


@pytest.fixture
def saved(tmp_path):
    """A run folder that holds a policy."""
    save_policy(tmp_path / "run" / "policy", made())
    return tmp_path / "run"


def edit(run, change) -> None:
    """Changes what policy.json says."""
    place = run / "policy" / "policy.json"
    about = json.loads(place.read_text())
    change(about)
    place.write_text(json.dumps(about))


def scaled(squashed) -> np.ndarray:
    return LOW + (np.asarray(squashed) + 1.0) * (0.5 * (HIGH - LOW))


# --- Acting ---


@pytest.mark.parametrize("name", AGENTS)
def test_it_acts_as_its_agent_does_before_and_after_it_was_saved(name, tmp_path):
    policy = made(name)
    save_policy(tmp_path / "policy", policy)
    wanted = scaled(policy.agent.act_mode(policy.weights, jnp.asarray(OBS)))
    for one in (policy, load_policy(tmp_path)):
        assert one(OBS).dtype == np.float32
        np.testing.assert_allclose(one(OBS), wanted, atol=1e-6)
        np.testing.assert_allclose(one(OBS[0]), wanted[0], atol=1e-6)


@pytest.mark.parametrize("name", ["sac", "iql", "adaptive_bc", "balanced_replay"])
def test_its_samples_are_spread_as_its_agents_are(name):
    policy, many = made(name), np.repeat(OBS[:1], 20_000, axis=0)
    drawn = policy(many, deterministic=False)
    wanted = scaled(policy.agent.act(policy.weights, jnp.asarray(many), jax.random.key(0)))
    spread = wanted.std(axis=0)
    np.testing.assert_allclose(drawn.mean(axis=0), wanted.mean(axis=0), atol=0.05 * spread.max())
    np.testing.assert_allclose(drawn.std(axis=0), spread, rtol=0.05)
    assert np.all((drawn >= LOW) & (drawn <= HIGH))


def test_samples_repeat_under_their_seed(saved):
    def three(seed):
        policy = load_policy(saved, seed=seed)
        return np.stack([policy(OBS[0], deterministic=False) for _ in range(3)])

    np.testing.assert_array_equal(three(1), three(1))
    assert np.unique(three(1), axis=0).shape == (3, 2)
    assert not np.array_equal(three(1), three(2))
    # All 64 bits of a seed count.
    assert not np.array_equal(three(1), three(1 + 2**32))


def test_no_action_follows_from_a_reading_that_is_no_number(saved):
    policy = load_policy(saved)
    with pytest.raises(InputError, match=r"not a finite number \(entry 1\)"):
        policy(np.asarray([0.0, np.nan, 1.0]))
    with pytest.raises(InputError, match="entry 2"):
        policy(np.asarray([[0.0, 0.0, 1.0], [0.0, 1.0, np.inf]]))


@pytest.mark.parametrize("obs", [{"level": 1.0}, [[0.0], [1.0, 2.0]], object()])
def test_no_action_follows_from_what_is_no_array(saved, obs):
    with pytest.raises(InputError, match=r"no array of numbers; this policy takes \(3,\)"):
        load_policy(saved)(obs)


_IN_WORKERS: Policy | None = None


def _act_in_a_worker(deterministic: bool) -> np.ndarray:
    return _IN_WORKERS(OBS[0], deterministic=deterministic)


@pytest.mark.filterwarnings("ignore:.*fork.*")
@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"
)
def test_it_acts_in_forked_workers(saved, monkeypatch):
    policy = load_policy(saved)
    jax.block_until_ready(jax.jit(jnp.sin)(jnp.ones(3)))  # JAX has its threads
    monkeypatch.setattr(f"{__name__}._IN_WORKERS", policy)
    wanted = policy(OBS[0])
    with multiprocessing.get_context("fork").Pool(1) as pool:
        acted = pool.map_async(_act_in_a_worker, [True, False]).get(timeout=60)
    np.testing.assert_array_equal(acted[0], wanted)
    assert acted[1].shape == wanted.shape


def test_it_can_be_sent_to_another_process(saved):
    policy = load_policy(saved)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(policy))(OBS), policy(OBS))


# --- Versions ---


@pytest.mark.filterwarnings("error")
def test_one_of_this_version_loads_without_a_word(saved):
    assert load_policy(saved).config == made().config


def test_settings_of_another_version_are_named_and_left_out(saved):
    wanted = load_policy(saved)(OBS)

    def change(about):
        about["moore"] = "9.9"
        about["config"]["online"]["unheard_of"] = 1.0
        about["config"]["sac"]["layers"] = [{"width": 3}]
        about["config"]["new_section"] = {"a": 1}

    edit(saved, change)
    with pytest.warns(UserWarning, match=r"9\.9") as said:
        policy = load_policy(saved)
    for name in ("online.unheard_of", "sac.layers", "new_section", __version__):
        assert name in str(said[0].message)
    np.testing.assert_array_equal(policy(OBS), wanted)
    assert policy.config == made().config


def test_a_setting_whose_values_have_changed_does_not_matter(saved):
    wanted = load_policy(saved)(OBS)
    edit(saved, lambda about: about["config"].update(uncertainty="of another kind"))
    with pytest.warns(UserWarning, match="'uncertainty' is 'of another kind'"):
        policy = load_policy(saved)
    np.testing.assert_array_equal(policy(OBS), wanted)


@pytest.mark.filterwarnings("error")
def test_missing_settings_take_their_defaults(saved):
    wanted = load_policy(saved)(OBS)
    edit(saved, lambda about: about.update(config={"sac": {"discount": 0.5}}))
    policy = load_policy(saved)
    assert policy.config == dataclasses.replace(
        Config(), sac=dataclasses.replace(Config().sac, discount=0.5)
    )
    np.testing.assert_array_equal(policy(OBS), wanted)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["sac", "adaptive_bc"])
def test_the_first_format_loads(name, tmp_path):
    policy = made(name)
    save_policy(tmp_path / "policy", policy)

    def as_it_was(about):
        for key in ("format", "moore", "acting", "sha256"):
            del about[key]

    edit(tmp_path, as_it_was)
    loaded = load_policy(tmp_path)
    np.testing.assert_array_equal(loaded(OBS), policy(OBS))
    np.testing.assert_array_equal(
        loaded(OBS, deterministic=False), policy(OBS, deterministic=False)
    )


def test_a_later_format_is_refused_with_both_versions(saved):
    edit(saved, lambda about: about.update(format=3, moore="7.1.0"))
    with pytest.raises(
        InputError, match=rf"moore 7\.1\.0 in format 3; this is moore {__version__}"
    ):
        load_policy(saved)


@pytest.mark.filterwarnings("error")
def test_neither_scheme_nor_rule_nor_environment_is_imported(saved, tmp_path, monkeypatch):
    (tmp_path / "spy.py").write_text("raise SystemError('was imported')")
    monkeypatch.syspath_prepend(tmp_path)

    def change(about):
        about["config"]["online"]["scheme"] = "spy:near"
        about["config"]["termination"] = "spy:ends"
        about["config"]["env_id"] = about["env_id"] = "spy:Plant-v0"

    edit(saved, change)
    policy = load_policy(saved)
    assert policy.config.online.scheme == "spy:near"
    assert policy.env_id == "spy:Plant-v0"
    assert "spy:near" in repr(policy.config)
    assert policy.config == copy.deepcopy(policy.config)


# --- Damage ---


def refused(run, words: str = "policy") -> None:
    with pytest.raises(InputError, match=words) as error, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_policy(run)
    assert "\n" not in str(error.value) and "policy" in str(error.value)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_among_the_weights_is_noticed(place, bit, saved):
    file = saved / "policy" / "policy.safetensors"
    whole = file.read_bytes()
    broken = bytearray(whole)
    broken[int(place * len(whole))] ^= 1 << bit
    file.write_bytes(broken)
    try:
        refused(saved)
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("action_high", [2.0, 9.0]),
        ("obs_dim", 4),
        ("agent", "iql"),
        ("acting", {"noise": 0.3}),
        ("sha256", "0"),
    ],
)
def test_what_its_actions_depend_on_is_as_it_was_saved(key, value, saved):
    edit(saved, lambda about: about.update({key: value}))
    refused(saved, "hash differs")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("action_low", [float("nan"), 0.0], "lie between"),
        ("action_high", [float("inf"), 0.1], "lie between"),
        ("action_low", [3.0, 0.0], "lie between"),
        ("action_low", [[-1.0, 0.0]], "shapes"),
        ("action_low", -1.0, "shapes"),
        ("action_low", ["a", "b"], "policy"),
        ("action_low", {}, "policy"),
        ("action_low", [-1.0, 0.0, 0.0], "shapes"),
        ("action_low", [[-1.0], [0.0, 1.0]], "policy"),
        ("obs_dim", -1, "-1 entries"),
        ("obs_dim", 3.0, "3.0 entries"),
        ("obs_dim", True, "True entries"),
        ("obs_dim", 10**30, "policy"),
        ("agent", "unheard_of", "none of sac"),
        ("agent", ["sac"], "policy"),
        ("agent", "iql", "trunk.layers"),
        ("agent", "balanced_replay", "actors"),
        ("env_id", None, "not a name"),
        ("config", [1, 2], "not a table"),
        ("config", None, "not a table"),
        ("format", "2", "not a number"),
        ("format", 0, "not a number"),
        ("acting", [], "policy"),
        ("acting", {}, "noise"),
    ],
)
def test_a_policy_that_says_the_impossible_is_refused_in_one_line(key, value, words, saved):
    def change(about):
        del about["sha256"]
        about[key] = value

    edit(saved, change)
    refused(saved, words)


@pytest.mark.parametrize("key", ["agent", "env_id", "obs_dim", "action_low", "action_high"])
def test_what_is_missing_is_named(key, saved):
    edit(saved, lambda about: about.pop("sha256") and about.pop(key))
    refused(saved, f"it has no '{key}'")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"a":' * 100_000, "\xff", '"policy"']
)
def test_what_is_no_table_is_refused_in_one_line(text, saved):
    (saved / "policy" / "policy.json").write_text(text, encoding="latin-1")
    refused(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: {k: v.astype(np.float64) for k, v in a.items()}, "float64, not float32"),
        (lambda a: {k: v.astype(np.int32) for k, v in a.items()}, "int32"),
        (lambda a: {k: np.where(v > 0.2, np.nan, v) for k, v in a.items()}, "not finite"),
        (lambda a: {k: v for k, v in a.items() if "layers[1]" not in k}, "layers"),
        (lambda a: a | {"another": np.zeros(2, np.float32)}, "another belongs to no part"),
        (lambda a: a | {"trunk.layers[2].bias": np.zeros(5, np.float32)}, "not \\(4,\\)"),
        (lambda a: {}, "no layers"),
    ],
)
def test_weights_that_fit_no_network_are_refused(change, words, saved):
    file = saved / "policy" / "policy.safetensors"
    save_file(change(load_file(file)), file)
    edit(saved, lambda about: about.pop("sha256"))
    refused(saved, words)


@pytest.mark.parametrize("hidden", [[8] * 20_000, [8], [9, 7], []])
def test_settings_of_another_network_are_refused_at_once(hidden, saved):
    edit(saved, lambda about: about["config"]["sac"].update(hidden=hidden, critics=10**9))
    refused(saved, f"name {len(hidden)} hidden layers .* weights have 2")


def test_a_folder_without_a_policy_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(InputError, match="there is no saved policy in"):
            load_policy(place)
    (tmp_path / "contract.json").write_text("{}")
    with pytest.raises(InputError, match="what moore export has made of one"):
        load_policy(tmp_path)
