"""Many runs: grids, the processes that run them, and the figures of the paper."""
