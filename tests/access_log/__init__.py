"""Tests of who read a secret."""
