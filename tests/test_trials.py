"""A run within a dip budget: who acts, what is booked, and that a stopped run goes on the same."""

import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pages
from moore import Session, load_policy
from moore.config import GateConfig, OfflineConfig, OnlineConfig
from moore.errors import InputError
from moore.formats.load import read_log
from moore.reports.html import run_page
from moore.runs.budgeting import dip_budget, earnings_of, floor_of
from moore.runs.folder import read_metrics
from moore.runs.run import resume, run
from moore.runs.setup import prepare
from moore.stages.earnings import earnings_of_log
from moore.stages.trials import Trials, unpack_trials
from runs_alike import assert_same_run
from tiny import ENV, tiny_config, tiny_log

GATE = GateConfig(enabled=True, rollouts=8, penalised=False, earned=True)


def config(**changes):
    tiny = tiny_config(gate=GATE, clone=True, dip_budget=0.1)
    online = replace(tiny.online, epochs=3, steps_per_epoch=60, refit_every=20)
    offline = replace(tiny.offline, epochs=1, updates_per_epoch=250)
    return replace(tiny, **({"online": online, "offline": offline} | changes))


@pytest.fixture(scope="module")
def steady_log():
    """A log whose actions follow its observations, so that there is something to clone."""
    log = tiny_log(episodes=20, gain=1.0)
    quiet = np.clip(-log.obs, -2.0, 2.0).astype(np.float32)
    return replace(log, action=quiet)


@pytest.fixture(scope="module")
def finished(steady_log, tmp_path_factory):
    out = tmp_path_factory.mktemp("trials") / "run"
    with pages.drawn():
        return run(config(), dataset=steady_log, env=ENV, out=out, quiet=True)


def test_the_summary_tells_of_the_clone_and_of_the_budget(finished):
    clone, budget = finished.summary["clone"], finished.summary["budget"]
    assert clone["acts"] and clone["rows"] == 20 * clone["episodes"]
    assert {"return", "episodes", "rows"} <= clone.keys()
    counts = {"trials", "promoted", "demoted", "explored"}
    names = counts | {"share", "credit", "spent", "least_margin"}
    assert budget.keys() == names and budget["share"] == 0.1
    assert budget["least_margin"] >= 0.0, "the promise was kept"


def test_every_online_epoch_tells_where_the_budget_stands(finished):
    rows = [r for r in read_metrics(finished.folder / "metrics.jsonl") if r["stage"] == "online"]
    assert all(math.isfinite(row["budget/margin"]) for row in rows[1:])
    trials = [row["budget/trials"] for row in rows[1:]]
    assert trials == sorted(trials)


def test_the_report_says_what_the_budget_did_and_draws_it(finished):
    page = (finished.folder / "report.html").read_text()
    assert "within a dip budget of 10%" in page and "The dip budget" in page


def test_a_broken_promise_is_said_to_be_broken(finished):
    summary = json.loads((finished.folder / "summary.json").read_text())
    summary["budget"]["least_margin"] = -3.0
    text = (finished.folder / "config.toml").read_text()
    rows = read_metrics(finished.folder / "metrics.jsonl")
    assert "The promise was broken" in run_page("run", rows, text, summary)


def test_a_stopped_run_goes_on_bit_for_bit(finished, steady_log, tmp_path):
    folder = tmp_path / "stopped"
    until = lambda row, state: row["epoch"] == 1  # noqa: E731
    run(config(), dataset=steady_log, env=ENV, out=folder, quiet=True, until=until)
    resume(folder, dataset=steady_log, env=ENV, quiet=True)
    assert_same_run(finished.folder, folder)


def test_a_session_keeps_to_the_budget_too(finished, steady_log, tmp_path):
    how = {"dataset": steady_log, "at": "hand-over", "accept": ("hand-over",)}
    with Session.from_run(finished.folder, tmp_path / "session", **how) as session:
        for step in range(40):
            session.act([0.5])
            session.observe(reward=-1.0, next_obs=[0.5], truncated=step % 20 == 19)
            if step == 19:
                assert session.learn() == 20 * config().online.updates_per_step
        with pytest.raises(InputError, match="a dip budget, which counts one episode after"):
            session.act([[0.5], [0.5]])
        learning = session._operation.studying.learning
        assert learning.verdict is not None, "the newest policy was offered as a challenger"
        booked = learning.chooser.budget.earnings
    density = read_log(session.log, infos=True).infos["log_density"]
    assert np.isnan(density).all(), "policies act without noise"
    with Session.resume(session.folder, dataset=steady_log) as again:
        assert again._operation.studying.learning.chooser.budget.earnings == booked


