"""Runs in lock step: equal calls of several runs of one process become one compiled program."""
