"""A live page of a run folder, served on this machine while the run goes on."""
