"""Who acts within a dip budget while learning runs elsewhere: both processes keep one account."""

from collections import deque
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.envs.bounds import Bounds
from moore.formats.live_steps import Steps
from moore.runs.budgeting import dip_budget
from moore.runs.setup import Setup
from moore.sessions import turns
from moore.sessions.acting import ReadyPolicy
from moore.sessions.feeder import Feeder
from moore.sessions.turns import Published, SupervisedTurns, TrialTurns
from moore.stages import budget_summary
from moore.stages.booking import book, drop_others
from moore.stages.earnings import earnings_of_log
from moore.stages.learner import Learner
from moore.stages.online_learning import OnlineLearning
from moore.stages.state import LearnerState
from moore.stages.supervised import SupervisedTrials, supervised
from moore.stages.trials import Trials
from moore.units import AS_GIVEN

LENGTH = 6
REFERENCE = "reference"


def prepared(name):
    return ReadyPolicy(None, None, name)


def setup():
    made = mock.Mock(spec=Setup)
    made.world = SimpleNamespace(bounds=Bounds(-np.ones(1, np.float32), np.ones(1, np.float32)))
    made.units, made.policy = AS_GIVEN, lambda name: name
    return made


def trials(ends=False, *, beside=False):
    """Ten episodes of the reference are known, each of about 6, and half of it may be lost."""
    known = [np.full(LENGTH, 1.0 + 0.01 * (i - 4.5)) for i in range(10)]
    earnings = earnings_of_log(known, length=LENGTH, floor=0.0, ends=ends)
    budget = dip_budget(0.5, earnings)
    if beside:
        return SupervisedTrials(mock.Mock(spec=Learner), supervised(budget), {0: REFERENCE})
    return Trials(mock.Mock(spec=Learner), budget, {0: REFERENCE})


class Plant:
    """The process that acts, and the records that it writes."""

    def __init__(self, ends=False):
        with mock.patch.object(turns, "ready", prepared):
            self.turns = TrialTurns(setup(), trials(ends))
        self.steps, self.log, self.newest = Steps(), [], None

    @property
    def budget(self):
        return self.turns.budget

    def publish(self, number):
        self.newest = Published(number, prepared(f"policy {number}"))

    def take(self, record):
        self.log.append(record)
        for step in self.steps.take(record):
            self.turns.add(step)

    def act(self):
        """Who acts."""
        waiting = self.steps.open.get(0, ())
        turn, notes, _ = self.turns.decide(self.newest, waiting, np.zeros(1, np.float32))
        record = {"kind": "act", "step": self.steps.last + 1, "unit": 0, "obs": [0.0]}
        self.take(record | {"action": [0.0], "policy": turn.of.id, **notes})
        return turn.of.id

    def observe(self, reward, *, next_obs=(0.0,), terminated=False, truncated=False):
        record = {"kind": "observe", "step": self.steps.last, "reward": reward}
        record |= {"terminated": terminated, "truncated": truncated}
        self.take(record | {"next_obs": None if next_obs is None else list(next_obs)})

    def episode(self, reward=1.0):
        """Who acts in each step of an episode."""
        who = []
        for step in range(LENGTH):
            who.append(self.act())
            self.observe(reward, truncated=step == LENGTH - 1)
        return who


class Beside(Plant):
    """A process that acts beside a controller; alarms and modes are the test's."""

    def __init__(self, ends=False):
        super().__init__(ends)
        with mock.patch.object(turns, "ready", prepared):
            self.turns = SupervisedTurns(setup(), trials(ends, beside=True))
        self.mode, self.alarm, self.alarmed = "canary", "", set()

    def take(self, record):
        self.log.append(record)
        for step in alarmed(self.steps.take(record), self.alarmed):
            self.turns.add(step)

    def act(self):
        """Who acts."""
        waiting = self.steps.open.get(0, ())
        trying = self.mode == "canary" and not self.alarm
        turn, notes, affordable = self.turns.decide(
            self.newest, waiting, np.zeros(1, np.float32), trying=trying
        )
        new = affordable or (self.mode == "on" and not self.alarm)
        decision = {"actor": "new" if new else "old", "mode": self.mode, "alarm": self.alarm}
        record = {"kind": "act", "step": self.steps.last + 1, "unit": 0, "obs": [0.0], **notes}
        record["decision"] = decision | {"clock": 0.0, "old": None, "new": None}
        self.take(record | {"action": [0.0], "policy": turn.of.id if new else None})
        return turn.of.id if new else REFERENCE


