"""What algorithms that start otherwise need of the online stage: warm-ups, schedules, no log."""

import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from moore.agents.adaptive_bc_config import AdaptiveBCConfig
from moore.agents.awac import AWACConfig
from moore.algorithms import ALGORITHMS, find
from moore.config import Config
from moore.envs.bounds import Bounds
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores
from moore.presets import preset
from moore.runs.folder import read_metrics
from moore.runs.log_checks import (
    check_log_suits,
    discount_for,
    note_on_log,
    with_horizon,
    with_return_scale,
)
from moore.runs.run import resume, run
from moore.runs.setup import prepare
from steps import imagine
from tiny import ENV, tiny_config, tiny_log


def online(config, **changes):
    return replace(config, online=replace(config.online, **changes))


def online_rows(folder):
    rows = read_metrics(folder / "metrics.jsonl")
    return [row for row in rows if row["stage"] == "online"]


@pytest.fixture(scope="module")
def mbpo(tmp_path_factory):
    config = replace(tiny_config(), algorithm="mbpo", penalty_coef=0.0)
    config = online(
        config,
        steps_per_epoch=100,
        refit_every=25,
        random_steps=100,
        real_ratio=0.05,
        rollout_schedule=(2, 4, 1, 3),
    )
    folder = tmp_path_factory.mktemp("mbpo") / "run"
    return run(config, env=ENV, out=folder, quiet=True)


def test_mbpo_learns_without_a_log(mbpo):
    rows = online_rows(mbpo.folder)
    assert rows[-1]["eval/return"] > rows[0]["eval/return"] + 1.0
    assert rows[1]["model/holdout_mse"] < 0.05  # the first fit is not cut short as refits are
    assert mbpo.summary["dataset"] is None


def mean_return(policy, starts=50) -> float:
    """Over the same starts and the same noise for every policy."""
    env, total = ENV(), 0.0
    for seed in range(starts):
        (obs, _), over = env.reset(seed=seed), False
        while not over:
            obs, reward, _, over, _ = env.step(policy(obs))
            total += reward / starts
    return total


def test_mbpo_finds_the_best_controller_of_a_linear_task(mbpo):
    """a = -K s, from the Riccati equation of s' = 0.9 s + 0.4 a under cost s^2 + 0.05 a^2; the
    undiscounted one, as episodes are counted. Doing nothing costs 2.5 times as much or more."""
    cost = 1.0
    for _ in range(100):
        gain = 0.36 * cost / (0.05 + 0.16 * cost)
        cost = 1.0 + 0.05 * gain**2 + cost * (0.9 - 0.4 * gain) ** 2
    best = mean_return(lambda obs: np.clip(-gain * obs, -2.0, 2.0))
    nothing = mean_return(np.zeros_like)
    assert nothing < 2.5 * best < 0.0
    assert mean_return(mbpo.policy) > best + 0.1 * (nothing - best)


def test_mbpo_fits_and_imagines_right_after_its_random_steps_and_learns_after_that(mbpo):
    first, second = online_rows(mbpo.folder)[1:3]
    assert first["model/fit_steps"] > 0 and first["model/rollout_steps"] == 1.0
    assert "losses/critic_loss" not in first and "losses/critic_loss" in second
    # Four updates a step, none in the 100 random ones.
    assert [row["updates"] for row in online_rows(mbpo.folder)] == [0, 0, 400, 800, 1200]


def test_the_rollout_length_follows_its_schedule(mbpo):
    """1 in epoch 2, 3 in epoch 4, linearly; nothing ends early in this task."""
    steps = [row["model/rollout_steps"] for row in online_rows(mbpo.folder)[1:]]
    assert steps == pytest.approx([1.0, 1.0, 2.0, 3.0])


