"""Algorithm 1 of the paper: the offline stage, the hand-over and the online stage."""
