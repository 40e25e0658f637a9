"""Redis as a target."""
