"""What may be wrong with a log, or unusual in it: each check, and what a run does about it."""
