"""The agents of this package, found by looking into its files."""

import importlib
import pkgutil

import moore.agents
from moore.agents.agent import Agent


def found_agents() -> dict[str, Agent]:
    """Every agent that a file of moore.agents holds, by its name."""
    agents = {}
    for entry in pkgutil.iter_modules(moore.agents.__path__):
        if entry.name != __name__.rpartition(".")[2]:
            module = importlib.import_module(f"moore.agents.{entry.name}")
            found = [value for value in vars(module).values() if isinstance(value, Agent)]
            agents |= {agent.name: agent for agent in found}
    return agents