def test_an_interrupted_mbpo_ends_bit_for_bit_as_one_that_was_not(mbpo, tmp_path):
    """Cut after epoch 3, where rollouts have two steps and D_model has room for as many."""
    folder = tmp_path / "run"
    shutil.copytree(mbpo.folder, folder)
    shutil.rmtree(folder / "checkpoints" / "online-epoch-000004")
    (folder / "summary.json").unlink()
    again = resume(folder, env=ENV, quiet=True)
    leaves = [jax.tree.leaves(result.policy.weights) for result in (mbpo, again)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


def test_d_model_keeps_what_the_retained_epochs_give_at_the_current_length():
    """At 2 refits x 200 rollouts an epoch: 400 rows in epoch 1, 1600 in epoch 2, 2800 in epoch 3;
    what is there stays when the room grows."""
    config = online(tiny_config(), rollout_schedule=(1, 3, 1, 7), refit_every=30)
    learner = prepare(config, dataset=tiny_log(), env=ENV).learner
    state = learner.hand_over(learner.init(jax.random.key(0)))
    sizes = []
    for epoch in (1, 1, 1, 2, 3, 3):
        state, _ = imagine(learner, state, epoch, 200)
        sizes.append((int(state.experience.imagined.room), int(state.experience.imagined.size)))
    assert sizes == [(400, 200), (400, 400), (400, 400), (1600, 1200), (2800, 2600), (2800, 2800)]
    assert state.experience.imagined.capacity == 2800


@pytest.mark.parametrize("schedule", [[1, 2, 3], [4, 4, 1, 3]])
def test_a_schedule_has_four_numbers_and_a_later_end(schedule):
    with pytest.raises(InputError, match="rollout_schedule"):
        online(tiny_config(), rollout_schedule=tuple(schedule))


def test_a_frozen_policy_acts_and_nothing_is_learned():
    config = online(tiny_config(), frozen_steps=60)
    seen = {}

    def note(row, state):
        seen.update(row=row, state=state)
        return row["epoch"] == 1

    setup = prepare(config, dataset=tiny_log(), env=ENV)
    before = setup.learner.hand_over(setup.learner.init(setup.key)).agent.actor
    config = replace(config, offline=replace(config.offline, epochs=0))
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run(config, dataset=tiny_log(), env=ENV, out=f"{folder}/run", until=note, quiet=True)
    assert int(seen["state"].online.size) == 60
    assert "losses/critic_loss" not in seen["row"]
    same = jax.tree.map(np.array_equal, before, seen["state"].agent.actor)
    assert all(jax.tree.leaves(same))


def test_the_online_penalty_may_be_another():
    learner = prepare(tiny_config(), dataset=tiny_log(), env=ENV).learner
    state = learner.init(jax.random.key(0))
    assert float(learner.hand_over(state).experience.penalty_coef) == 0.5
    config = online(tiny_config(), penalty_coef=0.0)
    learner = prepare(config, dataset=tiny_log(), env=ENV).learner
    state = learner.init(jax.random.key(0))
    assert float(state.experience.penalty_coef) == 0.5
    assert float(learner.hand_over(state).experience.penalty_coef) == 0.0


def test_presets_know_what_an_algorithm_needs():
    paper = preset("paper/hopper-medium-replay", algorithm="mbpo")
    assert paper.algorithm == "mbpo" and paper.penalty_coef == 0.0
    # The authors' epochs 20 to 150, counted from 0 after the random steps.
    assert paper.online.rollout_schedule == (26, 156, 1, 15) and paper.online.random_steps == 5000
    assert paper.sac.target_entropy == -1.0
    assert preset("paper/halfcheetah-medium", algorithm="mbpo").online.updates_per_step == 40
    rlpd = preset("paper/walker2d-random", algorithm="rlpd")
    assert (rlpd.offline.epochs, rlpd.online.updates_per_step, rlpd.rlpd.actor_every) == (0, 20, 20)
    assert preset("quickstart", algorithm="wsrl").online.frozen_steps == 500
    # nakamotoo/Cal-QL, conservative_sac_main.py: no imitation, two layers.
    cal_ql = preset("laptop/hopper-medium", algorithm="cal_ql").cal_ql
    assert (cal_ql.warm_up, cal_ql.hidden, cal_ql.max_target_backup) == (0, (256, 256), True)
    # zhaoyi11/adaptive_bc: 0.4, and 100 on one log.
    for task, weight in (("walker2d-random", 100.0), ("walker2d-medium", 0.4)):
        assert preset(f"paper/{task}", algorithm="adaptive_bc").adaptive_bc.bc_weight == weight
    # OfflineRL-Kit, run_combo.py.
    combos = [preset(f"paper/{t}", algorithm="combo") for t in ("hopper-medium", "walker2d-medium")]
    assert [(c.rollout_length, c.combo.conservative_weight) for c in combos] == [(5, 5), (1, 5)]
    assert preset("paper/halfcheetah-medium", algorithm="combo").combo.conservative_weight == 0.5
    assert all(c.penalty_coef == 0 and c.online.real_ratio == 0.5 for c in combos)
    assert preset("paper/hopper-medium", algorithm="morel").penalty_coef == 0.0
    naive, paper = (preset("laptop/hopper-medium", algorithm=a) for a in ("naive", "moore"))
    assert naive.sac == paper.sac


def test_every_algorithm_has_a_preset_at_every_scale():
    for name in ALGORITHMS:
        for scale in ("quick/pendulum", "laptop/hopper-medium", "paper/hopper-medium"):
            assert preset(scale, algorithm=name).algorithm == name


@pytest.mark.parametrize("task", ["quick/pendulum", "laptop/hopper-medium", "paper/hopper-medium"])
def test_what_comes_before_the_values_is_a_part_of_the_offline_stage(task):
    """Copies, warm-ups and decays that are counted in updates fit the scale's stage."""
    for name, least in (("bear", 0.9), ("brac", 0.6), ("cql", 0.9), ("balanced_replay", 0.9)):
        config = preset(task, algorithm=name)
        section, offline = getattr(config, name), config.offline
        before = section.warm_up + getattr(section, "clone_updates", 0)
        updates = offline.epochs * offline.updates_per_epoch
        assert updates - before >= least * updates, name
    cloned = preset(task, algorithm="bc")
    assert cloned.bc.updates == cloned.offline.epochs * cloned.offline.updates_per_epoch
    assert preset(task, algorithm="sqil").offline.epochs == 0


def constant(log, reward: float, terminated: bool):
    ends = np.zeros(log.size, bool)
    ends[-1] = terminated
    return replace(log, reward=np.full(log.size, reward, np.float32), terminated=ends)


def test_a_log_without_any_signal_is_refused():
    with pytest.raises(InputError, match="every reward is 1 and no row is terminal"):
        check_log_suits(find("iql"), constant(tiny_log(), 1.0, terminated=False), "LinearGaussian")
    check_log_suits(find("iql"), constant(tiny_log(), 1.0, terminated=True), "LinearGaussian")


def test_rewards_that_are_all_zero_say_nothing_however_episodes_end():
    with pytest.raises(InputError, match="every reward is 0, so no policy is better"):
        check_log_suits(find("iql"), constant(tiny_log(), 0.0, terminated=True), "LinearGaussian")


def fallen(log):
    """A log of InvertedPendulum's shape with a row on the floor, unflagged."""
    obs = np.zeros((log.size, 4), np.float32)
    next_obs = obs.copy()
    next_obs[100, 1] = 1.0  # rad; the pole has fallen at 0.2
    return replace(log, obs=obs, next_obs=next_obs, action=log.action)


def test_agents_that_trust_the_flags_refuse_a_log_that_lacks_them():
    log = fallen(tiny_log())
    with pytest.raises(InputError, match=r"1 rows \(first: 100\) lead to a state that ends"):
        check_log_suits(find("iql"), log, "InvertedPendulum-v5")
    cut = log.truncated.copy()
    cut[100] = True  # a time-out is bootstrapped from, a fall must not be
    with pytest.raises(InputError, match="are not terminal"):
        check_log_suits(find("iql"), replace(log, truncated=cut), "InvertedPendulum-v5")
    check_log_suits(find("moore"), log, "InvertedPendulum-v5")  # asks the rule itself
    flagged = log.terminated.copy()
    flagged[100] = True
    check_log_suits(find("iql"), replace(log, terminated=flagged), "InvertedPendulum-v5")


def test_a_log_whose_actions_lie_at_the_border_is_remarked_upon():
    log = tiny_log()
    bounds = Bounds(np.full(1, -2.0, np.float32), np.full(1, 2.0, np.float32))
    assert note_on_log(find("awac"), AWACConfig(), log, bounds) is None  # 5% of these at most
    log = replace(log, action=np.sign(log.action) * np.float32(2.0))
    said = note_on_log(find("awac"), AWACConfig(), log, bounds)
    assert "100% of the logged action entries" in said


def test_the_border_is_remarked_upon_where_the_density_of_logged_actions_is_taken():
    log = replace(tiny_log(), action=np.full_like(tiny_log().action, 2.0))
    bounds = Bounds(np.full(1, -2.0, np.float32), np.full(1, 2.0, np.float32))
    told = {
        name
        for name, algorithm in ALGORITHMS.items()
        if note_on_log(algorithm, getattr(Config(), algorithm.agent.name), log, bounds)
    }
    # Cal-QL and WSRL have no phase of imitation; IQL's Gaussian is not squashed; BEAR and plain
    # cloning compare actions by their distance.
    assert told == {"awac", "cql", "balanced_replay", "brac"}


def test_the_discount_follows_the_step_limit_where_episodes_can_end_early():
    log = tiny_log()  # episodes of 20 steps, no terminal
    ends = log.terminated.copy()
    ends[5] = True
    config = replace(tiny_config(), horizons_per_episode=3.0)  # of discount 0.9
    terminal = replace(log, terminated=ends)
    assert discount_for(config, config.sac, log, 1000) == 0.9
    assert discount_for(config, config.sac, terminal, 1000) == pytest.approx(0.997)
    assert discount_for(config, config.sac, terminal, None) == 0.9  # 1 - 3 / 20 is less
    assert discount_for(tiny_config(), config.sac, terminal, 1000) == 0.9


def test_every_agent_of_a_run_looks_three_settling_times_ahead():
    config = replace(tiny_config(), control_interval=10.0, settling_time=200.0)
    setup = prepare(config, dataset=tiny_log(), env=ENV)
    assert setup.config.sac.discount == pytest.approx(1 - 10 / 600)
    assert setup.learner.config == setup.config
    both = with_horizon(config, ("ppo", "td3"))
    assert both.ppo.discount == both.td3.discount == pytest.approx(1 - 10 / 600)
    assert both.sac == config.sac and with_horizon(tiny_config(), ("sac",)) == tiny_config()


def test_another_interval_than_that_of_the_log_is_refused():
    log = replace(tiny_log(), metadata={"row_seconds": 10.0})
    minutes = replace(tiny_config(), control_interval=600.0, settling_time=6000.0)
    with pytest.raises(
        InputError, match="is 600 s, and tiny has a row every 10 s; a row is a step"
    ):
        prepare(minutes, dataset=log, env=ENV)
    seconds = replace(tiny_config(), control_interval=10.0, settling_time=100.0)
    assert prepare(seconds, dataset=log, env=ENV).config.sac.discount == pytest.approx(1 - 1 / 30)
    assert prepare(minutes, dataset=tiny_log(), env=ENV), "nothing is known of its rows"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ({"settling_time": 60.0}, "also give control_interval"),
        ({"control_interval": 60.0}, "also give settling_time"),
        ({"settling_time": 60.0, "control_interval": 90.0}, "settles within one interval"),
        ({"settling_time": 9e5, "control_interval": 60.0}, "are 45,000 steps.*both in seconds"),
        ({"settling_time": -1.0, "control_interval": 1.0}, "settling_time"),
        ({"settling_time": 60.0, "control_interval": float("inf")}, "control_interval"),
    ],
)
def test_seconds_that_cannot_be_are_refused(seconds, words):
    with pytest.raises(InputError, match=words):
        replace(tiny_config(), **seconds)


