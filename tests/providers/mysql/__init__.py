"""Tests of the adapters of mysql."""
