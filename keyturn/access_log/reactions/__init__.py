"""Reactions to odd accesses."""
