"""Continuous parts that follow, read and watch, each held by one process at a time."""
