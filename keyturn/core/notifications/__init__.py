"""Notices to consumers and messages to people."""
