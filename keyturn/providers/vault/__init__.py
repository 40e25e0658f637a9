"""Vault or OpenBao: the hub, its engines, and a second one as a store."""
