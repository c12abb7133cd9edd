"""Where a run's rows of metrics go: metrics.jsonl always, the console, and trackers on request.

One file a sink; `trackers` has the table of those that `--track` names.
"""
