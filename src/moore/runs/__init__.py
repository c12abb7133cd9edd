"""One run: the checks before it, its folder, its checkpoints, and how it is resumed."""
