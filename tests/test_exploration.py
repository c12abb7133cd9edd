"""Where trials bring nothing and the account is rich, the agent itself acts now and then."""

from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
import pytest

from made_budgets import LENGTH, steady, whole_episode
from moore import Session
from moore.config import GateConfig
from moore.reports.verdict import budget_kept
from moore.runs.budgeting import dip_budget, make_chooser
from moore.runs.run import resume, run
from moore.runs.setup import prepare
from moore.stages import trial_plan
from moore.stages.budget import EXPLORER, REFERENCE, DipBudget
from moore.stages.budget_summary import pack, summary, unpack
from moore.stages.trial_plan import is_rich
from moore.stages.trial_rules import Rules
from moore.stages.trials import Trials
from runs_alike import assert_same_run
from tiny import ENV, tiny_config, tiny_log


def exploring(share: float = 0.05, **rules) -> DipBudget:
    """The reference earns 20 an episode, and one episode is left to lose at the beginning."""
    budget = dip_budget(share, steady(), Rules(**({"explore": 0.0} | rules)))
    budget.explores = True
    return budget


def who_begins(budget: DipBudget, earns: dict[int, float], episodes: int) -> list[int]:
    return [whole_episode(budget, earns)[0] for _ in range(episodes)]


def test_without_anybody_to_try_it_acts_in_every_other_episode():
    assert who_begins(exploring(), {REFERENCE: 1.0, EXPLORER: 1.0}, 4) == [
        EXPLORER, REFERENCE, EXPLORER, REFERENCE,
    ]  # fmt: skip


def test_while_trials_are_won_they_come_first():
    budget, acted = exploring(), []
    earns = {EXPLORER: 1.0, 1: 1.2, 2: 1.4, 3: 1.6}
    for newest in (1, 2, 3):
        budget.offer(newest)
        acted.append(whole_episode(budget, earns)[0])
    assert acted == [1, 2, 3] and budget.promoted == 3
    assert who_begins(budget, earns, 2) == [EXPLORER, 3]


def test_after_two_that_were_given_up_trials_and_exploration_take_turns():
    budget, acted = exploring(), []
    earns = {REFERENCE: 1.0, EXPLORER: 1.0, 1: 0.95, 2: 0.95, 3: 0.95, 4: 1.5, 5: 1.7}
    for newest in (1, 2, 3, 3, 4, 4, 5):
        if newest not in acted:
            budget.offer(newest)
        acted.append(whole_episode(budget, earns)[0])
    assert acted == [1, 2, EXPLORER, 3, EXPLORER, 4, 5]
    assert summary(budget)["explored"] == 2


def test_a_policy_of_a_line_search_comes_first_all_the_same():
    budget, acted = exploring(), []
    earns = {REFERENCE: 1.0, EXPLORER: 1.0, 1: 0.95, 2: 0.95, 3: 1.5}
    for newest in (1, 2, 3):
        budget.offer(newest)
        budget.searched = 3
        acted.append(whole_episode(budget, earns)[0])
    assert acted == [1, 2, 3] and budget.incumbent == 3


def test_it_needs_more_than_what_the_episode_may_cost():
    """5% of 20 are saved in each: after twenty episodes of the reference one more can be lost."""
    budget = exploring(explore=1.0)
    acted = who_begins(budget, {REFERENCE: 1.0, EXPLORER: 1.0}, 40)
    assert acted.index(EXPLORER) == pytest.approx(19, abs=2)
    assert not is_rich(exploring(explore=1.0)) and is_rich(exploring(explore=0.0))


def test_nobody_explores_unasked():
    budget = dip_budget(0.05, steady(), Rules(explore=0.0))
    assert who_begins(budget, {REFERENCE: 1.0}, 4) == [REFERENCE] * 4


