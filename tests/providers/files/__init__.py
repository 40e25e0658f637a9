"""Tests of the adapters of files."""
