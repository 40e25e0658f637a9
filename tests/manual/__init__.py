"""Runs the commands of the manual's pages in their order."""
