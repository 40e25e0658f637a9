"""Shared by flows: the fan-out, progress, reports, and the runs that a run starts."""