def test_the_clone_can_stand_by_as_the_controller_that_ran_before(finished, steady_log, tmp_path):
    how = {"dataset": steady_log, "at": "hand-over", "accept": ("hand-over",)}
    how |= {"controller": "clone", "mode": "canary"}
    with Session.from_run(finished.folder, tmp_path / "session", **how) as session:
        clone = load_policy(finished.folder / "clone")
        for obs in ([0.5], [-1.0]):
            assert session.act(obs) == pytest.approx(clone(np.asarray(obs)))
            session.observe(reward=-1.0, next_obs=obs)
        assert session.standing[0].actor == "old", "nothing is known yet of what it earns"
    with Session.resume(session.folder, dataset=steady_log) as again:
        assert again.mode == "canary" and again.standing == session.standing


class TestBooking:
    """Trials with two policies whose numbers are known, driven by hand."""

    @pytest.fixture
    def learner(self, steady_log):
        return prepare(config(), dataset=steady_log, env=ENV).learner

    @pytest.fixture
    def trials(self, learner):
        log = [np.full(20, -1.0), np.full(20, -1.1), np.full(20, -0.9)]
        earnings = earnings_of_log(log, length=20, floor=-5.0, ends=False)
        state = learner.hand_over(learner.init(jax.random.key(0)))
        return Trials.begun(learner, dip_budget(0.5, earnings), state), state

    def transition(self, learner, reward):
        rows = jax.tree.map(lambda column: np.asarray(column[0]), learner.offline.data)
        return replace(rows, reward=np.asarray(reward, np.float32), terminated=np.asarray(False))

    def episode(self, learner, trials, state, reward):
        """Twenty steps; who acted on each."""
        acted = []
        for step in range(20):
            acted.append(trials.budget.acting)
            seen = self.transition(learner, reward(acted[-1]))
            state = trials.observed(state, seen, in_episode=step < 19)
        return state, acted

    def offer(self, learner, trials, state):
        trials.policies[1] = jax.tree.map(lambda x: x + 1.0, learner.newest_policy(state))
        trials.offered = 1
        assert trials.budget.offer(1)

    def test_one_that_earns_more_is_promoted_and_is_then_the_policy_of_the_state(
        self, learner, trials
    ):
        trials, state = trials
        self.offer(learner, trials, state)
        for _ in range(6):
            state, _ = self.episode(learner, trials, state, lambda who: -0.1 if who else -1.0)
        assert trials.budget.promoted == 1 and trials.budget.incumbent == 1
        assert state.gate.acting is trials.policies[1]

    def test_the_agent_adopts_a_policy_that_was_promoted_and_hears_of_it_once(
        self, learner, trials, monkeypatch
    ):
        trials, state = trials
        heard = []

        def adopt(agent, acting, config):
            heard.append(acting)
            return agent

        row = replace(learner.algorithm, agent=replace(learner.algorithm.agent, adopt=adopt))
        monkeypatch.setattr(trials, "_learner", replace(learner, algorithm=row))
        self.offer(learner, trials, state)
        for _ in range(6):
            state, _ = self.episode(learner, trials, state, lambda who: -0.1 if who else -1.0)
        assert [who is trials.policies[1] for who in heard].count(True) == 1

    def along_the_line(self, learner, trials, earned):
        """Twelve episodes in which policies on a line come first and earn `earned(number)`."""
        trials, state = trials
        trials.use(learner)
        goal = jax.tree.map(lambda x: x + 1.0, trials.policies[0])
        trials.search.begin(trials.policies[0], goal)
        for _ in range(12):
            state, _ = trials.consider(state, 1, [], in_episode=False)
            state, _ = self.episode(learner, trials, state, earned)
        return trials, state, goal

    def test_policies_on_the_line_are_tried_before_any_other(self, learner, trials, monkeypatch):
        begun = []

        def begin_with(agent, policy, config):
            begun.append(policy)
            return agent

        agent = replace(learner.algorithm.agent, begin_with=begin_with)
        learner = replace(learner, algorithm=replace(learner.algorithm, agent=agent))
        earned = [-1.0, -0.8, -0.6, -4.0]
        found, state, goal = self.along_the_line(learner, trials, lambda who: earned[min(who, 3)])
        assert found.search.tried == [1, 2] and found.search.left == []
        assert found.budget.incumbents[-1] == 2
        assert all(map(np.allclose, *map(jax.tree.leaves, (state.gate.acting, goal))))
        assert len(begun) == 2 and begun[-1] is state.gate.acting, "the agent goes on from there"

    def test_one_on_the_line_that_loses_ends_it(self, learner, trials):
        earned = [-1.0, -4.0, -0.7]
        found, _, _ = self.along_the_line(learner, trials, lambda who: earned[min(who, 1)])
        assert found.search.tried == [1] and found.search.left == []
        assert found.budget.incumbents == [0]

    def test_one_on_the_line_that_decides_nothing_is_followed_by_the_next(self, learner, trials):
        earned = [-1.0, -1.01, -0.6, -4.0]
        found, _, _ = self.along_the_line(learner, trials, lambda who: earned[min(who, 3)])
        assert found.search.tried == [1, 2] and found.search.left == []
        assert found.budget.incumbents == [0, 2]

    def test_a_search_is_stored_with_the_trials(self, learner, trials):
        trials, state = trials
        trials.search.begin(trials.policies[0], jax.tree.map(jnp.zeros_like, trials.policies[0]))
        state, _ = trials.consider(state, 1, [], in_episode=False)
        again = unpack_trials(learner, state, *trials.pack())
        assert again.search.tried == trials.search.tried == [1]
        left, stored = map(jax.tree.leaves, (trials.search.left, again.search.left))
        assert len(left) == len(stored) > 0 and all(map(np.array_equal, left, stored))

    def test_one_that_earns_less_is_dropped_and_forgotten(self, learner, trials):
        trials, state = trials
        self.offer(learner, trials, state)
        for _ in range(6):
            state, _ = self.episode(learner, trials, state, lambda who: -4.0 if who else -1.0)
        assert trials.budget.promoted == 0 and trials.policies.keys() == {0}
        assert trials.metrics()["budget/least_margin"] >= 0.0

    def test_a_comparison_has_the_same_metrics_whether_the_incumbent_is_known_or_not(
        self, learner, trials
    ):
        known, state = trials
        log = [np.full(20, -1.0)]
        earnings = earnings_of_log(log, length=20, floor=-5.0, ends=False)
        unknown = Trials.begun(learner, dip_budget(0.5, earnings), state)
        found = [one.consider(state, 1, [], in_episode=True)[1] for one in (known, unknown)]
        assert found[0].keys() == found[1].keys()

    def hears(self, learner, trials, monkeypatch) -> list[bool]:
        """What the agent is told of its policies from now on."""
        heard = []

        def after_verdict(agent, won, config):
            heard.append(won)
            return agent

        agent = replace(learner.algorithm.agent, after_verdict=after_verdict)
        row = replace(learner.algorithm, agent=agent)
        monkeypatch.setattr(trials, "_learner", replace(learner, algorithm=row))
        return heard

    @pytest.mark.parametrize(("earned", "won"), [(-0.5, True), (-4.0, False)])
    def test_the_agent_hears_of_a_verdict_once(self, learner, trials, monkeypatch, earned, won):
        trials, state = trials
        heard = self.hears(learner, trials, monkeypatch)
        self.offer(learner, trials, state)
        for _ in range(6):
            state, _ = self.episode(learner, trials, state, lambda who: earned if who else -1.0)
        assert heard == [won]

    def test_one_that_another_takes_the_place_of_has_no_verdict(self, learner, trials, monkeypatch):
        trials, state = trials
        heard = self.hears(learner, trials, monkeypatch)
        self.offer(learner, trials, state)
        while trials.budget.challenger is None:
            state, _ = self.episode(learner, trials, state, lambda who: -1.0)
            trials.budget.acting  # noqa: B018 (plans the episode, and calls the challenger)
        trials._tried = trials._on_trial()
        trials.budget._drop()
        trials.observed(state, self.transition(learner, -1.0), in_episode=True)
        assert heard == []

    def test_one_that_never_acted_has_no_verdict(self, learner, trials, monkeypatch):
        trials, state = trials
        heard = self.hears(learner, trials, monkeypatch)
        self.offer(learner, trials, state)
        trials.take_up(2, learner.policy(state))
        trials.observed(state, self.transition(learner, -1.0), in_episode=True)
        assert heard == []

    @pytest.mark.parametrize(
        ("said_of_incumbent", "gain", "accepted"),
        [(-20.0, -3.0, False), (-20.0, -1.0, True), (-26.0, -3.0, True), (-26.0, -8.0, False)],
    )
    def test_models_refuse_a_policy_whose_loss_is_larger_than_their_error(
        self, learner, trials, monkeypatch, said_of_incumbent, gain, accepted
    ):
        """The incumbent earns -20; their standard error over starts is 2."""
        trials, state = trials
        trials.policies[0] = jax.tree.map(lambda x: x + 1.0, trials.policies[0])
        heard = self.hears(learner, trials, monkeypatch)
        found = {
            "gate/gain": gain, "gate/standard_error": 2.0, "gate/return": said_of_incumbent + gain,
        }  # fmt: skip
        scaled = {name: jnp.asarray(learner.units.reward_in(x)) for name, x in found.items()}
        compare = lambda self, state, epoch: (state, scaled)  # noqa: E731
        monkeypatch.setattr(type(learner), "compare_newest", compare)
        _, told = trials.consider(state, 1, [], in_episode=True)
        assert bool(told["gate/accepted"]) is accepted
        assert heard == ([] if accepted else [False])

    def test_a_transition_that_was_not_measured_costs_nothing(self, learner, trials):
        trials, state = trials
        for step in range(20):
            assert trials.budget.acting == 0
            seen = None if step == 7 else self.transition(learner, -1.0)
            state = trials.observed(state, seen, in_episode=step < 19)
        earned = trials.budget.earnings.worths[-1]
        assert earned == pytest.approx(20 * (-1.0 + 5.0))

    def test_it_goes_on_from_json_and_arrays(self, learner, trials):
        trials, state = trials
        self.offer(learner, trials, state)
        state, _ = self.episode(learner, trials, state, lambda who: -0.5)
        facts, arrays = trials.pack()
        again = unpack_trials(learner, state, json.loads(json.dumps(facts)), arrays)
        assert again.budget == trials.budget and again.offered == 1
        for number, policy in trials.policies.items():
            for a, b in zip(
                jax.tree.leaves(policy), jax.tree.leaves(again.policies[number]), strict=True
            ):
                np.testing.assert_array_equal(a, b)


