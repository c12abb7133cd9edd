"""moore collect: D4RL's recipe, the same file from the same seed, and going on after a kill."""

import json
import shutil

import gymnasium as gym
import numpy as np
import pytest

from moore.agents.sac import SACConfig
from moore.collecting import collect as collecting
from moore.collecting import episode_chunks
from moore.collecting import training as trainings
from moore.collecting.collect import collect
from moore.collecting.recipe import Recipe
from moore.collecting.training import SACTraining
from moore.config import read_toml
from moore.envs.make import make_env
from moore.envs.recorder import record_episodes
from moore.errors import InputError
from moore.formats.load import load_dataset, read_log
from moore.formats.write import write_log
from moore.runs.folder import read_metrics
from moore.runs.reading import newest_epoch

ENV_ID = "TinyLinear-v0"
gym.register(ENV_ID, entry_point="tiny:LinearGaussian", max_episode_steps=20)

TRAIN = {
    "train_steps": 1000,
    "sac": SACConfig(
        discount=0.9, learning_rate=3e-3, target_entropy=-1.0, batch_size=64, hidden=(32, 32)
    ),
}


@pytest.fixture(scope="module", autouse=True)
def few_evaluations():
    """Ten in a training, not a hundred: each has a checkpoint too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainings, "EVALUATIONS", 10)
        yield


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """One SAC training for all the tiers."""
    return tmp_path_factory.mktemp("training") / "sac"


@pytest.fixture(scope="module")
def begun(training, tmp_path_factory):
    """The training, when a medium policy has come of it."""
    make("medium", tmp_path_factory.mktemp("medium") / "medium.hdf5", training)
    return training


def make(tier, out, training, **changes):
    settings = TRAIN | {"env_id": ENV_ID, "tier": tier, "steps": 70, "seed": 3} | changes
    collect(Recipe(**settings), str(out), training=training, quiet=True)
    return read_log(str(out), infos=True)


def test_random_is_uniform_actions_in_the_environments_units(tmp_path, training):
    log = make("random", tmp_path / "random.hdf5", training, steps=2000, expert_return=0.0)
    assert log.size == 2000 and log.env_id == ENV_ID
    # U(-2, 2): mean 0, variance 4/3; five standard errors.
    assert abs(log.action.mean()) < 5 * np.sqrt(4 / 3 / 2000)
    assert abs(log.action.var() - 4 / 3) < 5 * np.sqrt(4.0**2 / 45 * 16 / 4 / 2000)
    assert np.abs(log.action).max() <= 2.0 and np.abs(log.action).max() > 1.98


class Drifting(gym.wrappers.NormalizeObservation):
    def __init__(self):
        super().__init__(gym.make(ENV_ID))


def test_an_environment_whose_readings_drift_and_a_guessed_limit_are_told(tmp_path, capsys):
    gym.register("Drifting-v0", entry_point=Drifting)
    with pytest.raises(InputError, match="Drifting: its statistics change"):
        collect(Recipe("Drifting-v0", "random"), tmp_path / "log.hdf5")
    gym.register("Endless-v0", entry_point="tiny:LinearGaussian")
    log = collect(Recipe("Endless-v0", "random", steps=1500), tmp_path / "log.hdf5")
    assert np.flatnonzero(log.truncated).tolist() == [999]
    assert "episodes are cut after 1,000 steps" in capsys.readouterr().err


def test_every_next_state_is_the_true_successor(tmp_path, training):
    log = make("random", tmp_path / "random.hdf5", training, expert_return=0.0)
    inside = ~(log.terminated | log.truncated)[:-1]
    np.testing.assert_array_equal(log.next_obs[:-1][inside], log.obs[1:][inside])
    assert (log.next_obs[:-1][~inside] != log.obs[1:][~inside]).all()
    # The law of the task, noise aside: 0.9 s + 0.4 a.
    assert np.abs(log.next_obs - 0.9 * log.obs - 0.4 * log.action).max() < 0.02 * 6


def test_the_arrays_are_cut_to_length_and_the_last_episode_stays_open(tmp_path, training):
    log = make("random", tmp_path / "random.hdf5", training, expert_return=0.0)
    assert log.size == 70
    np.testing.assert_array_equal(np.flatnonzero(log.truncated), [19, 39, 59])
    assert not log.terminated.any()


def test_medium_reaches_a_third_of_the_way_and_expert_is_better(tmp_path, training):
    expert = make("expert", tmp_path / "expert.hdf5", training, steps=2000)
    medium = make("medium", tmp_path / "medium.hdf5", training, steps=2000)
    reference = load_dataset(str(tmp_path / "expert.hdf5")).reference
    third = reference.random + (reference.expert - reference.random) / 3
    assert medium.metadata["policy_return"] >= third
    assert medium.metadata["trained_steps"] <= expert.metadata["trained_steps"]
    scores = [reference.score(mean_return(log)) for log in (medium, expert)]
    assert scores[0] <= scores[1] + 1e-6 and scores[1] > 80


def mean_return(log):
    return float(log.reward.reshape(-1, 20).sum(axis=1).mean())


def test_medium_replay_is_the_training_buffer_from_its_first_step(tmp_path, training):
    short = make("medium-replay", tmp_path / "a.hdf5", training, steps=60)
    long = make("medium-replay", tmp_path / "b.hdf5", training, steps=600)
    np.testing.assert_array_equal(short.obs, long.obs[:60])
    np.testing.assert_array_equal(short.action, long.action[:60])
    until_medium = make("medium-replay", tmp_path / "c.hdf5", training, steps=None)
    medium = make("medium", tmp_path / "d.hdf5", training)
    assert until_medium.size == medium.metadata["trained_steps"]
    assert until_medium.metadata["learning_curve"][-1][0] == until_medium.size


def test_the_file_knows_how_it_was_made(tmp_path, training):
    log = make("medium", tmp_path / "medium.hdf5", training)
    facts = log.metadata
    assert (facts["tier"], facts["seed"], log.env_id) == ("medium", 3, ENV_ID)
    assert facts["sac"]["hidden"] == [32, 32]
    assert facts["versions"].keys() >= {"moore", "jax", "gymnasium", "mujoco", "python"}
    steps, returns = zip(*facts["learning_curve"], strict=True)
    assert steps[0] == 0 and steps[-1] == facts["trained_steps"]
    assert returns[-1] == facts["policy_return"]
    assert log.reference.expert > log.reference.random
    json.dumps(facts)


def test_random_rows_of_an_unknown_environment_need_no_training(tmp_path, capsys):
    folder = tmp_path / "training"
    log = collect(
        Recipe("Pendulum-v1", "random", steps=300), tmp_path / "log.hdf5", training=folder
    )
    assert log.size == 300 and log.reference is None and not folder.exists()
    assert "--expert-return" in capsys.readouterr().err
    facts = collecting.describe(log)
    assert (facts["episodes"], facts["score"], facts["reference"]) == (1, None, None)
    assert load_dataset(tmp_path / "log.hdf5").reference is None


def test_a_log_without_a_complete_episode_is_told(tmp_path, moore_prints):
    line = f"collect --env-id {ENV_ID} --tier random --out {tmp_path}/log.npz --steps"
    told = moore_prints(f"{line} 7")
    assert "7 rows, 0 complete episodes; training takes no log without one: give more" in told
    (tmp_path / "log.npz").unlink()
    assert "20 rows, 1 complete episode, mean return" in moore_prints(f"{line} 20")


@pytest.mark.parametrize("tier", ["random", "medium", "medium-replay"])
@pytest.mark.parametrize("suffix", ["hdf5", "npz"])
def test_the_same_seed_gives_the_same_bytes(tmp_path, training, tier, suffix):
    files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for file in files:
        make(tier, file, training)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_another_training_of_the_same_seed_gives_the_same_bytes(tmp_path, training):
    for name, folder in (("a", training), ("b", tmp_path / "sac")):
        (tmp_path / name).mkdir()
        make("medium", tmp_path / name / "medium.hdf5", folder, target_return=-1e9)
    a, b = (tmp_path / name / "medium.hdf5" for name in "ab")
    assert a.read_bytes() == b.read_bytes()


def test_other_seeds_give_other_rows(tmp_path, training):
    a = make("random", tmp_path / "a.hdf5", training, seed=3, expert_return=0.0)
    b = make("random", tmp_path / "b.hdf5", training, seed=4, expert_return=0.0)
    assert (a.obs[0] != b.obs[0]).all()


def test_mujoco_states_belong_to_their_observations(tmp_path):
    recipe = Recipe("InvertedPendulum-v5", "random", steps=50, expert_return=1000.0)
    collect(recipe, str(tmp_path / "log.hdf5"), quiet=True)
    log = read_log(str(tmp_path / "log.hdf5"), infos=True)
    assert log.terminated.any() and not log.truncated.any()
    state = np.concatenate([log.infos["qpos"], log.infos["qvel"]], axis=1)
    np.testing.assert_allclose(state, log.obs, atol=1e-6)
    env = make_env("InvertedPendulum-v5").unwrapped
    env.reset(seed=0)
    for row in (0, 7, 30):
        env.set_state(log.infos["qpos"][row], log.infos["qvel"][row])
        next_obs, reward, terminated, *_ = env.step(log.action[row])
        np.testing.assert_allclose(next_obs, log.next_obs[row], atol=1e-5)
        assert (reward, terminated) == (log.reward[row], log.terminated[row])


def test_a_killed_recording_goes_on_after_its_last_episodes(tmp_path, training, monkeypatch):
    monkeypatch.setattr(episode_chunks, "CHUNK", 20)
    whole = make("random", tmp_path / "whole.hdf5", training, expert_return=0.0)
    written = []

    def killed(*args):
        written.append(args)
        if len(written) == 3:
            raise KeyboardInterrupt
        return save(*args)

    save = episode_chunks._save
    monkeypatch.setattr(episode_chunks, "_save", killed)
    with pytest.raises(KeyboardInterrupt):
        make("random", tmp_path / "killed.hdf5", training, expert_return=0.0)
    begun = []

    def counted(env, act, *, episode, row, **rest):
        begun.append((episode, row))
        return record_episodes(env, act, episode=episode, row=row, **rest)

    monkeypatch.setattr(episode_chunks, "record_episodes", counted)
    again = make("random", tmp_path / "killed.hdf5", training, expert_return=0.0)
    assert begun == [(2, 40)]
    np.testing.assert_array_equal(again.obs, whole.obs)
    np.testing.assert_array_equal(again.action, whole.action)
    assert [path.name for path in tmp_path.iterdir() if "rows" in path.name] == []


def test_killed_between_the_log_and_its_clearing_up_the_same_call_ends_well(
    tmp_path, training, monkeypatch
):
    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(collecting, "write_log", lambda *a: (write_log(*a), killed()))
        make("random", tmp_path / "log.hdf5", training, expert_return=0.0)
    written = (tmp_path / "log.hdf5").read_bytes()
    log = make("random", tmp_path / "log.hdf5", training, expert_return=0.0)
    assert (tmp_path / "log.hdf5").read_bytes() == written and log.size
    assert [path.name for path in tmp_path.iterdir() if "rows" in path.name] == []
    with pytest.raises(InputError, match="exists already"):
        make("random", tmp_path / "log.hdf5", training, expert_return=0.0)


def test_rows_that_no_checkpoint_holds_are_not_taken_for_data(tmp_path, training):
    """A kill between the curve's row and its checkpoint: the last rows would be zeros."""
    folder = tmp_path / "sac"
    shutil.copytree(training, folder)
    config = read_toml(folder / "config.toml")
    newest = newest_epoch(folder)
    row = read_metrics(folder / "metrics.jsonl")[-1] | {"epoch": newest + 1}
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
    cut = SACTraining(folder, config, quiet=True)
    assert cut.curve()[-1]["epoch"] == newest
    held = newest * config.online.steps_per_epoch
    assert np.abs(cut.buffer(held).obs).sum(axis=1).all()
    with pytest.raises(InputError, match=f"holds {held:,} transitions, not {held + 1:,}"):
        cut.buffer(held + 1)