def alarmed(steps, numbers):
    """The steps, with the alarms that a supervisor has noted at these."""
    for step in steps:
        step.alarmed = step.number in numbers
        yield step


class Repeats(OnlineLearning):
    """The learner, of which only the account is there."""

    def __init__(self, chooser):
        flags = np.zeros(0, bool)
        online = SimpleNamespace(size=0, capacity=1 << 30)
        online.data = SimpleNamespace(terminated=flags, truncated=flags)
        self.chooser, self.state, self.in_others = chooser, SimpleNamespace(online=online), []

    def observe(self, transition, *, in_episode):
        budget = self.chooser.budget
        self.in_others.append(budget.acting != 0 or budget.running.others_since is not None)
        book(budget, AS_GIVEN, transition, in_episode=in_episode)
        drop_others(self.chooser.policies, budget)

    def alarmed(self):
        self.chooser.budget.take_back()

    def cut(self):
        pass

    def abandon(self):
        self.chooser.budget.end(terminated=False)


def repeated(plant, ends=False):
    """The learner that has followed the log of a plant."""
    beside = isinstance(plant, Beside)
    learning = Repeats(trials(ends, beside=beside))
    feeder = Feeder(setup(), learning, published=lambda number: f"policy {number}")
    steps = Steps()
    for record in plant.log:
        for step in alarmed(steps.take(record), plant.alarmed if beside else ()):
            feeder.add(step)
    return learning


def test_a_policy_is_taken_up_when_an_episode_begins():
    plant = Plant()
    plant.act()
    plant.publish(7)
    plant.observe(1.0)
    assert plant.act() == REFERENCE, "the episode has begun"
    plant.observe(1.0, truncated=True)
    assert plant.episode() == ["policy 7"] * LENGTH
    offers = [record["step"] for record in plant.log if "offer" in record]
    assert offers == [3], "the log tells it once"


def test_without_a_policy_from_the_learner_trials_go_on_with_those_that_are_there():
    plant = Plant()
    plant.publish(1)
    for _ in range(2):
        assert plant.episode(reward=2.0) == ["policy 1"] * LENGTH
    assert plant.budget.incumbents == [0, 1]
    assert set(plant.episode(reward=2.0)) == {"policy 1"}


def test_a_trial_that_falls_behind_is_handed_back_in_the_same_step():
    plant = Plant()
    plant.publish(1)
    assert plant.episode(reward=-1.0) == ["policy 1"] + [REFERENCE] * (LENGTH - 1)


@pytest.mark.parametrize("step", range(2))
def test_where_a_reward_is_not_known_the_reference_acts_until_the_episode_ends(step):
    plant = Plant()
    plant.publish(1)
    who = []
    for place in range(LENGTH):
        who.append(plant.act())
        plant.observe(None if place == step else 1.0, truncated=place == LENGTH - 1)
        if place == step + 1:
            plant.take({"kind": "reward", "step": step + 1, "reward": 1.0})
    assert who == ["policy 1"] * (step + 1) + [REFERENCE] * (LENGTH - step - 1)
    assert plant.budget.challenger == 1, "nobody is to blame for it"
    assert plant.episode() == ["policy 1"] * LENGTH


def test_an_episode_after_one_whose_return_is_not_known_is_the_references():
    plant = Plant()
    plant.publish(1)
    plant.act()
    plant.observe(None, truncated=True)
    assert plant.episode() == [REFERENCE] * LENGTH
    plant.take({"kind": "reward", "step": 1, "reward": 1.0})
    assert repeated(plant).in_others == [True] + [False] * LENGTH


def test_an_observation_that_follows_with_the_next_action_is_known_in_time():
    plant = Plant()
    plant.publish(1)
    for _ in range(3):
        assert plant.act() == "policy 1"
        plant.observe(1.0, next_obs=None)
    assert plant.act() == "policy 1" and plant.budget.running.steps == 3


def test_an_action_that_could_not_be_written_is_told_with_the_next_one():
    plant = Plant()
    plant.publish(3)
    plant.turns.decide(plant.newest, (), np.zeros(1, np.float32))
    plant.act()
    assert plant.log[-1]["offer"] == 3


