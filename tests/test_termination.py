"""Termination rules against hand-worked states and against Gymnasium's own environments."""

import warnings

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore.envs import termination
from moore.envs.termination import known_environments, never, termination_rule
from moore.errors import InputError

MUJOCO = {
    # family: (index in qpos, borders) of the entries that its test looks at
    "Hopper": [(1, [0.7]), (2, [-0.2, 0.2]), (3, [-100.0, 100.0])],
    "Walker2d": [(1, [0.8, 2.0]), (2, [-1.0, 1.0])],
    "Ant": [(2, [0.2, 1.0])],
    "Humanoid": [(2, [1.0, 2.0])],
    "InvertedPendulum": [(1, [-0.2, 0.2])],
    "InvertedDoublePendulum": [(1, [-0.4, 0.4]), (2, [-0.8, 0.8])],
    "HalfCheetah": [(1, [0.0])],
    "HumanoidStandup": [(2, [1.0])],
    "Swimmer": [(2, [0.0])],
    "Reacher": [(1, [0.0])],
    "Pusher": [(1, [0.0])],
}
CHECKS_FINITE = ("Hopper", "Ant", "InvertedPendulum")  # the others let NaN elsewhere pass


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # mujoco writes MUJOCO_LOG.TXT wherever HalfCheetah is loaded


def ends(rule, states):
    states = jnp.asarray(np.array(states), jnp.float32)
    return np.array(jax.vmap(lambda s: rule(s, jnp.zeros(1), s))(states))


