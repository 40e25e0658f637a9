"""Flow runs: how a run's process starts, its heartbeat, its result and its log settings."""
