"""The presets: which there are, and whose numbers they hold."""

import pytest

from moore.config import flat, to_dict
from moore.errors import InputError
from moore.formats.load import builtin_names
from moore.presets import preset, preset_names

# MOPO's released configuration for each of the paper's tasks: (H, lambda).
TASKS = {
    "halfcheetah-random": (5, 0.5),
    "halfcheetah-medium": (1, 1.0),
    "halfcheetah-medium-replay": (5, 1.0),
    "halfcheetah-medium-expert": (5, 5.0),
    "hopper-random": (5, 1.0),
    "hopper-medium": (5, 5.0),
    "hopper-medium-replay": (5, 1.0),
    "hopper-medium-expert": (5, 1.0),
    "walker2d-random": (1, 1.0),
    "walker2d-medium": (5, 5.0),
    "walker2d-medium-replay": (1, 1.0),
    "walker2d-medium-expert": (1, 2.0),
}
ENVIRONMENTS = {"halfcheetah": "HalfCheetah", "hopper": "Hopper", "walker2d": "Walker2d"}

# How long a run takes, and nothing else.
BUDGETS = {
    "model.max_fit_steps",
    "model.max_refit_steps",
    "offline.epochs",
    "offline.rollout_batch",
    "online.epochs",
    "online.rollout_batch",
    "online.updates_per_step",
}


def test_the_plant_s_preset_holds_no_task_s_constants():
    """A run with it must not begin with another task's environment, log, ends or target."""
    plant = preset("plant")
    assert (plant.env_id, plant.dataset, plant.env_args) == ("", "", "")
    assert plant.termination == "learned" and plant.sac.target_entropy is None
    assert plant.standardise_obs and plant.scale_rewards
    assert plant.evaluation.episodes == 0, "the environment may be the plant itself"
    assert plant.algorithm == "moore_robust"
    assert plant.clone and plant.gate.calibrated, "what nobody evaluates begins with the log"


def test_there_are_a_quickstart_a_plant_s_plain_sac_quick_tasks_and_each_task_at_two_scales():
    scaled = {f"{scale}/{task}" for scale in ("laptop", "paper") for task in TASKS}
    quick = {"quick/pendulum", "quick/inverted-pendulum"}
    assert len(preset_names()) == len(set(preset_names())) == 29
    assert set(preset_names()) == {"quickstart", "sac", "plant"} | quick | scaled


@pytest.mark.parametrize("name", ["bogus", "hopper-medium", "paper", "paper/bogus", ""])
def test_an_unknown_preset_lists_the_known_ones(name):
    with pytest.raises(InputError, match=f"unknown preset '{name}'") as caught:
        preset(name)
    assert all(known in str(caught.value) for known in preset_names())


@pytest.mark.parametrize("name", ["quickstart", "quick/pendulum", "quick/inverted-pendulum"])
def test_the_small_presets_need_no_file_of_the_users(name):
    scheme, _, name = preset(name).dataset.partition(":")
    assert scheme == "builtin"
    assert name in builtin_names()


def test_small_presets_are_our_variant_unless_the_papers_is_asked_for():
    for name in ("quickstart", "quick/pendulum", "laptop/hopper-random"):
        ours, papers = preset(name), preset(name, algorithm="moore")
        assert (ours.algorithm, papers.algorithm) == ("moore_safe", "moore")
        assert ours.clone and ours.dip_budget == 0.05
        assert ours.gate.enabled and ours.gate.calibrated and not ours.gate.penalised
        assert not papers.clone and papers.dip_budget is None and not papers.gate.enabled
    assert preset("paper/hopper-random").algorithm == "moore"


def test_the_variant_before_is_still_there():
    for name in ("quickstart", "laptop/hopper-random"):
        ours, papers = (preset(name, algorithm=row) for row in ("moore_robust", "moore"))
        assert ours.sac.layer_norm and ours.sac.clip_targets == 0.95
        assert not papers.sac.layer_norm and papers.sac.clip_targets is None
        assert papers.sac.average_rate is None and papers.horizons_per_episode is None
        assert papers.offline.patience is None and papers.model.warm_start == "best"
        assert ours.gate.enabled and ours.gate.earned and not ours.gate.penalised
        assert not papers.gate.enabled and papers.uncertainty == "std"


def test_on_a_plant_the_budget_counts_episodes_and_values_are_those_of_quiet_valves():
    plant, robot = (preset(name, algorithm="moore_safe") for name in ("plant", "quickstart"))
    assert (plant.dip_budget_per, robot.dip_budget_per) == ("episode", "step")
    assert plant.td3.target_noise == pytest.approx(0.1 * robot.td3.target_noise)
    assert plant.td3.target_noise_limit == pytest.approx(2.0 * plant.td3.target_noise)


@pytest.mark.parametrize(
    ("row", "steps"), [("moore_robust", (100, 2.0)), ("moore_safe", (100, 0.0))]
)
def test_our_variants_have_no_settings_of_a_task(row, steps):
    for scale in ("quick", "laptop", "paper"):
        of_scale = [name for name in preset_names() if name.startswith(f"{scale}/")]
        ours = [preset(name, algorithm=row) for name in of_scale]
        alike = {(c.rollout_length, c.penalty_coef, c.offline.rollout_batch) for c in ours}
        assert len(alike) == 1 and len(ours) > 1
        assert alike.pop()[:2] == steps


def test_our_variant_imagines_as_many_steps_as_the_papers_where_that_has_rollouts_of_five():
    for name in ("quickstart", "quick/pendulum", "laptop/hopper-medium", "paper/hopper-medium"):
        ours, papers = (preset(name, algorithm=row) for row in ("moore_robust", "moore"))
        for stage in ("offline", "online"):
            batches = [getattr(config, stage).rollout_batch for config in (ours, papers)]
            assert batches[0] * ours.rollout_length == batches[1] * papers.rollout_length


@pytest.mark.parametrize("task", TASKS)
def test_a_paper_preset_holds_the_numbers_of_the_paper(task):
    config = preset(f"paper/{task}")
    online = config.online
    assert online.epochs == 100  # T
    assert online.steps_per_epoch == 1000  # S
    assert online.refit_every == 250  # phi
    assert online.rollout_batch == 100_000  # R
    assert online.updates_per_step == 20  # N
    assert (online.scheme, online.real_ratio) == ("moore", 0.0)
    assert (config.rollout_length, config.penalty_coef) == TASKS[task]  # H, lambda
    assert (config.model.members, config.model.elites) == (7, 5)  # K
    assert config.algorithm == "moore"
    robot, _, log = task.partition("-")
    assert config.env_id == f"{ENVIRONMENTS[robot]}-v4"
    assert config.dataset == f"{robot}_{log.replace('-', '_')}-v2.hdf5"


@pytest.mark.parametrize("task", TASKS)
def test_a_laptop_preset_is_the_papers_at_a_smaller_budget(task):
    paper, laptop = preset(f"paper/{task}"), preset(f"laptop/{task}", algorithm="moore")
    theirs, ours = flat(to_dict(paper)), flat(to_dict(laptop))
    changed = {name for name in theirs | ours if theirs.get(name) != ours.get(name)}
    assert changed <= BUDGETS | {"dataset", "env_id"}
    assert all(ours[name] < theirs[name] for name in changed & BUDGETS)
    assert laptop.env_id == f"{ENVIRONMENTS[task.split('-')[0]]}-v5"
