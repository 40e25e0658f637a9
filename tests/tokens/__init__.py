"""Formats of leaked tokens, and their end."""
