"""`moore plan` and `moore run --estimate`: what a run does, what that costs, and what hours buy."""

import dataclasses
import json

import numpy as np
import pytest

from moore.config import GateConfig
from moore.errors import InputError
from moore.planning import plan as planning
from moore.planning import trials
from moore.planning.calibration import Costs, Miniature, state_bytes
from moore.planning.estimate import estimate_run, priced
from moore.planning.memory import REPORT, memory_of
from moore.planning.plan import Live, plan_live
from moore.planning.text import duration, estimate_text, plan_text
from moore.planning.trials import Systems
from moore.planning.work import offline_work, online_work, rehearsal_work
from moore.runs.setup import prepare
from moore.stages.budget import DipBudget
from moore.stages.learner import Learner
from tiny import ENV, tiny_config, tiny_log

EACH = {"update": 0.01, "fit": 0.02, "imagine": 1e-5}
COSTS = Costs(30.0, EACH, {"update": 0.01, "refit": 0.02, "observe": 0.001}, 2**30, 0)


@pytest.fixture(scope="module")
def setup():
    return prepare(tiny_config(), dataset=tiny_log(), env=ENV)


@pytest.fixture
def measured(monkeypatch):
    """Whatever is measured costs what `COSTS` says."""
    monkeypatch.setattr(Miniature, "costs", lambda self: COSTS)


@pytest.fixture(autouse=True)
def few_systems(monkeypatch):
    """Fewer simulated systems, each over fewer episodes, than a user's plan is made of."""
    monkeypatch.setattr(trials, "SYSTEMS", 40)
    monkeypatch.setattr(trials, "EPISODES", 60)


def test_the_work_is_what_a_run_really_does(setup, tiny_run):
    config, learner = setup.config, setup.learner
    offline, online = offline_work(learner), online_work(learner, config.online.epochs)
    assert offline["update"] + online["update"] == tiny_run.summary["updates"]
    assert online["observe"] == tiny_run.summary["env_steps"]
    rows = [json.loads(x) for x in (tiny_run.folder / "metrics.jsonl").read_text().splitlines()]
    fits = [row["model/fit_steps"] for row in rows if "model/fit_steps" in row]
    assert 0 < fits[0] <= offline["fit"] and sum(fits[1:]) <= online["refit"]


def test_updates_are_priced_in_calls_as_large_as_those_of_the_run(setup, monkeypatch):
    """A call has a price of its own, which few updates share where each step is learned from."""
    calls, update = [], Learner.update

    def spy(learner, state, epoch, updates):
        calls.append((state.stage, updates))
        return update(learner, state, epoch, updates)

    monkeypatch.setattr(Learner, "update", spy)
    Miniature(setup).costs()
    each = setup.config.online.updates_per_step
    assert setup.config.online.update_every == 1 and each < 20
    online = [updates for stage, updates in calls if stage == "online"]
    assert set(online) == {each} and 2 * 20 <= sum(online) < 2 * (20 + each)
    assert {updates for stage, updates in calls if stage == "offline"} == {20}


def test_rehearsals_are_counted_where_there_are_any(setup):
    config = setup.learner.config
    online = dataclasses.replace(config.online, rehearsal_epochs=2, rehearse_every=3)
    learner = setup.learner.changed(
        config=dataclasses.replace(config, online=online, dip_budget=0.1)
    )
    assert rehearsal_work(setup.learner, 7) == {}
    assert rehearsal_work(learner, 7)["update"] == 3 * 2 * config.offline.updates_per_epoch


def test_an_estimate_measures_every_part_and_writes_nothing(desk, setup, log_file):
    before = sorted(desk.rglob("*"))
    found = estimate_run(tiny_config(), dataset=log_file, env=ENV)
    names = {(part.stage, part.name) for part in found.parts}
    assert names >= {
        ("once", "read and check the log"), ("offline", "fit the models"), ("offline", "imagine"),
        ("offline", "updates of the agent"), ("online", "refit the models"), ("online", "act"),
        ("online", "take in steps"), ("online", "updates of the agent"), ("online", "evaluate"),
    }  # fmt: skip
    assert all(part.seconds > 0.0 for part in found.parts)
    assert found.seconds() == pytest.approx(sum(part.seconds for part in found.parts))
    assert found.seconds("once") < found.calibration + 1.0
    assert found.memory is None or found.memory > 2**20
    assert sorted(desk.rglob("*")) == before
    told = estimate_text(found, "this run")
    assert "Nothing was begun" in told and "fit the models" in told
    assert json.loads(json.dumps(found.as_json()))["seconds"]["total"] == found.seconds()


