"""The table of algorithms: every one is the same two stages with other parts."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from moore.agents import adaptive_bc_replay, awac, balanced_replay, cql, iql, sac, wsrl
from moore.config import Config
from moore.errors import InputError
from moore.replay.priorities import RowScheme
from moore.replay.schemes import Scheme, half_half, online_only, uniform


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
        new_episode: `state -> state`, where the running episode was left without an end; None: the
            agent does not follow episodes.
        learn: `(state, offline, online, key, config) -> (state, metrics)`, in place of `update`:
            one gradient step of an agent that draws its batches itself; None: it is given them.
        config: the agent's section of a configuration.
        value: `(state, obs, key) -> values` of the policy, by its critics; None without critics.
    """

    name: str
    init: Callable
    update: Callable | None
    look: Callable
    policy: Callable
    act: Callable
    act_mode: Callable
    config: Callable[[Config], Any]
    value: Callable | None = None
    hand_over: Callable | None = None
    new_episode: Callable | None = None
    learn: Callable | None = None


def _agent(name: str, module: Any) -> Agent:
    """The functions of a module of `moore.agents`; its settings are the section of this name."""
    return Agent(
        name=name,
        init=module.init,
        update=getattr(module, "update", None),
        look=module.look,
        policy=module.policy,
        act=module.act,
        act_mode=module.act_mode,
        config=attrgetter(name),
        value=getattr(module, "value", None),
        hand_over=getattr(module, "hand_over", None),
        new_episode=getattr(module, "new_episode", None),
        learn=getattr(module, "learn", None),
    )


_MODULES = {
    "sac": sac,
    "awac": awac,
    "iql": iql,
    "cql": cql,
    "cal_ql": cql,
    "balanced_replay": balanced_replay,
    "adaptive_bc": adaptive_bc_replay,
    "rlpd": sac,
    "wsrl": wsrl,
}
AGENTS = {name: _agent(name, module) for name, module in _MODULES.items()}
SAC = AGENTS["sac"]


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
    scheme: Callable[[Config], Scheme | RowScheme]
    experience: Literal["imagination", "replay"] = "imagination"
    uses_log: bool = True


def _scheme(config: Config) -> Scheme | RowScheme:
    """The scheme that the configuration names."""
    return config.online.parsed_scheme()


ALGORITHMS: dict[str, Algorithm] = {
    "moore": Algorithm(
        "MOPO, then MOORe with the scheme of the configuration (the paper's method)",
        SAC,
        _scheme,
    ),
    "moore_robust": Algorithm(
        "MOORe with this project's guards against a dip (docs/handover.md)", SAC, _scheme
    ),
    "naive": Algorithm(
        "MOPO, then uniform sampling of log and online data", SAC, lambda config: uniform()
    ),
    "half_half": Algorithm(
        "MOPO, then half of every draw from each group", SAC, lambda config: half_half()
    ),
    "online_only": Algorithm("MOPO, then online data alone", SAC, lambda config: online_only()),
    "no_penalty": Algorithm("MOORe whose online rewards are not penalised", SAC, _scheme),
    "mbpo": Algorithm(
        "MBPO from scratch: models of online data, no penalty, no log (Janner et al. 2019)",
        SAC,
        lambda config: online_only(),
        uses_log=False,
    ),
    "awac": Algorithm(
        "AWAC on the log, then on log and online data alike (Nair et al. 2020)",
        AGENTS["awac"],
        lambda config: uniform(),
        experience="replay",
    ),
    "iql": Algorithm(
        "IQL on the log, then on log and online data alike (Kostrikov et al. 2022)",
        AGENTS["iql"],
        lambda config: uniform(),
        experience="replay",
    ),
    "cql": Algorithm(
        "CQL on the log, then on log and online data alike (Kumar et al. 2020)",
        AGENTS["cql"],
        lambda config: uniform(),
        experience="replay",
    ),
    "cal_ql": Algorithm(
        "Cal-QL on the log, then on log and online data alike (Nakamoto et al. 2023)",
        AGENTS["cal_ql"],
        lambda config: uniform(),
        experience="replay",
    ),
    "balanced_replay": Algorithm(
        "a CQL ensemble, then SAC on rows drawn by their density ratio (Lee et al. 2021)",
        AGENTS["balanced_replay"],
        lambda config: uniform(),  # the agent draws for itself
        experience="replay",
    ),
    "adaptive_bc": Algorithm(
        "TD3+BC, then online with a weight of imitation that adapts (Zhao et al. 2022)",
        AGENTS["adaptive_bc"],
        lambda config: uniform(),  # the agent draws for itself
        experience="replay",
    ),
    "rlpd": Algorithm(
        "SAC from scratch, half of every batch from the log (Ball et al. 2023)",
        AGENTS["rlpd"],
        lambda config: half_half(),
        experience="replay",
    ),
    "wsrl": Algorithm(
        "CQL on the log, then SAC on online data alone (Zhou et al. 2024)",
        AGENTS["wsrl"],
        lambda config: online_only(),
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
