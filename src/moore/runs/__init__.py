"""One run: what is checked before it, its folder, its checkpoints, and how it goes on."""
