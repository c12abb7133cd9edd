"""Finds the agents of this package by looking into its files."""

import importlib
import pkgutil

import moore.agents
from moore.agents.agent import Agent


def found_agents() -> dict[str, Agent]:
    """All agents that are defined in files of moore.agents, by name."""
    agents: dict[str, Agent] = {}
    for entry in pkgutil.iter_modules(moore.agents.__path__):
        if entry.name != __name__.rpartition(".")[2]:
            module = importlib.import_module(f"moore.agents.{entry.name}")
            found = [value for value in vars(module).values() if isinstance(value, Agent)]
            agents |= {agent.name: agent for agent in found}
    return agents