def test_a_run_learns_under_the_discount_that_its_configuration_says():
    log = tiny_log()
    ends = log.terminated.copy()
    ends[5] = True
    config = replace(tiny_config(), horizons_per_episode=0.2)
    setup = prepare(config, dataset=replace(log, terminated=ends), env=ENV)
    assert setup.config.sac.discount == pytest.approx(1 - 0.2 / 20)
    assert setup.learner.config == setup.config, "there are not two"
    again = prepare(setup.config, dataset=replace(log, terminated=ends), env=ENV)
    assert again.config == setup.config, "what was found once stays"


def test_adaptive_bc_takes_its_scale_from_the_reference_or_from_the_log():
    log, agent = tiny_log(), AdaptiveBCConfig()
    found = with_return_scale(agent, log, ReferenceScores(-50.0, -5.0, "made up"))
    assert (found.return_low, found.return_high) == (-50.0, -5.0)
    found = with_return_scale(agent, log, None)
    assert (found.return_low, found.return_high) == (
        log.episode_returns.min(),
        log.episode_returns.max(),
    )
    given = replace(agent, return_low=-1.0, return_high=2.0)
    assert with_return_scale(given, replace(log, episode_returns=np.zeros(0)), None) == given
    with pytest.raises(InputError, match="return-low"):
        with_return_scale(agent, replace(log, episode_returns=np.zeros(0)), None)