class TestWorth:
    def test_counts_from_nothing_where_every_episode_earns(self):
        log = tiny_log()
        paid = replace(log, reward=-log.reward, episode_returns=-log.episode_returns)
        assert floor_of(paid, 20, None) == 0.0

    def test_counts_from_the_worst_episode_where_rewards_are_costs(self):
        log = tiny_log()
        worst = float((log.episode_returns / log.episode_lengths).min())
        assert floor_of(log, 20, None) == pytest.approx(worst)
        assert floor_of(log, 20, -400.0) == pytest.approx(-20.0), "or from a random policy"

    def test_an_episode_that_the_recording_has_cut_short_is_not_the_worst(self):
        log, ends = tiny_log(), tiny_log().truncated.copy()
        ends[np.flatnonzero(ends)[0] + 3] = True  # in the second episode, after three steps
        returns, lengths = list(log.episode_returns), list(log.episode_lengths)
        returns[1:2], lengths[1:2] = [-300.0, returns[1] + 300.0], [3, lengths[1] - 3]
        told = {"episode_returns": np.array(returns), "episode_lengths": np.array(lengths)}
        cut = replace(log, truncated=ends, **told)
        whole = np.delete(log.episode_returns / log.episode_lengths, 1)
        assert floor_of(cut, 20, None) == pytest.approx(float(whole.min()))

    def test_counts_from_the_least_reward_where_episodes_hardly_differ(self):
        log = tiny_log()
        equal = np.full_like(log.episode_returns, log.reward.mean() * 20)
        found = floor_of(replace(log, episode_returns=equal), 20, None)
        assert found == pytest.approx(float(log.reward.min()))

    def test_needs_rewards_that_differ(self):
        log = tiny_log()
        with pytest.raises(InputError, match="a share of what is earned means nothing"):
            floor_of(replace(log, reward=np.full_like(log.reward, 2.0)), 20, None)

    def test_is_that_of_the_run(self, steady_log):
        setup = prepare(config(), dataset=steady_log, env=ENV)
        found = earnings_of(setup)
        assert (found.length, found.ends, found.episodes) == (20, False, 0)
        assert found.floor < 0.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algorithm": "sac"}, "dip_budget is a share of what a reference controller earns"),
        ({"algorithm": "iql", "dip_budget": None}, "clone needs models"),
        ({"gate": GateConfig()}, "clone needs models"),
        ({"online": OnlineConfig(rehearsal_epochs=1)}, "has no agent of its own that learns"),
        ({"offline": OfflineConfig(log_updates=1)}, "log_updates is 1, but .* has no agent"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said, steady_log):
    with pytest.raises(InputError, match=said):
        prepare(config(**changes), dataset=steady_log, env=ENV)


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_budget_is_a_share_below_one(share):
    with pytest.raises(InputError, match="dip_budget"):
        tiny_config(dip_budget=share)


def test_an_agent_without_models_is_tried_too(steady_log, tmp_path):
    from tiny import AGENT_SETTINGS

    changes = AGENT_SETTINGS["awac"] | {"algorithm": "awac", "clone": False, "gate": GateConfig()}
    result = run(config(**changes), dataset=steady_log, env=ENV, out=tmp_path / "run", quiet=True)
    assert result.summary["budget"]["least_margin"] >= 0.0
    assert jnp.isfinite(result.summary["budget"]["credit"])
