"""The table of algorithms: all have the same two stages, with different parts."""

from dataclasses import dataclass
from functools import partial

from moore.agents import (
    adaptive_bc,
    awac,
    balanced,
    bc,
    bear,
    brac,
    combo,
    cql,
    iql,
    ppo,
    sac,
    sqil,
    td3,
    wsrl,
)
from moore.agents.agent import Agent
from moore.agents.in_turn import in_turn
from moore.errors import unknown
from moore.experience import part, pessimistic, real_online
from moore.experience.imagination import Imagination
from moore.experience.kept import KeptReplay
from moore.experience.prioritised import PrioritisedReplay
from moore.experience.protocol import ExperienceKind
from moore.experience.replay import PlainReplay
from moore.replay.schemes import Scheme, half_half, online_only, uniform

IMAGINATION = ExperienceKind("imagination", Imagination, has_models=True, from_disk=True)
REPLAY = ExperienceKind("replay", PlainReplay, from_disk=True)
PRIORITISED = ExperienceKind(
    "prioritised",
    partial(PrioritisedReplay, priorities=balanced.row_priorities),
    by_scheme=False,
)
KEPT = ExperienceKind("kept", KeptReplay, by_scheme=False)


@dataclass(frozen=True)
class Algorithm:
    """A row of the table.

    Attributes:
        about: one line for people.
        agent: the update rule.
        scheme: the sampling scheme of the online stage; None: the one that the configuration names.
        experience: where the agent's batches come from.
        uses_log: whether there is an offline stage. If not, a log that is given only names the
            environment and its reference returns.
    """

    about: str
    agent: Agent
    scheme: Scheme | None = None
    experience: ExperienceKind = IMAGINATION
    uses_log: bool = True


ALGORITHMS: dict[str, Algorithm] = {
    "moore": Algorithm(
        "MOPO, then MOORe with the scheme of the configuration (the paper's method)",
        sac.AGENT,
    ),
    "moore_robust": Algorithm(
        "MOORe with this project's guards against a dip (docs/handover.md)", sac.AGENT
    ),
    "moore_safe": Algorithm(
        "PPO in the models from a clone of the log on, then TD3 on rows of log and system, with "
        "trials within a dip budget",
        in_turn(ppo.AGENT, td3.AGENT),
        experience=real_online.KIND,
    ),
    "naive": Algorithm("MOPO, then uniform sampling of log and online data", sac.AGENT, uniform()),
    "half_half": Algorithm("MOPO, then half of every draw from each group", sac.AGENT, half_half()),
    "online_only": Algorithm("MOPO, then online data alone", sac.AGENT, online_only()),
    "no_penalty": Algorithm("MOORe whose online rewards are not penalised", sac.AGENT),
    "mbpo": Algorithm(
        "MBPO from scratch: models of online data, no penalty, no log (Janner et al. 2019)",
        sac.AGENT,
        online_only(),
        uses_log=False,
    ),
    "awac": Algorithm(
        "AWAC on the log, then on log and online data alike (Nair et al. 2020)",
        awac.AGENT,
        uniform(),
        experience=REPLAY,
    ),
    "iql": Algorithm(
        "IQL on the log, then on log and online data alike (Kostrikov et al. 2022)",
        iql.AGENT,
        uniform(),
        experience=REPLAY,
    ),
    "cql": Algorithm(
        "CQL on the log, then on log and online data alike (Kumar et al. 2020)",
        cql.AGENT,
        uniform(),
        experience=REPLAY,
    ),
    "cal_ql": Algorithm(
        "Cal-QL on the log, then on log and online data alike (Nakamoto et al. 2023)",
        cql.CAL_QL,
        uniform(),
        experience=REPLAY,
    ),
    "balanced_replay": Algorithm(
        "a CQL ensemble, then SAC on rows drawn by their density ratio (Lee et al. 2021)",
        balanced.AGENT,
        uniform(),
        experience=PRIORITISED,
    ),
    "adaptive_bc": Algorithm(
        "TD3+BC, then online with a weight of imitation that adapts (Zhao et al. 2022)",
        adaptive_bc.AGENT,
        uniform(),
        experience=KEPT,
    ),
    "combo": Algorithm(
        "conservative values on imagined and real rows alike (Yu et al. 2021)", combo.AGENT
    ),
    "morel": Algorithm(
        "models whose rollouts halt, at a cost, where their members disagree (Kidambi et al. 2020)",
        sac.AGENT,
        experience=pessimistic.KIND,
    ),
    "bear": Algorithm(
        "a policy held near the log's actions by their discrepancy (Kumar et al. 2019)",
        bear.AGENT,
        uniform(),
        experience=REPLAY,
    ),
    "brac": Algorithm(
        "an actor-critic regularised towards a copy of the log's policy (Wu et al. 2019)",
        brac.AGENT,
        uniform(),
        experience=REPLAY,
    ),
    "sqil": Algorithm(
        "SAC that imitates the log: its rows earn 1, online rows 0 (Reddy et al. 2020)",
        sqil.AGENT,
        half_half(),
        experience=REPLAY,
    ),
    "bc": Algorithm(
        "cloning of the better part of the log; it learns nothing online (Chen et al. 2021)",
        bc.AGENT,
        uniform(),
        experience=part.KIND,
    ),
    "rlpd": Algorithm(
        "SAC from scratch, half of every batch from the log (Ball et al. 2023)",
        sac.RLPD,
        half_half(),
        experience=REPLAY,
    ),
    "wsrl": Algorithm(
        "CQL on the log, then SAC on online data alone (Zhou et al. 2024)",
        wsrl.AGENT,
        online_only(),
        experience=REPLAY,
    ),
    "sac": Algorithm(
        "SAC from scratch on plain replay: no log, no models",
        sac.AGENT,
        online_only(),
        experience=REPLAY,
        uses_log=False,
    ),
}


# Agents by the name of their section; several rows may share one.
AGENTS = {agent.name: agent for row in ALGORITHMS.values() for agent in row.agent.parts}


def find(name: str) -> Algorithm:
    """The row with this name.

    Raises:
        InputError: unknown name; lists the known ones.
    """
    if name not in ALGORITHMS:
        raise unknown("algorithm", name, ALGORITHMS)
    return ALGORITHMS[name]
