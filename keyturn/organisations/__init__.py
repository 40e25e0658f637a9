"""Ownership of secrets, and the end of projects."""
