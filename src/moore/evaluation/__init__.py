"""Scores with their sources, the metrics of a transfer, statistics over seeds."""
