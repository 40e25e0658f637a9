"""Tests of the adapters of kubernetes."""
