"""The table of algorithms: every one is the same two stages with other parts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from moore.agents import sac
from moore.agents.nets import mode_action
from moore.config import Config
from moore.errors import InputError
from moore.replay.schemes import Scheme, half_half, online_only, parse_scheme, uniform


@dataclass(frozen=True)
class Agent:
    """An update rule: pure functions over a frozen state.

    Attributes:
        name: of the rule.
        init: `(key, obs_dim, action_dim, config) -> state`.
        update: `(state, batch, key, config) -> (state, metrics)`, one gradient step.
        look: `(state, offline, online, config) -> state`, before each epoch: what the agent takes
            note of in the data as a whole.
        policy: `state -> policy`, the part of the state that acting needs.
        act: `(policy, obs, key) -> action` in (-1, 1), sampled.
        act_mode: `(policy, obs) -> action` in (-1, 1), deterministic.
        hand_over: `(state, config) -> state`, between the stages; None: nothing changes.
        config: the agent's section of a configuration.
        value: `(state, obs, key) -> values` of the policy, by its critics; None without critics.
    """

    name: str
    init: Callable
    update: Callable
    look: Callable
    policy: Callable
    act: Callable
    act_mode: Callable
    config: Callable[[Config], Any]
    value: Callable | None = None
    hand_over: Callable | None = None


SAC = Agent(
    name="sac",
    init=sac.init,
    update=sac.update,
    look=sac.look,
    policy=sac.policy,
    act=sac.act,
    act_mode=mode_action,
    config=lambda config: config.sac,
    value=sac.value,
)


AGENTS = {agent.name: agent for agent in (SAC,)}


@dataclass(frozen=True)
class Algorithm:
    """A row of the table.

    Attributes:
        about: one line for people.
        agent: the update rule.
        scheme: the sampling scheme of the online stage, from the configuration.
        experience: what the agent's batches are made of: imagined transitions of the ensemble, or
            the real ones of the log and the online data.
        uses_log: False: there is no offline stage, and the log, if one is given, only names the
            environment and its reference returns.
    """

    about: str
    agent: Agent
    scheme: Callable[[Config], Scheme]
    experience: Literal["imagination", "replay"] = "imagination"
    uses_log: bool = True


ALGORITHMS: dict[str, Algorithm] = {
    "moore": Algorithm(
        "MOPO, then MOORe with the scheme of the configuration (the paper's method)",
        SAC,
        lambda config: parse_scheme(
            config.online.scheme,
            config.online.alpha,
            steps_per_epoch=config.online.steps_per_epoch,
        ),
    ),
    "naive": Algorithm(
        "MOPO, then uniform sampling of log and online data", SAC, lambda config: uniform()
    ),
    "half_half": Algorithm(
        "MOPO, then half of every draw from each group", SAC, lambda config: half_half()
    ),
    "online_only": Algorithm("MOPO, then online data alone", SAC, lambda config: online_only()),
    "sac": Algorithm(
        "SAC from scratch on plain replay: no log, no models",
        SAC,
        lambda config: online_only(),
        experience="replay",
        uses_log=False,
    ),
}


def find(name: str) -> Algorithm:
    """The row of that name.

    Raises:
        InputError: unknown name; lists the known ones.
    """
    if name not in ALGORITHMS:
        raise InputError(f"unknown algorithm '{name}'; the known ones are {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]
