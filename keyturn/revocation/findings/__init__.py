"""Leaked values: their owners, the leaked versions, and stray copies."""
