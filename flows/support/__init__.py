"""What several flows share: the fan-out, progress, reports, and the runs that a run starts."""
