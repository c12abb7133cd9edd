"""Logs: reading every format, checking, cutting into episodes, finding defects, writing."""
