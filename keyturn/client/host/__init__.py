"""Processes of one host that share notices and reads."""
