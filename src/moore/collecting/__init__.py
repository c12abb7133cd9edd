"""Logs made by D4RL's recipe: SAC is trained from scratch, and its policies are recorded."""
