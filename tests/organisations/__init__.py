"""Organisations: the ends of projects, workspaces apart, and what is shared."""
