"""The whole job on a task whose best controller is known, in seconds."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

import moore
from moore.config import read_toml
from moore.envs.evaluation import evaluate_policy
from moore.runs.folder import read_metrics
from moore.runs.run import run
from steps import imagine
from tiny import ENV, tiny_config, tiny_log


@pytest.fixture
def result(tiny_run):
    return tiny_run


def rows(result, stage):
    lines = (result.folder / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["stage"] == stage]


def optimal_return() -> float:
    """The linear-quadratic optimum by the Riccati equation, on the run's evaluation starts."""
    p = solve_discrete_are(np.eye(1) * 0.9, np.eye(1) * 0.4, np.eye(1), np.eye(1) * 0.05)
    gain = float((0.4 * p * 0.9 / (0.05 + 0.4 * p * 0.4))[0, 0])

    class Linear:
        low, high = np.asarray([-2.0]), np.asarray([2.0])

        def __call__(self, obs, *, deterministic=True):
            return np.clip(-gain * obs, self.low, self.high)

    return evaluate_policy(Linear(), ENV, episodes=10, seed=0).mean_return


def test_offline_beats_the_log_and_online_beats_offline(result):
    logged = float(np.mean(tiny_log().episode_returns))
    transfer = result.summary["transfer"]
    optimum = optimal_return()
    assert transfer["offline"] > logged + 0.5 * (optimum - logged), "most of the way to the optimum"
    assert transfer["final"] >= transfer["offline"] - 0.05 * abs(optimum)
    assert transfer["final"] > optimum - 0.15 * abs(optimum)
    assert transfer["final"] <= optimum + 1e-2 * abs(optimum), "nothing beats the optimum"


def test_the_summary_says_how_far_the_last_offline_epochs_swung(result):
    evaluated = [row["eval/return"] for row in rows(result, "offline")[1:]]
    worth = evaluated[-1] - result.summary["random_return"]
    expected = (evaluated[-1] - min(evaluated)) / worth
    assert result.summary["offline"]["swing_share"] == pytest.approx(expected)


def test_models_fit_the_log_and_keep_up_with_the_online_data(result):
    (offline,) = (row["model/holdout_mse"] for row in rows(result, "offline")[:1])
    online = [row["model/holdout_mse"] for row in rows(result, "online")[1:]]
    # The noise of the state is 0.02 and the reward has none, so the floor is 0.0002.
    assert 0.0002 * 0.5 < offline < 0.005
    # A refit is 20 steps here, while the data, and with them the normaliser, move.
    assert max(online) < 0.05


def test_metrics_have_what_the_contract_names(result):
    offline, online = rows(result, "offline"), rows(result, "online")
    assert [row["epoch"] for row in offline] == [0, 1, 2, 3, 4]
    assert [row["epoch"] for row in online] == [0, 1, 2, 3, 4]
    for row in online[1:]:
        for name in (
            "env_steps",
            "updates",
            "eval/return",
            "eval/returns",
            "online/episode_returns",
            "model/holdout_mse",
            "model/fit_stopped_by",
            "model/uncertainty_mean",
            "model/uncertainty_p20",
            "model/uncertainty_p80",
            "replay/online_share",
            "replay/online_share_expected",
            "replay/shift",
            "losses/critic_loss",
            "losses/q_target",
            "losses/skipped_updates",
            "time/epoch",
        ):
            assert name in row, name
        assert len(row["eval/returns"]) == 10
        assert len(row["online/episode_returns"]) == 3, "60 steps are three episodes"
        assert row["losses/skipped_updates"] == 0
    assert online[-1]["env_steps"] == 240
    assert online[-1]["updates"] == 4 * 150 + 240 * 4


def test_the_realised_online_share_follows_the_scheme(result):
    for row in rows(result, "online")[1:]:
        t, n_off = row["epoch"], 300
        # A refit, and rollouts, every 20 steps.
        sizes = np.asarray([20, 40, 60]) + 60 * (t - 1)
        expected = np.mean(t * sizes / (t * sizes + n_off))
        assert row["replay/online_share"] == pytest.approx(expected, abs=0.05)
        size = 60 * t
        assert row["replay/online_share_expected"] == pytest.approx(t * size / (t * size + n_off))


def test_the_folder_holds_what_the_contract_names(result):
    for name in ("config.toml", "metrics.jsonl", "summary.json", "report.html", "policy"):
        assert (result.folder / name).exists(), name
    names = {path.name for path in (result.folder / "checkpoints").iterdir() if path.is_dir()}
    assert {"hand-over", "online-epoch-000003", "online-epoch-000004"} <= names
    assert read_toml(result.folder / "config.toml").online.epochs == 4
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["versions"]["moore"] == moore.__version__
    assert summary["dataset"]["rows"] == 300
    assert summary["random_return"] < summary["transfer"]["offline"]
    assert summary["time"]["total"] > 0 and summary["updates_per_second"] > 0


def test_the_saved_policy_is_the_evaluated_one(result):
    policy = moore.load_policy(result.folder)
    single, batch = policy(np.asarray([0.7])), policy(np.asarray([[0.7], [-1.2]]))
    assert single.shape == (1,) and batch.shape == (2, 1)
    np.testing.assert_allclose(batch[0], single, rtol=1e-5)
    assert single[0] < 0 < batch[1, 0], "it pushes the state back to zero"
    assert np.all(np.abs(policy(np.asarray([[50.0], [-50.0]]))) <= 2.0)
    sampled = [policy(np.asarray([0.7]), deterministic=False)[0] for _ in range(3)]
    assert len(set(sampled)) == 3
    with pytest.raises(moore.InputError, match="takes"):
        policy(np.zeros(4))


def test_zero_online_steps_change_nothing(tiny_offline, log_file, tmp_path):
    """The hand-over itself is neutral: the same policy is evaluated before and after it."""
    config = dataclasses.replace(
        tiny_config(), online=dataclasses.replace(tiny_config().online, epochs=0)
    )
    start = {"stages": "online", "start_from": tiny_offline, "quiet": True}
    result = run(config, dataset=log_file, env=ENV, out=tmp_path / "run", **start)
    before, after = read_metrics(tiny_offline / "metrics.jsonl")[-1], rows(result, "online")[0]
    assert before["eval/returns"] == after["eval/returns"]
    assert result.summary["transfer"]["dip"] == 0.0
    assert result.summary["transfer"]["gain"] == 0.0


def test_a_diverged_update_is_undone_and_counted(tmp_path):
    from moore.runs.setup import prepare

    setup = prepare(tiny_config(), dataset=tiny_log(), env=ENV)
    learner = setup.learner
    state = learner.init(setup.key)
    state, _ = imagine(learner, state, 1, 200)
    rewards = jnp.full_like(state.experience.imagined.data.reward, jnp.nan)
    data = dataclasses.replace(state.experience.imagined.data, reward=rewards)
    imagined = dataclasses.replace(state.experience.imagined, data=data)
    experience = dataclasses.replace(state.experience, imagined=imagined)
    state = dataclasses.replace(state, experience=experience)
    before = jax.device_get(state.agent)
    after, metrics = learner.update(state, 1, 4)
    assert float(metrics["losses/skipped_updates"]) == 4.0
    assert jax.tree.all(jax.tree.map(np.array_equal, before, jax.device_get(after.agent)))
