"""Real logs, where they lie beside the repository: the numbers of their own table."""

from pathlib import Path

import jax
import numpy as np
import pytest

from moore.data.dataset import from_flat_arrays
from moore.envs.termination import termination_rule
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

LOGS = Path(__file__).resolve().parents[2] / "shared" / "data"
TABLE = {
    # name: (rows, episodes, mean return, standard deviation)
    "hopper-random": (50_000, 2_311, 17, 16),
    "hopper-medium": (100_000, 233, 1374, 327),
    "hopper-medium-replay": (200_000, 929, 643, 789),
    "hopper-expert": (50_000, 57, 3183, 646),
    "halfcheetah-random": (50_000, 50, -311, 80),
    "halfcheetah-medium": (100_000, 100, 5088, 378),
    "halfcheetah-medium-replay": (101_000, 101, 2422, 1964),
    "halfcheetah-expert": (50_000, 50, 12346, 182),
}


def load(name):
    path = LOGS / f"{name}.hdf5"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the repository (../shared/data)")
    return load_dataset(path)


@pytest.mark.parametrize("name", TABLE)
def test_real_log_holds_what_its_table_says(name):
    rows, episodes, mean, sd = TABLE[name]
    dataset = load(name)
    summary = summarize(dataset)
    assert (summary["rows"], summary["episodes"]) == (rows, episodes)
    np.testing.assert_allclose(summary["episode_return"]["mean"], mean, atol=0.51)
    np.testing.assert_allclose(summary["episode_return"]["sd"], sd, atol=0.51)
    assert dataset.env_id == ("Hopper-v5" if name.startswith("hopper") else "HalfCheetah-v5")
    assert dataset.successor_known.all()
    assert summary["broken_successors"] == summary["reset_successors"] == 0
    assert dataset.reference is not None


@pytest.mark.parametrize("name", ["hopper-medium-replay", "halfcheetah-random"])
def test_derived_successors_are_the_stored_ones(name):
    stored = load(name)
    derived = from_flat_arrays(
        stored.obs,
        stored.action,
        reward=stored.reward,
        terminals=stored.terminated,
        timeouts=stored.truncated,
    )
    kept = ~stored.truncated
    kept[-1] = stored.terminated[-1]
    np.testing.assert_array_equal(derived["obs"], stored.obs[kept])
    known = derived["successor_known"]
    np.testing.assert_array_equal(derived["next_obs"][known], stored.next_obs[kept][known])
    np.testing.assert_array_equal(derived["episode_returns"], stored.episode_returns)


@pytest.mark.parametrize("name", TABLE)
def test_termination_rule_agrees_with_the_logged_flags(name):
    dataset = load(name)
    rule = termination_rule(dataset.env_id, has_terminals=dataset.has_terminals)
    ends = jax.jit(jax.vmap(rule))(
        *map(jax.numpy.asarray, (dataset.obs, dataset.action, dataset.next_obs))
    )
    np.testing.assert_array_equal(ends, dataset.terminated)
