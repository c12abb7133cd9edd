"""Where an agent's batches come from: real rows, or rollouts in models of the system."""
