"""Tests of the adapters of http."""
