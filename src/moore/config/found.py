"""The sections of a configuration that agents and models bring along, found in their folders."""

import importlib
import pkgutil

import moore.dynamics
from moore.agents.discovery import found_agents
from moore.tables import Section


def found_sections() -> dict[str, Section]:
    """By name: the section of every agent, and every `Section` that a file of dynamics holds."""
    sections = {
        name: Section(name, agent.settings, f"Settings of {name}.")
        for name, agent in found_agents().items()
    }
    for entry in pkgutil.iter_modules(moore.dynamics.__path__):
        module = importlib.import_module(f"moore.dynamics.{entry.name}")
        found = [value for value in vars(module).values() if isinstance(value, Section)]
        sections |= {section.name: section for section in found}
    return sections
