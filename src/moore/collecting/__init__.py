"""Logs made by D4RL's recipe: a SAC trained from scratch, and what its policies do."""
