"""Accounts that are lines in a file of this machine."""
