"""Tests of the adapters of gcp."""
