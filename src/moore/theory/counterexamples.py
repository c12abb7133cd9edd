"""The smallest cases in which a printed statement fails, or a corrected one becomes an equality.

Each function builds the MDPs of one case; `cases` evaluates both forms on all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from moore.theory.bound import Bound
from moore.theory.mdp import Actions, TabularMDP
from moore.theory.model_change import eq8, eq9, lemma1, theorem1
from moore.theory.model_error import eq13
from moore.theory.models import LearnedModel, Transfer, ensemble_model
from moore.theory.transfer import theorem2

Table = Sequence | np.ndarray


def _mdp(rows: Table, reward: Table, discount: float, horizon: int | None = None) -> TabularMDP:
    """An MDP from nested lists that starts in state 0."""
    transition, reward = np.array(rows, float), np.array(reward, float)
    return TabularMDP(transition, reward, np.eye(len(reward))[0], discount, horizon)


def _twice(mdp: TabularMDP, old_u: Table, new_u: Table, penalty_coef: float) -> Transfer:
    """Two perfect models that differ only in their uncertainty."""
    models = (LearnedModel(mdp, np.array(u, float), penalty_coef) for u in (old_u, new_u))
    return Transfer(mdp, *models)


def negative_bound() -> tuple[TabularMDP, TabularMDP]:
    """CE-1: every step costs 1, two states are kept or swapped, H = 3.

    V_max, read at h = 0 without an absolute value, is -3, so Theorem 1 bounds a distance by -12.
    """
    costs = [[-1], [-1]]
    stay = _mdp([[[1, 0]], [[0, 1]]], costs, 1.0, 3)
    return stay, stay.with_(transition=stay.transition[::-1].copy())


def chain_leak(
    leak: float, *, good: float, bad: float, discount: float, horizon: int | None = None
) -> tuple[TabularMDP, TabularMDP]:
    """A good state that is never left, or is left for an absorbing bad one with probability `leak`.

    The corrected Theorem 1 is an equality on it, so its constant cannot be improved.
    """
    reward = [[good], [bad]]
    kept = _mdp([[[1, 0]], [[0, 1]]], reward, discount, horizon)
    return kept, _mdp([[[1 - leak, leak]], [[0, 1]]], reward, discount, horizon)


def leak_into_cost(horizon: int = 6) -> tuple[TabularMDP, TabularMDP]:
    """CE-2: a leak of 1% into a cost of 1, gamma = 1. V_max is 0, even if V_H = 0 counts."""
    return chain_leak(0.01, good=0.0, bad=-1.0, discount=1.0, horizon=horizon)


def penalty_alone(discount: float = 0.9) -> tuple[LearnedModel, LearnedModel]:
    """CE-3: one state, one action, no reward; u rises from 0 to 1, and no term of Eq. 9 changes."""
    _, *models = _twice(_mdp([[[1]]], [[0]], discount), [[0]], [[1]], 1.0)
    return models[0], models[1]


def flipped_penalty(discount: float = 0.9) -> Transfer:
    """CE-4: one state, two actions, perfect models. u of the better action rises, so pi* flips.

    Both policies are equally uncertain, each in its own model, so the right sides are 0.
    """
    mdp = _mdp([[[1], [1]]], [[1, 0]], discount)
    return _twice(mdp, [[0.5, 0.5]], [[2.0, 0.5]], 1.0)


def flipped_disagreement(discount: float = 0.9) -> Transfer:
    """CE-4': like CE-4, but u is the disagreement of an ensemble whose mean is exact.

    From state 0 both actions lead to states 1 and 2 with even odds, and from there to a sink.
    """

    def model(first: float, second: float) -> LearnedModel:
        members = np.zeros((2, 4, 2, 4))
        members[:, 1:, :, 3] = 1.0
        for k, sign in enumerate((1, -1)):
            for action, spread in enumerate((first, second)):
                members[k, 0, action, 1:3] = 0.5 + sign * spread, 0.5 - sign * spread
        mean, u = ensemble_model(members)
        return LearnedModel(_mdp(mean, reward, discount), u, 4.0)

    reward = [[1, 0], [0, 0], [0, 0], [0, 0]]
    old, new = model(0.1, 0.1), model(0.4, 0.1)
    return Transfer(old.mdp, old, new)


def short_rollouts() -> tuple[TabularMDP, TabularMDP]:
    """CE-5: a leak of 1% out of a reward of 1, gamma = .99. H in Eq. 8 is not a rollout length."""
    return chain_leak(0.01, good=1.0, bad=0.0, discount=0.99)


def opposite_ends(
    rewards: tuple[float, float] = (1.0, -1.0), discount: float = 0.9
) -> tuple[TabularMDP, TabularMDP, Actions]:
    """CE-6: reality leads to the worse of two absorbing states, the model to the better one.

    With signed rewards the values span 2 V_max. The result is the real MDP, the model and the
    policy.
    """
    better, worse = rewards
    reward = [[0], [better], [worse]]
    true = _mdp([[[0, 0, 1]], [[0, 1, 0]], [[0, 0, 1]]], reward, discount)
    model = _mdp([[[0, 1, 0]], [[0, 1, 0]], [[0, 0, 1]]], reward, discount)
    return true, model, np.zeros(3, int)


def opposite_choices(
    tilt: float = 1e-3, rewards: tuple[float, float] = (1.0, -1.0), discount: float = 0.9
) -> Transfer:
    """CE-6': two models favour different actions by very little, but the actions differ a lot.

    There is no penalty. With nonnegative rewards the printed bound holds, and becomes an equality
    as the tilt goes to 0; with signed ones it is too small by a factor 2.
    """
    reward = [[0, 0], [rewards[0]] * 2, [rewards[1]] * 2]

    def mdp(first: float, second: float) -> TabularMDP:
        choice = [[0, first, 1 - first], [0, second, 1 - second]]
        return _mdp([choice, [[0, 1, 0]] * 2, [[0, 0, 1]] * 2], reward, discount)

    nothing = np.zeros((3, 2))
    old = LearnedModel(mdp(0.5 + tilt, 0.5 - tilt), nothing, 0.0)
    new = LearnedModel(mdp(0.5 - tilt, 0.5 + tilt), nothing, 0.0)
    return Transfer(mdp(1.0, 0.0), old, new)


def tied_penalty(leak: float = 1e-4) -> tuple[LearnedModel, LearnedModel]:
    """CE-7: two actions are equally good after the penalty; a leak decides, once for each action.

    The uncertainties then differ by 1 at every step, so Lemma 1 needs them 1 / (1 - gamma) times.
    """

    def model(*stays: float) -> LearnedModel:
        rows = [[[p, 1 - p] for p in stays], [[0, 1], [0, 1]]]
        return LearnedModel(_mdp(rows, [[1.1, 0.1], [0, 0]], 0.9), u, 1.0)

    u = np.array([[1.0, 0.0], [0.0, 0.0]])
    return model(1.0, 1 - leak), model(1 - leak, 1.0)


def deep_penalty(leak: float = 1e-3) -> Transfer:
    """CE-8: small rewards, a large penalty in a bad state; both models have the same u and rewards.

    max V is .08 but max |V| is 10, so the printed V_max misses the cost of a leak.
    """
    reward = [[0.008, 0], [0, 0]]
    u = np.array([[0.0, 0.0], [1.0, 1.0]])
    kept = _mdp([[[1, 0], [1, 0]], [[0, 1], [0, 1]]], reward, 0.9)
    leaking = _mdp([[[1 - leak, leak], [1, 0]], [[0, 1], [0, 1]]], reward, 0.9)
    return Transfer(kept, LearnedModel(kept, u, 1.0), LearnedModel(leaking, u, 1.0))


def countdown(
    leak: float, *, waiting: int, paying: int, reward: float = 1.0
) -> tuple[TabularMDP, TabularMDP]:
    """A chain of length H that waits, then pays; while it waits it leaks to a worthless end.

    Here the printed Theorem 1 is tightest: the left side is half the bound with positive rewards.
    """
    length = waiting + paying
    rows = np.zeros((length + 1, 1, length + 1))
    rows[np.arange(length), 0, np.arange(1, length + 1)] = 1.0
    rows[length, 0, length] = 1.0
    rewards = np.zeros((length + 1, 1))
    rewards[waiting:length] = reward
    kept = _mdp(rows, rewards, 1.0, length)
    rows[:waiting] *= 1.0 - leak
    rows[:waiting, 0, length] += leak
    return kept, _mdp(rows, rewards, 1.0, length)


@dataclass(frozen=True, eq=False)
class Counterexample:
    """Both forms of a statement on one counterexample.

    Attributes:
        name: name of the counterexample.
        why: what the printed statement overlooks, in a few words.
        printed: the printed form, in the reading that the counterexample refutes.
        corrected: the corrected form on the same MDPs.
    """

    name: str
    why: str
    printed: Bound
    corrected: Bound


def _case(
    name: str,
    why: str,
    statement: Callable[..., Bound],
    instance: tuple,
    corrected: bool | str,
    **reading: str | bool | float,
) -> Counterexample:
    printed = statement(*instance, **reading)
    return Counterexample(name, why, printed, statement(*instance, corrected=corrected))


def cases() -> list[Counterexample]:
    """Evaluates every counterexample."""
    costs, deep = opposite_ends((0.0, -1.0)), deep_penalty()
    penalty, disagreement = flipped_penalty(), flipped_disagreement()
    negative, flips, same = "V_max of costs is 0", "u flips the policy", "so does an ensemble's u"
    span, mass, literal = "signed values span 2 V_max", "U has mass 1", "max V misses the penalty"
    along = "on_policy"
    return [
        _case(
            "CE-1", "V_max < 0 at h = 0", theorem1, negative_bound(), True, reading="literal_start"
        ),
        _case("CE-2", negative, theorem1, leak_into_cost(), True, reading="literal"),
        _case("CE-3", "u changes the reward", eq9, penalty_alone(), along),
        _case("CE-4", flips, lemma1, penalty[1:], along),
        _case("CE-4", flips, theorem2, penalty, along),
        _case("CE-4'", same, lemma1, disagreement[1:], along),
        _case("CE-4'", same, theorem2, disagreement, along),
        _case("CE-5", "H is no rollout length", eq8, short_rollouts(), True, paper_horizon=5.0),
        _case("CE-6", span, eq13, opposite_ends(), True),
        _case("CE-6", negative, eq13, costs, True, reading="literal"),
        _case("CE-6'", span, theorem2, opposite_choices(), along),
        _case("CE-7", mass, lemma1, tied_penalty(), along, normalized_u=True),
        _case("CE-8", literal, lemma1, deep[1:], along, reading="literal"),
        _case("CE-8", literal, theorem2, deep, along, reading="literal"),
    ]