def test_the_learner_plans_no_episode():
    known = trials()
    known.propose = lambda policy: None
    assert known.turn(mock.Mock(spec=LearnerState)).of == REFERENCE
    assert not known.budget.running.planned


event = st.fixed_dictionaries(
    {
        "reward": st.sampled_from([-1.0, 0.0, 1.0, 1.5, "not measured"]),
        "late": st.sampled_from([0, 0, 0, 0, 1, 5]),
        "what": st.sampled_from(
            ["whole", "whole", "whole", "follows", "lost", "gap", "truncated", "terminated"]
        ),
        "publish": st.booleans(),
    }
)


def happen(plant, events):
    """Lets all this happen, and then waits for the rewards that are late."""
    late = deque()
    for number, now in enumerate(events, start=1):
        if now["publish"]:
            plant.publish(number)
        yield now
        plant.act()
        step = plant.steps.last
        if now["what"] in ("lost", "gap"):
            if now["what"] == "gap":
                plant.take({"kind": "gap", "unit": 0})
        else:
            flags = {name: now["what"] == name for name in ("truncated", "terminated")}
            seen = None if now["what"] == "follows" else (0.0,)
            plant.observe(None if now["late"] else now["reward"], next_obs=seen, **flags)
            if now["late"]:
                late.append((number + now["late"], step, now["reward"]))
        while late and late[0][0] <= number:
            _, step, reward = late.popleft()
            if plant.steps.find(step) is not None:
                plant.take({"kind": "reward", "step": step, "reward": reward})
    plant.act()
    plant.observe(1.0, truncated=True)
    for _, step, reward in late:
        if plant.steps.find(step) is not None:
            plant.take({"kind": "reward", "step": step, "reward": reward})


@given(events=st.lists(event, max_size=60), ends=st.booleans())
def test_the_learner_repeats_the_account_of_the_process_that_acts(events, ends):
    plant = Plant(ends)
    for _ in happen(plant, events):
        pass
    learning = repeated(plant, ends)
    here, there = plant.budget, learning.chooser.budget
    assert budget_summary.pack(here) == budget_summary.pack(there)
    acted = [record["policy"] != REFERENCE for record in plant.log if record["kind"] == "act"]
    assert all(there for here, there in zip(acted, learning.in_others, strict=True) if here)


def test_beside_a_controller_a_policy_is_taken_up_when_an_episode_begins():
    plant = Beside()
    plant.act()
    plant.publish(7)
    plant.observe(1.0)
    assert plant.act() == REFERENCE, "the episode has begun"
    plant.observe(1.0, truncated=True)
    assert plant.episode() == ["policy 7"] * LENGTH
    plant.alarm = "It is too hot."
    plant.alarmed.add(plant.steps.last + 1)
    assert plant.episode() == [REFERENCE] * LENGTH
    assert plant.budget.incumbents == [0], "every promotion is taken back"


def test_trust_counts_the_alarms_that_the_learner_knew_of_a_policy_that_was_taken_up():
    plant = Beside()
    plant.newest = Published(7, prepared("policy 7"), heard=2)
    plant.act()
    assert plant.turns.heard == 0, "its record is not known to be written"
    plant.observe(1.0)
    assert plant.turns.heard == 2


@given(
    events=st.lists(event, max_size=60),
    ends=st.booleans(),
    rules=st.lists(
        st.sampled_from(["", "", "", "alarm", "trust", "canary", "on", "shadow"]), min_size=61
    ),
)
def test_beside_a_controller_the_learner_repeats_the_account_too(events, ends, rules):
    plant = Beside(ends)
    for rule, _ in zip(rules, happen(plant, events), strict=False):
        if rule == "alarm":
            plant.alarm = "It is too hot."
            plant.alarmed.add(plant.steps.last + 1)
        elif rule == "trust":
            plant.alarm = ""
        elif rule:
            plant.mode = rule
    learning = repeated(plant, ends)
    here, there = plant.budget, learning.chooser.budget
    assert budget_summary.pack(here) == budget_summary.pack(there)
    assert plant.turns.turn.of.id == learning.chooser.turn(mock.Mock(spec=LearnerState)).of
