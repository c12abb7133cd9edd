"""The table of algorithms: every one is the same two stages with other parts."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from moore.agents import awac, iql, sac
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


def _agent(name: str, module: Any) -> Agent:
    """The functions of a module of `moore.agents`; its settings are the section of its name."""
    return Agent(
        name=name,
        init=module.init,
        update=module.update,
        look=module.look,
        policy=module.policy,
        act=module.act,
        act_mode=module.act_mode,
        config=attrgetter(name),
        value=getattr(module, "value", None),
        hand_over=getattr(module, "hand_over", None),
    )


SAC, AWAC, IQL = _agent("sac", sac), _agent("awac", awac), _agent("iql", iql)
AGENTS = {agent.name: agent for agent in (SAC, AWAC, IQL)}


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
    "awac": Algorithm(
        "AWAC on the log, then on log and online data alike (Nair et al. 2020)",
        AWAC,
        lambda config: uniform(),
        experience="replay",
    ),
    "iql": Algorithm(
        "IQL on the log, then on log and online data alike (Kostrikov et al. 2022)",
        IQL,
        lambda config: uniform(),
        experience="replay",
    ),
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
