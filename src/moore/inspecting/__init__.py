"""The checks of `moore inspect`: the log itself, its environment's rule, and its simulator."""
