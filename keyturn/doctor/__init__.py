"""Check that an installation can work: required rights, places and processes."""
