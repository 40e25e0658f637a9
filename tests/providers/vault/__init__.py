"""Tests of the adapters of vault."""
