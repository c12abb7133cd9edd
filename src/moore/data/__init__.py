"""Logs: raw rows, where they are cut into episodes, and the transitions that are learned from."""
