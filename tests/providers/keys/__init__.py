"""Tests of the adapters of keys."""
