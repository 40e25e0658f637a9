"""Tests of the adapters of postgresql."""
