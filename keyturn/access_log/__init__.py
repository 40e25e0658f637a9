"""Who read a secret, told by the hub's own audit log."""
