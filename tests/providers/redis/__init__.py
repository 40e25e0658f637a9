"""Tests of the adapters of redis."""
