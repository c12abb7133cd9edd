"""Update rules, one paper a file.

An agent is an `Agent` (moore.agents.agent) at the end of its file. Its settings become a section of
the configuration by themselves; a row in moore.algorithms makes an algorithm of it.
"""
