"""A catalogue from what exists: what the hub, the stores and the targets hold, and which is a copy of which."""
