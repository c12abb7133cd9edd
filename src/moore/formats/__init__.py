"""Reading and writing logs in every format."""