@pytest.mark.parametrize("worth", [0.0, 0.5, 0.7])
def test_it_is_stopped_as_soon_as_it_is_behind_by_a_fifth_of_an_episode(worth):
    budget = exploring()
    acted = whole_episode(budget, {EXPLORER: worth, REFERENCE: 1.0})
    steps = acted.count(EXPLORER)
    assert acted == [EXPLORER] * steps + [REFERENCE] * (LENGTH - steps)
    assert steps * (1.0 - worth) == pytest.approx(0.2 * LENGTH, abs=1.0)
    assert budget.astray and budget.spent == pytest.approx(steps * (1.0 - worth))


def test_what_noise_costs_does_not_stop_it():
    budget = exploring()
    assert whole_episode(budget, {EXPLORER: 0.85}) == [EXPLORER] * LENGTH
    assert not budget.astray and budget.spent == pytest.approx(0.15 * LENGTH)


def test_behind_is_behind_the_incumbent_which_takes_over():
    budget = exploring()
    budget.offer(1)
    earns = {REFERENCE: 1.0, 1: 2.0, EXPLORER: 1.0}
    whole_episode(budget, earns)
    assert budget.incumbent == 1
    acted = whole_episode(budget, earns)
    assert acted[0] == EXPLORER and acted[-1] == 1


def test_a_fall_leads_astray_too():
    known = steady(ends=True)
    budget = dip_budget(0.05, known, Rules(explore=0.0))
    budget.explores = True
    for _ in range(3):
        assert budget.acting == EXPLORER
        budget.step(1.0)
    budget.end(terminated=True)
    assert budget.astray


def test_the_line_holds_whatever_it_earns():
    """Nothing at all, in every episode in which it may act."""
    budget = exploring(share=0.2)
    for _ in range(200):
        whole_episode(budget, {REFERENCE: 1.0, EXPLORER: 0.0})
    assert budget.explored > 20
    assert summary(budget)["least_margin"] >= 0.0


def test_it_tells_nothing_of_the_reference():
    budget = exploring()
    known = budget.earnings.episodes
    whole_episode(budget, {EXPLORER: 3.0})
    assert budget.earnings.episodes == known and not budget.standings


def test_it_goes_on_from_json():
    budget = exploring()
    for step in range(3 * LENGTH + 5):
        budget.acting  # noqa: B018 (plans the episode)
        budget.step(1.0 + 0.01 * (step % 3))
    again = unpack(pack(budget))
    assert again == budget and again.acting == budget.acting == REFERENCE
    rest = {EXPLORER: 0.9, REFERENCE: 1.0}
    left = [whole_episode(one, rest) for one in (budget, again) for _ in range(3)]
    assert left[:3] == left[3:]


class TestTheAgentThatExplores:
    """Trials of a learner, driven by hand."""

    @pytest.fixture
    def learner(self):
        gate = GateConfig(enabled=True, rollouts=8, penalised=False, earned=True)
        tiny = tiny_config(gate=gate, clone=True, dip_budget=0.1)
        online = replace(tiny.online, exploration_noise=0.1)
        changed = replace(tiny, online=online)
        return prepare(changed, dataset=tiny_log(episodes=4), env=ENV).learner

    @pytest.fixture
    def trials(self, learner):
        state = learner.hand_over(learner.init(jax.random.key(0)))
        trials = Trials.begun(learner, exploring(), state)
        return trials, replace(state, agent=moved(state.agent))

    def test_it_acts_as_it_is_now_and_not_as_it_was_offered(self, learner, trials):
        trials, state = trials
        obs = np.zeros(learner.dims[0], np.float32)
        without = learner.act_mode(learner.newest_policy(state), obs)
        drawn = []
        for _ in range(200):
            action, state = trials.act(state, obs, random=False)
            drawn.append(action)
        assert np.mean(drawn, axis=0) == pytest.approx(without, abs=0.03)
        assert np.std(drawn, axis=0) == pytest.approx(0.1, abs=0.02)

    def test_its_next_steps_begin_where_it_has_come(self, learner, trials, monkeypatch):
        trials, state = trials
        adopted = self.adopts(learner, trials, monkeypatch)
        trials.consider(state, 1, [], in_episode=True)
        assert eqx.tree_equal(adopted[0], learner.newest_policy(state))

    @pytest.mark.parametrize("why", ["astray", "poor"])
    def test_they_begin_at_the_policy_that_acts(self, learner, trials, monkeypatch, why):
        trials, state = trials
        adopted = self.adopts(learner, trials, monkeypatch)
        trials.budget.astray = why == "astray"
        if why == "poor":
            trials.budget.rules = Rules(explore=10.0)
        trials.consider(state, 1, [], in_episode=True)
        assert eqx.tree_equal(adopted[0], trials.policies[REFERENCE])

    def adopts(self, learner, trials, monkeypatch) -> list:
        """The policies that the agent adopts from now on."""
        adopted = []

        def adopt(agent, policy, config):
            adopted.append(policy)
            return agent

        row = replace(learner.algorithm, agent=replace(learner.algorithm.agent, adopt=adopt))
        monkeypatch.setattr(trials, "_learner", replace(learner, algorithm=row))
        return adopted


