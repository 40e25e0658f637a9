"""Repairing the state of a secret: forget, recover, rename, and records of removed entries."""
