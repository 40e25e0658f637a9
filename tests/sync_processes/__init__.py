"""Tests of syncs over several processes."""
