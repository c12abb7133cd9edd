"""What `moore inspect` finds: a log against itself, its environment's rule and its simulator."""
