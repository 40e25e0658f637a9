"""Tests of the adapters of github."""
