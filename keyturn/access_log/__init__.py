"""Reads of secrets, from the hub's own audit log and others."""