class Restless(gym.Env):
    """An environment that does not repeat itself."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    steps = 0

    def reset(self, *, seed=None, options=None):
        return self._obs(), {}

    def step(self, action):
        return self._obs(), 1.0, False, False, {}

    def _obs(self):
        Restless.steps += 1
        return np.asarray([self.steps], np.float32)


def test_replay_of_an_environment_that_does_not_repeat_itself_is_what_the_training_saw(tmp_path):
    gym.register("Restless-v0", entry_point=Restless, max_episode_steps=20)
    recipe = Recipe("Restless-v0", "medium-replay", **TRAIN | {"train_steps": 100},
                    expert_return=30.0, steps=100)  # fmt: skip
    collect(recipe, str(tmp_path / "log.hdf5"), quiet=True)
    log = read_log(str(tmp_path / "log.hdf5"))
    inside = ~log.truncated[:-1]
    np.testing.assert_array_equal(log.next_obs[:-1][inside], log.obs[1:][inside])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_id": "Nowhere-v0"}, "environment 'Nowhere-v0' cannot be made"),
        ({"env_id": "CartPole-v1"}, "continuous"),
        ({"steps": 0}, "--steps is 0; it must be positive"),
        ({"train_steps": -1}, "--train-steps is -1; it must be positive"),
        ({"seed": -1}, "--seed is -1"),
        ({"expert_return": float("nan")}, "--expert-return is nan"),
        ({"expert_return": -1e9}, "not above the random one"),
        ({"tier": "medium", "target_return": 1e9}, "not the 1000000000.0 of a medium policy"),
        ({"tier": "medium-replay", "steps": 5000}, "--steps is 5000, the training has 1000"),
        ({"tier": "medium", "train_steps": 500}, "holds a training with other settings"),
    ],
)
def test_what_cannot_be_collected_is_said(tmp_path, begun, changes, message):
    settings = {"tier": "random"} | changes
    with pytest.raises(InputError, match=message):
        make(out=tmp_path / "log.hdf5", training=begun, **settings)
    assert not (tmp_path / "log.hdf5").exists()


def test_nothing_is_overwritten(tmp_path, training):
    make("random", tmp_path / "log.hdf5", training, expert_return=0.0)
    before = (tmp_path / "log.hdf5").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        make("random", tmp_path / "log.hdf5", training, seed=9, expert_return=0.0)
    assert (tmp_path / "log.hdf5").read_bytes() == before