def test_an_estimate_tells_what_is_spared_if_the_offline_stage_ends_as_soon_as_it_may(measured):
    """4 epochs of 150 updates, each at 0.01 s; the critics' values may settle after 3 of them."""
    config = tiny_config()
    offline = dataclasses.replace(config.offline, epochs=4, updates_per_epoch=150, rounds=1)

    def estimate(**stops):
        stage = dataclasses.replace(offline, **stops)
        return estimate_run(dataclasses.replace(config, offline=stage), dataset=tiny_log(), env=ENV)

    assert estimate(patience=None, refusals=None).spared == 0.0
    found = estimate(patience=3, refusals=9)
    imagined = offline.rollout_batch * config.rollout_length
    assert found.spared == pytest.approx(150 * 0.01 + imagined * 1e-5)
    told = estimate_text(dataclasses.replace(found, spared=0.5 * found.seconds()), "this run")
    assert "If its offline stage ends as soon as it may, it takes" in told
    assert "as soon as" not in estimate_text(dataclasses.replace(found, spared=0.0), "this run")


def test_a_part_costs_its_work_times_the_price_of_a_unit():
    work = {"update": 300, "fit": 50, "gate": 7}
    found = {part.name: part.seconds for part in priced("offline", work, EACH)}
    assert found == pytest.approx({"updates of the agent": 3.0, "fit the models": 1.0})


def test_memory_grows_with_the_buffers_of_the_run(setup):
    offline = dataclasses.replace(setup.config.offline, rollout_batch=10_000)
    larger = setup.learner.changed(config=dataclasses.replace(setup.config, offline=offline))
    rows = offline.retain_epochs * 10_000 * setup.config.rollout_length
    assert memory_of(COSTS, larger) >= 2**30 + rows * (1 + 1 + 1 + 1) * 4


def test_memory_counts_a_checkpoint_the_rows_of_a_fit_and_the_report(setup):
    """Each of them is there for a while only, and none of them in the miniature."""
    learner, state = setup.learner, state_bytes(setup.learner)
    costs = dataclasses.replace(COSTS, memory=2**30, state=state)
    # A fit that may draw every row for each member, 16 bytes a row while they are sorted.
    model = dataclasses.replace(setup.config.model, max_fit_steps=10**6, batch_size=16)
    all_rows = learner.changed(config=dataclasses.replace(setup.config, model=model))
    most = learner.offline.capacity + learner.task.online_rows
    few = 20 * model.batch_size
    assert few < most, "the miniature draws as many rows, and nothing is tested"
    more = memory_of(costs, all_rows) - (2**30 + state + REPORT)
    assert more == 16 * model.members * (most - few)
    # Rollouts of a round, 23 bytes a step.
    offline = dataclasses.replace(setup.config.offline, rollout_batch=10**6)
    many = learner.changed(config=dataclasses.replace(setup.config, offline=offline))
    kept = state_bytes(many)
    more = memory_of(costs, many) - (2**30 + (kept - state) + kept + REPORT)
    assert 0.9 < more / (23 * 10**6 * setup.config.rollout_length) < 1.0


