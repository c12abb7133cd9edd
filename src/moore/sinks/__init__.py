"""Where a run's rows of metrics go: always to metrics.jsonl, to the console, and to trackers.

Each sink has a file of its own; `trackers` has the table of those that `--track` can name.
"""