def moved(agent):
    """The agent after updates: its actor is another one than the policy that was handed over."""
    return replace(agent, actor=jax.tree.map(lambda x: x + 0.02, agent.actor))


def test_the_report_says_how_often_it_did_and_that_this_has_a_price():
    budget = {"share": 0.05, "spent": 12.0, "least_margin": 1.0, "trials": 3, "promoted": 1}
    told = budget_kept(budget | {"demoted": 0, "explored": 4})
    assert "The agent itself explored in 4 episodes." in told
    assert "Trials and exploration cost 12.0 of reward." in told
    assert "explor" not in budget_kept(budget | {"demoted": 0, "explored": 0})


@pytest.mark.parametrize("noise", [0.1, 0.0])
@pytest.mark.parametrize("asks", [True, False])
def test_only_a_run_whose_settings_say_so_explores(noise, asks):
    """A session makes its chooser without asking for it."""
    gate = GateConfig(enabled=True, rollouts=8, penalised=False, earned=True)
    tiny = tiny_config(gate=gate, clone=True, dip_budget=0.1)
    changed = replace(tiny, online=replace(tiny.online, exploration_noise=noise))
    setup = prepare(changed, dataset=tiny_log(episodes=4), env=ENV)
    state = setup.learner.hand_over(setup.learner.init(jax.random.key(0)))
    chooser = make_chooser(setup, state, {}, {}, **({"explores": True} if asks else {}))
    assert chooser.budget.explores == (asks and noise > 0.0)


@pytest.mark.slow
class TestARun:
    @pytest.fixture(scope="class")
    def how(self):
        gate = GateConfig(enabled=True, rollouts=8, penalised=False, earned=True)
        tiny = tiny_config(gate=gate, clone=True, dip_budget=0.9)
        online = replace(tiny.online, epochs=5, steps_per_epoch=60, refit_every=20)
        offline = replace(tiny.offline, epochs=1, updates_per_epoch=20)
        made = replace(tiny, offline=offline, online=replace(online, exploration_noise=0.1))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(trial_plan, "_IN_VAIN", 0)  # no trial has to be lost
            yield {"config": made, "dataset": tiny_log(episodes=20), "env": ENV, "quiet": True}

    @pytest.fixture(scope="class")
    def whole(self, how, tmp_path_factory):
        return run(out=tmp_path_factory.mktemp("exploring") / "run", **how)

    def test_explores_and_goes_on_bit_for_bit_when_it_was_stopped(self, how, whole, tmp_path):
        assert whole.summary["budget"]["explored"] > 0
        run(out=tmp_path / "run", until=lambda row, state: row["epoch"] == 4, **how)
        resume(tmp_path / "run", dataset=how["dataset"], env=ENV, quiet=True)
        assert_same_run(whole.folder, tmp_path / "run")

    def test_a_session_does_not_explore(self, how, whole, tmp_path):
        given = {"dataset": how["dataset"], "at": "hand-over", "accept": ("hand-over",)}
        with Session.from_run(whole.folder, tmp_path / "session", **given) as session:
            for step in range(200):
                session.act([0.5])
                session.observe(reward=-1.0, next_obs=[0.5], truncated=step % 20 == 19)
            assert not session._operation.studying.learning.chooser.budget.explores
