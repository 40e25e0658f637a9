"""Tests of the adapters of azure."""
