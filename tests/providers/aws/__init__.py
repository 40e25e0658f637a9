"""Tests of the adapters of aws."""
