"""The dip budget of a run: the floor that worth is counted from, and who decides about acting."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from moore.data.dataset import Dataset
from moore.data.whole import earned_a_step
from moore.errors import InputError
from moore.runs.setup import Setup
from moore.stages.budget import DipBudget
from moore.stages.choosing import Chooser, Gatekeeper
from moore.stages.earnings import Earnings, drawdown, earnings_of_log
from moore.stages.ledger import Ledger
from moore.stages.rate import Rate
from moore.stages.state import LearnerState
from moore.stages.supervised import SupervisedTrials, supervised
from moore.stages.trial_rules import Rules
from moore.stages.trials import Trials, unpack_trials

# If the log's worst episodes earn nearly as much as its mean, a share of the difference would be
# almost nothing.
_LEAST_WORTH = 0.1
# Number of the log's newest episodes that count as the reference's: seasons change.
_NEWEST = 200
# Worth of a step that counts as nothing, as a share of the size of the mean reward.
_NOTHING = 1e-6


def make_chooser(
    setup: Setup,
    state: LearnerState,
    choice: dict,
    arrays: dict[str, np.ndarray],
    *,
    cuts: bool = False,
    explores: bool = False,
) -> Chooser:
    """Makes the object that decides who acts in the online stage.

    Args:
        setup: parts of the run.
        state: state of the learner at the hand-over or at a checkpoint.
        choice: what the checkpoint holds about this decision; empty at the hand-over.
        arrays: arrays of the checkpoint.
        cuts: whether who asks the chooser can leave an episode when `over` says so.
        explores: whether who asks lets the agent itself act; see `online.exploration_noise`.
    """
    if not setup.config.dip_budget:
        return Gatekeeper(setup.learner)
    if choice:
        kind = SupervisedTrials if choice.get("supervised") else Trials
        trials = unpack_trials(setup.learner, state, choice, arrays, kind)
    else:
        earnings = earnings_of(setup)
        budget = dip_budget(setup.config.dip_budget, earnings, rate=empty_rate(setup, earnings))
        trials = Trials.begun(setup.learner, budget, state)
    trials.budget.explores = explores and setup.config.online.exploration_noise > 0.0
    if trials.budget.rate is not None:
        trials.budget.rate.cuts = cuts
    return trials


def supervised_chooser(
    setup: Setup, state: LearnerState, *, reference_log: bool = False
) -> Chooser:
    """The one of a new session beside a controller, which is the reference of a dip budget.

    Args:
        setup: parts of the run.
        state: state of the learner at the beginning of the session.
        reference_log: whether that very controller has written the log, so that the log's whole
            episodes are known episodes of the reference.

    Raises:
        InputError: `reference_log` without a dip budget, or the log has no whole episode.
    """
    if not setup.config.dip_budget:
        if reference_log:
            raise InputError(
                "reference_log tells the dip budget what the controller earns, and the run has "
                "none; train one with dip_budget, such as --dip-budget 0.05, or leave it out."
            )
        return Gatekeeper(setup.learner)
    earnings = logged_earnings(setup) if reference_log else earnings_of(setup)
    rate = empty_rate(setup, earnings)
    if rate is not None and reference_log:
        rate = logged_rate(setup, earnings)
    budget = dip_budget(setup.config.dip_budget, earnings, rate=rate)
    return SupervisedTrials.begun(setup.learner, supervised(budget, by_log=reference_log), state)


def dip_budget(
    share: float, earnings: Earnings, rules: Rules | None = None, *, rate: Rate | None = None
) -> DipBudget:
    """The dip budget at the beginning of the online stage.

    Args:
        share: share of the reference's earnings that may be lost; with 0 no policy is tried.
        earnings: what is known of the reference. It acts alone until `known` of its episodes are
            (see the rules).
        rules: all other settings.
        rate: what is known of the reference's earnings a step, from the same episodes, for an
            account that counts steps; None: it counts episodes.

    Raises:
        InputError: the share is not in [0, 1).
    """
    share = float(share)
    if not 0.0 <= share < 1.0:
        raise InputError(
            f"The dip budget is {share}; it must be at least 0 and below 1, such as 0.05."
        )
    return DipBudget(share, earnings, rules or Rules(), ledger=Ledger(share), rate=rate)


def earnings_of(setup: Setup) -> Earnings:
    """The earnings of a reference that has not acted yet: what the log tells of any."""
    assert setup.dataset is not None  # `moore.runs.log_checks` refuses runs without a log
    known = None if setup.reference is None else setup.reference.random
    return unknown_earnings(setup.dataset, setup.world.limit.steps, known)


def unknown_earnings(log: Dataset, steps: int, random_return: float | None) -> Earnings:
    """The earnings of a controller of which no episode is known; arguments as in `floor_of`."""
    floor = floor_of(log, steps, random_return)
    lost = drawdown(log.reward, log.terminated | log.truncated, steps, floor)
    return Earnings(steps, floor, log.has_terminals, lost)


def logged_earnings(setup: Setup) -> Earnings:
    """The earnings of a reference that has written the log, from its newest whole episodes.

    Raises:
        InputError: no episode of the log is whole.
    """
    log, unknown = setup.dataset, earnings_of(setup)
    assert log is not None
    whole = _newest_whole(log, unknown.length)
    if not whole:
        raise InputError(
            f"{log.name}: no episode has {unknown.length} steps, so the log cannot tell what the "
            "controller earns in one; give the right episode_steps, or leave out reference_log. "
            "Where every episode lacks its last row, docs/logs.md says why."
        )
    known = earnings_of_log(whole, length=unknown.length, floor=unknown.floor, ends=unknown.ends)
    return replace(known, drawdown=unknown.drawdown)


def check_budget(setup: Setup) -> None:
    """Asks before anything is learned whether the log gives a dip budget its meaning.

    Raises:
        InputError: a share of what is earned means nothing; see `floor_of` and `empty_rate`.
    """
    if setup.config.dip_budget:
        empty_rate(setup, earnings_of(setup))


def empty_rate(setup: Setup, earnings: Earnings) -> Rate | None:
    """The rate of a reference of which no episode is known; None if the account counts episodes.

    Raises:
        InputError: the log's steps earn no more than the floor, so that a share means nothing.
    """
    if setup.config.dip_budget_per != "step" or not earnings.ends:
        return None
    log = setup.dataset
    assert log is not None
    mean = float(log.reward.mean())
    if mean - earnings.floor <= _NOTHING * abs(mean):
        raise InputError(
            f"{log.name}: a step of the log earns {mean:.4g} in the mean, which is not above its "
            f"worst, {earnings.floor:.4g}, so a share of what is earned in a step means nothing; "
            'give dip_budget_per = "episode".'
        )
    return Rate(earnings.length)


def logged_rate(setup: Setup, earnings: Earnings) -> Rate:
    """The rate of a reference that has written the log, from the episodes of `logged_earnings`."""
    assert setup.dataset is not None
    whole = _newest_whole(setup.dataset, earnings.length)
    worths = [float(np.sum(rewards - earnings.floor)) for rewards in whole]
    return Rate(earnings.length, worths, [len(rewards) for rewards in whole])


def _newest_whole(log: Dataset, steps: int) -> list[Float[np.ndarray, " _"]]:
    return whole_episodes(log, steps)[-_NEWEST:]


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class LoggedEpisode:
    """An episode of a log.

    Attributes:
        rewards: (steps,) float64.
        terminated: whether the system ended it.
        closed: whether the log says that it ended; the rows after the last end are an open one.
    """

    rewards: Float[np.ndarray, " _"]
    terminated: bool
    closed: bool


def logged_episodes(log: Dataset, steps: int) -> list[LoggedEpisode]:
    """The episodes of a log, in its order.

    If only the last row of one is missing, because what followed is unknown, its reward is what the
    return leaves over.

    Args:
        log: the log.
        steps: largest number of steps of an episode.
    """
    ends = log.terminated | log.truncated
    stop = np.flatnonzero(np.append(ends[:-1], True)) + 1
    rewards = np.split(log.reward.astype(np.float64), stop[:-1])
    lengths = np.array([len(one) for one in rewards])
    if len(log.episode_lengths) == len(rewards):
        cut = (log.episode_lengths == steps) & (lengths == steps - 1) & ~log.terminated[stop - 1]
        for episode in np.flatnonzero(cut):
            left = log.episode_returns[episode] - rewards[episode].sum()
            rewards[episode] = np.append(rewards[episode], left)
    flags = zip(rewards, log.terminated[stop - 1], ends[stop - 1], strict=True)
    return [LoggedEpisode(one, bool(ended), bool(closed)) for one, ended, closed in flags]


def whole_episodes(log: Dataset, steps: int) -> list[Float[np.ndarray, " _"]]:
    """The rewards of the log's whole episodes, in its order: of those that have so many steps, and
    of those that the system ended before.

    Args:
        log: the log.
        steps: largest number of steps of an episode.
    """
    return [
        one.rewards
        for one in logged_episodes(log, steps)
        if np.isfinite(one.rewards).all()
        and (len(one.rewards) == steps or (one.terminated and len(one.rewards) < steps))
    ]


def floor_of(log: Dataset, steps: int, random_return: float | None) -> float:
    """The reward per step from which worth is counted: 0, or less if episodes can earn less.

    A share of a negative return has no meaning. So worth is counted from the worst policy that is
    known: the log's worst whole episode, or a random policy. If that is as good as the mean of the
    log, it is counted from the lowest reward of a step.

    Args:
        log: the log of the reference.
        steps: largest number of steps of an episode.
        random_return: mean return of a random policy, if it is known.

    Raises:
        InputError: all rewards are equal, so that nothing could be lost or gained.
    """
    if np.ptp(log.reward) == 0.0 and not log.has_terminals:
        raise InputError(
            f"{log.name}: every reward is {log.reward[0]:g}, so a share of what is earned means "
            "nothing; a dip budget needs rewards that tell good from bad."
        )
    mean = float(log.reward.mean())
    worst = [mean, *earned_a_step(log, steps).tolist()]
    if random_return is not None and not log.has_terminals:
        worst.append(random_return / steps)
    floor = min(0.0, *worst)
    if floor < 0.0 and mean - floor < _LEAST_WORTH * abs(mean):
        floor = min(0.0, float(log.reward.min()))
    return floor
