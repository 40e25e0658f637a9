"""Processes of the machine that Keyturn runs on."""
