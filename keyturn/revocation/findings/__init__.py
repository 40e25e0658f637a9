"""Leaked values: who owns a found value, which versions leaked, and stray copies."""