class TestPlan:
    def test_the_scarcer_of_steps_and_hours_counts(self, measured):
        log, config = tiny_log(), tiny_config()
        online, model = config.online, config.model
        updates = online.steps_per_epoch * online.updates_per_step
        refits = online.steps_per_epoch // online.refit_every
        epoch = 0.01 * updates + 0.02 * refits * model.max_refit_steps
        epoch += 0.001 * online.steps_per_epoch
        few = plan_live(log, Live(2.0 * online.steps_per_epoch, 24.0, 0.0), config)
        assert few.epoch == pytest.approx(epoch)
        assert few.epochs_per_day == 2.0 and few.days == {25: 12.5, 100: 50.0}
        many = plan_live(log, Live(1e9, 1.0, 0.0), config)
        assert many.epochs_per_day == pytest.approx(3600.0 / epoch)
        assert any("falls behind" in note for note in many.notes)
        assert not any("falls behind" in note for note in few.notes)
        assert few.trials.why_not == "Without a dip budget there are no trials."

    def test_a_session_makes_no_rehearsals_and_none_are_counted(self, measured):
        gate = GateConfig(enabled=True, penalised=False)
        config = tiny_config(algorithm="moore_safe", gate=gate, dip_budget=0.1)
        rehearsing = dataclasses.replace(config.online, rehearsal_epochs=9, rehearse_every=1)
        log, live = tiny_log(), Live(20_000.0, 8.0, 0.0)
        with_them = plan_live(log, live, dataclasses.replace(config, online=rehearsing))
        assert with_them.epoch == plan_live(log, live, config).epoch

    def test_it_is_told_in_sentences_and_in_json(self, measured):
        found = plan_live(tiny_log(), Live(20_000.0, 8.0), tiny_config())
        told = plan_text(found)
        assert "tiny: 300 rows, 15 complete episodes of 20 steps" in told
        assert "25 epochs" in told and "100 epochs" in told and "a dip budget of 0.05" in told
        assert max(len(line) for line in told.splitlines() if "note:" not in line) <= 100
        as_json = json.loads(json.dumps(found.as_json()))
        assert as_json["episodes_per_day"] == 1000.0
        assert as_json["offline_seconds"] > 30.0 and as_json["memory"] >= 2**30

    @pytest.mark.parametrize(
        ("seconds", "told"), [(10.0, []), (60.0, ["1,440 steps a day, not 8,640"]), ("often", [])]
    )
    def test_a_day_without_room_for_so_many_steps_of_the_log_is_told(self, seconds, told, measured):
        log = dataclasses.replace(tiny_log(), metadata={"row_seconds": seconds})
        found = plan_live(log, Live(8640.0, 8.0), tiny_config())
        notes = [note for note in found.notes if "asked more often" in note]
        assert len(notes) == len(told) and all(words in notes[0] for words in told)

    def test_a_log_that_tells_nothing_of_trials_still_has_a_plan(self, measured):
        log = tiny_log()
        alike = dataclasses.replace(log, reward=np.ones_like(log.reward))
        found = planning._trials(alike, 20, 0.05, 10.0)
        assert found.per_day is None and "every reward is 1" in found.why_not

    def test_an_algorithm_without_a_log_has_none(self, measured):
        config = dataclasses.replace(tiny_config(), algorithm="sac")
        with pytest.raises(InputError, match="learns nothing from a log"):
            plan_live(tiny_log(), Live(20_000.0, 8.0), config)


class TestTrials:
    def test_a_larger_budget_allows_more_trials_of_bad_policies(self):
        small, large = (
            Systems(tiny_log(40), 20, share).trials_per_episode() for share in (0.02, 0.2)
        )
        assert 0.0 < small < large

    def test_the_more_a_policy_gains_the_sooner_it_is_promoted(self):
        systems = Systems(tiny_log(40), 20, 0.05)
        little, much = (systems.promotion(gain).median for gain in (0.02, 2.0))
        # At least four episodes of the reference, and one of the trial.
        assert little > much >= 5

    def test_without_a_budget_nothing_is_tried_and_nobody_is_promoted(self):
        systems = Systems(tiny_log(40), 20, 0.0)
        assert systems.trials_per_episode() == 0.0
        assert systems.promotion(0.5).median is None

    def test_one_episode_is_too_few(self):
        with pytest.raises(InputError, match="fewer than two episodes that end"):
            Systems(tiny_log(1), 20, 0.05)

    def test_a_recording_that_was_cut_is_no_fall(self, monkeypatch):
        """Where the system ends some episodes, nothing is booked for the steps after a cut."""
        rows, ends, end = np.arange(40), set(), DipBudget.end

        def spy(budget, *, terminated):
            ends.add((budget.running.steps, terminated))
            end(budget, terminated=terminated)

        monkeypatch.setattr(DipBudget, "end", spy)
        flags = {"terminated": rows == 6, "truncated": np.isin(rows, [19, 39])}
        Systems(dataclasses.replace(tiny_log(2), **flags), 20, 0.05).trials_per_episode()
        assert ends == {(7, True), (13, False), (20, False)}


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("plan", "moore plan needs a LOG"),
        ("plan log.hdf5 --hours 8", "--steps-per-day is needed"),
        ("plan log.hdf5 --steps-per-day -5 --hours 8", "--steps-per-day is -5"),
        ("plan log.hdf5 --steps-per-day 5 --hours 25", "--hours is 25"),
        ("plan log.hdf5 --steps-per-day 5 --hours 8 --dip-budget 1", "--dip-budget is 1"),
        ("plan log.hdf5 --steps-per-day 5 --hours 8 --preset nothing", "unknown preset"),
        (
            "plan log.hdf5 --steps-per-day 5 --hours 8 --preset tiny.toml --algorithm mbpo",
            "these settings are made for",
        ),
        ("plan none.hdf5 --steps-per-day 5 --hours 8", "none.hdf5"),
        ("run --estimate --resume runs/none", "--estimate"),
    ],
)
def test_bad_input_is_told_in_one_line(moore_refuses, line, sentence):
    assert sentence in moore_refuses(line)


def test_a_time_has_the_unit_that_fits():
    assert [duration(s) for s in (0.5, 119.0, 120.0, 7200.0, 172_800.0)] == [
        "0.5 s", "119 s", "2 min", "2 h", "2 days",
    ]  # fmt: skip
