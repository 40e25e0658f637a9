"""The client's encrypted cache file, for a process that starts while no source answers."""