def frozen(env_id):
    """The environment with its physics stopped: `step` only judges the state that was set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # v4 is deprecated in favour of v5
        env = gymnasium.make(env_id).unwrapped
    env.reset(seed=0)
    env.do_simulation = lambda *args: None
    env._step_mujoco_simulation = lambda *args: None
    return env


def judge(env):
    obs, _, terminated, _, _ = env.step(np.zeros(env.action_space.shape))
    return obs, bool(terminated)


def spread_states(env, borders, rng, count):
    """States with every tested entry on both sides of its borders, at most 0.3 away."""
    for _ in range(count):
        qpos, qvel = env.init_qpos.copy(), rng.uniform(-20, 20, env.model.nv)
        tested = rng.integers(len(borders))
        for i, (index, values) in enumerate(borders):
            if i == tested or env.spec.id.startswith("InvertedDouble"):
                qpos[index] = rng.choice(values) + rng.uniform(-0.3, 0.3)
        yield qpos, qvel


def test_hopper_is_healthy_strictly_inside_its_bounds():
    healthy = np.zeros(11)
    healthy[0] = 1.25
    cases = [(0, 0.7), (0, np.inf), (0, np.nan), (1, 0.2), (1, -0.2), (2, 100.0), (10, -100.0)]
    states = [healthy] + [np.where(np.arange(11) == i, value, healthy) for i, value in cases]
    assert ends(termination.hopper, states).tolist() == [False] + [True] * len(cases)
    just_inside = [(0, 0.7001), (1, 0.1999), (1, -0.1999), (2, 99.99), (10, -99.99)]
    states = [np.where(np.arange(11) == i, value, healthy) for i, value in just_inside]
    assert not ends(termination.hopper, states).any()


def test_walker2d_is_healthy_strictly_inside_its_bounds():
    states = [[1.25, 0], [0.8, 0], [2.0, 0], [1.25, 1.0], [1.25, -1.0], [np.nan, 0], [1.25, np.nan]]
    assert ends(termination.walker2d, states).tolist() == [False] + [True] * 6


def test_ant_includes_both_bounds_and_humanoid_neither():
    heights = [[0.2], [1.0], [0.19], [1.01]]
    assert ends(termination.ant, heights).tolist() == [False, False, True, True]
    assert ends(termination.humanoid, [[1.0], [2.0], [1.4]]).tolist() == [True, True, False]


def test_double_pendulum_ends_when_its_tip_is_at_height_one():
    def state(a, b):
        return [0, np.sin(a), np.sin(b), np.cos(a), np.cos(b), 0, 0, 0, 0]

    # Upright 1.2 m; the upper pole at 90 degrees 0.6 m; both at 30 degrees 0.6 (0.866 + 0.5) m;
    # bent back, 30 and -30 degrees, 0.6 (0.866 + 1) m.
    angles = [(0, 0), (0, np.pi / 2), (np.pi / 6, np.pi / 6), (np.pi / 6, -np.pi / 6)]
    states = [state(a, b) for a, b in angles]
    rule = termination.inverted_double_pendulum
    assert ends(rule, states).tolist() == [False, True, True, False]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("family", MUJOCO)
def test_rule_agrees_with_the_mujoco_environment(family, version):
    env_id = f"{family}-v{version}"
    try:
        env = frozen(env_id)
    except Exception as error:
        if version == 4:
            pytest.skip(f"{env_id} does not start with this mujoco: {error}")
        raise
    rng = np.random.default_rng(0)
    seen, expected = [], []
    for qpos, qvel in spread_states(env, MUJOCO[family], rng, 60 if "Humanoid" in family else 300):
        env.set_state(qpos, qvel)
        obs, terminated = judge(env)
        seen.append(obs)
        expected.append(terminated)
    rule = termination_rule(env_id, has_terminals=True)
    np.testing.assert_array_equal(ends(rule, seen), expected)
    assert rule is never or 0.2 < np.mean(expected) < 0.8, "states must fall on both sides"


@pytest.mark.parametrize("family", ["Hopper", "Walker2d", "Ant", "Humanoid", "InvertedPendulum"])
def test_rule_agrees_with_the_environment_on_the_exact_bounds(family):
    env = frozen(f"{family}-v5")
    rule = termination_rule(f"{family}-v5", has_terminals=True)
    for index, values in MUJOCO[family]:
        for value in values:
            qpos = env.init_qpos.copy()
            qpos[index] = value
            env.set_state(qpos, env.init_qvel)
            obs, terminated = judge(env)
            assert ends(rule, [obs])[0] == terminated, (index, value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("family", ["Hopper", "Walker2d", "Ant", "Humanoid", "InvertedPendulum"])
def test_rule_ends_wherever_a_position_is_not_finite(family, bad):
    env = frozen(f"{family}-v5")
    rule = termination_rule(f"{family}-v5", has_terminals=True)
    tested = [index for index, _ in MUJOCO[family]]
    for index in [*tested, env.model.nq - 1]:
        env.set_state(env.init_qpos, env.init_qvel)
        env.data.qpos[index] = bad  # written past set_state, whose mj_forward warns about NaN
        obs, terminated = judge(env)
        assert ends(rule, [obs])[0]
        assert terminated or (family not in CHECKS_FINITE and index not in tested)


def test_rules_other_than_never_end_at_nan_anywhere():
    for rule in {rule for _, rule in termination._FAMILIES.values()} - {never}:
        state = np.zeros(20)
        state[19] = np.nan
        assert ends(rule, [state])[0], rule


def test_a_rule_of_the_file_judges_many_rows_one_by_one():
    """Rows lie along the second axis, and there may be no actions."""
    rng = np.random.default_rng(0)
    states = rng.uniform(-1.5, 1.5, (20, 200)).astype(np.float32)
    for rule in {rule for _, rule in termination._FAMILIES.values()}:
        across = np.asarray(rule(states, states[:0], states))
        np.testing.assert_array_equal(across, ends(rule, states.T), err_msg=rule.__name__)


def test_mountain_car_agrees_with_the_environment():
    env = gymnasium.make("MountainCarContinuous-v0").unwrapped
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    seen, expected = [], []
    for _ in range(300):
        env.state = np.array([rng.uniform(0.4, 0.5), rng.uniform(-0.07, 0.07)], np.float32)
        obs, _, terminated, _, _ = env.step(rng.uniform(-1, 1, 1))
        seen.append(obs)
        expected.append(terminated)
    assert {True, False} == set(expected)
    np.testing.assert_array_equal(ends(termination.mountain_car, seen), expected)
    assert ends(termination.mountain_car, [[0.45, 0.0]])[0]


def test_pendulum_and_half_cheetah_never_end():
    assert termination_rule("Pendulum-v1", has_terminals=False) is never
    assert not ends(termination_rule("HalfCheetah-v5", has_terminals=True), [[np.nan] * 17])[0]


def test_known_environments_are_gymnasium_ids_and_have_rules():
    assert "Hopper-v5" in known_environments()
    for env_id in known_environments():
        assert env_id in gymnasium.registry
        assert termination_rule(env_id, has_terminals=True)


def test_rule_is_chosen_by_exact_id_only():
    for env_id in ("Hopper-v3", "MyHopper-v5", "Hopper-v50", "ns/Hopper-v5", None):
        assert termination_rule(env_id, has_terminals=False) is never
        offers = r"--termination learned.*--termination module:function.*Hopper-v5"
        with pytest.raises(InputError, match=offers):
            termination_rule(env_id, has_terminals=True)


def test_spec_overrides_the_environment(tmp_path, monkeypatch):
    (tmp_path / "plant_rules.py").write_text("def ends(obs, action, next_obs):\n    return 1\n")
    (tmp_path / "plant_broken.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)

    def rule(spec):
        return termination_rule("Hopper-v5", spec=spec, has_terminals=True)

    assert rule("never") is never
    assert rule("Walker2d-v4") is termination.walker2d
    assert rule("plant_rules:ends").__name__ == "ends"
    for spec, message in {
        "plant_rules:absent": "no function absent",
        "no_such_module:ends": "PYTHONPATH",
        "plant_broken:ends": "cannot be imported",
        "plant_rules:": "expected module:function",
        ":ends": "expected module:function",
        "nonsense": "known environment: Ant-v4",
    }.items():
        with pytest.raises(InputError, match=message) as raised:
            rule(spec)
        assert "\n" not in str(raised.value)
